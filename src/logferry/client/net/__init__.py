"""Connections to the server, and the waits between."""
