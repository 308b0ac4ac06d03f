"""Where chunks come from: files in batch mode, followed files, and standard input."""
