"""What carries bytes to and from a peer: TCP, TLS, memory."""
