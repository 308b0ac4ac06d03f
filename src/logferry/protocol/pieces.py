"""The bytes of a message that is not complete, in the pieces in which they came.

One growing buffer would be moved again and again; among many of them that grow at the same time, each leaves a hole
where it was, and a process needs twice the memory that it uses. Small pieces are joined, because each costs many times
its size.
"""

from typing import Final

# Small pieces are joined to blocks of at most this size.
_BLOCK_BYTES: Final = 64 * 1024

# Larger pieces are kept as they were read. asyncio reads up to 256 KiB at a time: to keep what is much shorter would
# leave a hole behind it that is too small for the next read.
_LARGE_BYTES: Final = 192 * 1024


class Pieces:
    """Bytes in the order in which they were added."""

    __slots__ = ("_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes | bytearray | memoryview] = []
        self.size = 0

    def add(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        """Add `data[start:end]`. What is most of `data` is kept as it is, and copied only when it is taken."""
        end = len(data) if end is None else end
        size = end - start
        self.size += size
        if size >= _LARGE_BYTES and 4 * size >= 3 * len(data):
            self._pieces.append(memoryview(data)[start:end])
            return
        last = self._pieces[-1] if self._pieces else b""
        if isinstance(last, bytearray) and len(last) + size <= _BLOCK_BYTES:
            last += memoryview(data)[start:end]
        elif size:
            self._pieces.append(bytearray(memoryview(data)[start:end]))

    def take(self) -> bytes:
        """Remove and return everything. Copying once costs a third as much as judging the lines."""
        taken = b"".join(self._pieces)
        self.clear()
        return taken

    def clear(self) -> None:
        """Remove everything."""
        self._pieces, self.size = [], 0
