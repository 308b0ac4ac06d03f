"""The formats of log lines: what each becomes, a chunk at a time. Pure: bytes in, bytes out."""
