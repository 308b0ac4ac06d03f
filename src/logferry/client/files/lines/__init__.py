"""Lines and events of one open file: where they begin and end, and what the file shows of its format and headers."""
