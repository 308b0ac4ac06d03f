"""What container runtimes write around the lines of a program."""
