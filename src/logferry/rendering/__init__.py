"""Renders log lines as NDJSON. Pure: bytes in, bytes out; it must never use a file, socket, thread or clock."""
