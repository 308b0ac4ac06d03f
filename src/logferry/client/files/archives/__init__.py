"""Archives as their uncompressed bytes: a codec for each format, and what the members of an archive are."""
