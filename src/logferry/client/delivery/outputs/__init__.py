"""The outputs: how batches reach a server, and what guarantee each gives."""
