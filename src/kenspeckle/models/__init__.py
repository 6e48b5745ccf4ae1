"""Images become maps; heads read them."""
