"""The kinds of values: how a text becomes a value, and which values are allowed."""
