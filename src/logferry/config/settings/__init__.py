"""The settings of all commands, whose fields declare the options."""
