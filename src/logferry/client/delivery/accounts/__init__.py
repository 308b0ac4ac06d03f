"""The accounts of a run: the window of batches that are not acked, what is stored, and the balance at the end."""
