"""The commands of the client, one module each."""
