"""The bytes of a source, addressed by offset, wherever they are: in files, in memory, or behind a hole."""
