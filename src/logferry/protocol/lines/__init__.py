"""Which lines a server accepts, and which are UTF-8."""
