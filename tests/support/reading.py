"""Reading from a reader in a test, in place of an engine: everything read is taken as stored at once."""

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
