"""The implementations of Output: how batches reach a server, and which guarantee each gives."""
