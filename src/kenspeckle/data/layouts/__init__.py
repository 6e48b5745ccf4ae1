"""The forms in which images come: one file a layout, and the listing that all of them read."""
