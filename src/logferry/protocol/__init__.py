"""What both ends must agree on. Pure: bytes in, events and bytes out; no socket, clock, thread or file."""
