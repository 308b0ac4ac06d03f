"""Counts of lines: by minute, hour, level, host, file, or pattern of their message; a chunk at a time."""
