"""Sessions: one implementation for each protocol that clients speak, between a connection and the store."""
