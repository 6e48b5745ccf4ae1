"""The version, alone in a room that imports nothing."""

__version__ = "0.1.0"
