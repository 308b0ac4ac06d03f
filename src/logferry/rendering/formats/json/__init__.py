"""Lines that are JSON objects."""
