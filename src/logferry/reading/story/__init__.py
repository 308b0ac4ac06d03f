"""The story of a place in a file: what is stored there, what happened to it, and what was checked."""
