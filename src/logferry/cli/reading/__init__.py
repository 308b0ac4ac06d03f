"""The commands that look at what is stored, one module each, and the layout of what they print."""
