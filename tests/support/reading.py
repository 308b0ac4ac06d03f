"""Reading from a reader in a test, in place of an engine: everything read counts as stored immediately."""

import os
from pathlib import Path

from logferry.client.readers.base import Reader
from logferry.model.chunk import Chunk


def chunks_of(reader: Reader, *, max_lines: int | None = None) -> list[Chunk]:
    """Read until there is nothing more now."""
    chunks: list[Chunk] = []
    while True:
        chunk = reader.read(max_lines=max_lines)
        if chunk:
            chunk.source.committed = chunk.end
            chunks.append(chunk)
        elif reader.is_finished or not reader.is_busy:
            return chunks


def read(reader: Reader) -> bytes:
    """Return all that there is now."""
    return b"".join(chunk.data for chunk in chunks_of(reader))


def open_descriptors(path: Path) -> int:
    """Return how many descriptors of a file this process has."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}") == str(path)
        except OSError:
            continue  # the descriptor of the listing itself
    return count
