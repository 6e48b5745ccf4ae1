"""What a network can be asked, one file a task."""
