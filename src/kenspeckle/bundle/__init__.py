"""One file that holds all that is needed to answer later, elsewhere."""
