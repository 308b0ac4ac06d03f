"""Where chunks come from: files in batch mode, followed files, standard input."""
