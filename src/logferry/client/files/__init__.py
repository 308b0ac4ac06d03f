"""Bytes of files by offset, and lines cut from them."""
