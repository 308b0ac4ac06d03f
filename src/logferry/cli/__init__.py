"""The command line: one module per command, and what the commands share. The only package that prints or exits."""
