"""Ways in which people lay out images on disk, one file each."""
