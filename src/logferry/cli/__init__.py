"""The command line: one module a command, and what commands share. The only package that prints or exits."""
