"""Both sides of the plain protocol: lines and frames, and an answer to each line."""
