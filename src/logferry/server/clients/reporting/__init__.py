"""What the server knows of its clients: counters, the log, and what clients say about themselves."""
