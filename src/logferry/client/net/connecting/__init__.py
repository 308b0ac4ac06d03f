"""From an endpoint to a connected transport: addresses, the TLS handshake, and the token."""
