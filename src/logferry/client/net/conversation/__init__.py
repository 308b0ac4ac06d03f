"""What a client says to a server besides batches: hello, questions about sources, and the end of a connection."""
