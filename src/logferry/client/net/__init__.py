"""Connections to the server, and waiting for them."""
