"""The format of lines that are JSON objects."""
