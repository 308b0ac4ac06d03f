"""The servers of a run: which one is used, when the client connects and tries again, and what it reports of them."""
