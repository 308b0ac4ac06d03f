"""Lines become NDJSON. Pure: bytes in, bytes out; no file, socket, thread or clock."""
