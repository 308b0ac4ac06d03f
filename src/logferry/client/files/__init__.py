"""Reads files: bytes by offset, and whole lines cut from those bytes."""
