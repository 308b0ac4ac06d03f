"""The formats in which container runtimes wrap the lines of a program."""
