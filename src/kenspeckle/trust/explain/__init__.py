"""Pictures of where an answer comes from, one file a method."""
