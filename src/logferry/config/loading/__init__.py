"""Where values come from: the command line, the environment, the file, the default; and which values conflict."""
