"""Faults of the data, one file a check; the table is `CHECKS`."""
