"""The answers that a client is owed, in order, as pairs of (line, count) rather than as text.

A frame of 40 KB can hold 16 million lines, each with its own answer; as pairs, these answers cost almost nothing.
"""

from collections import deque
from typing import Final

# Write this many bytes at a time; after each piece the transport may pause writing.
_PIECE_BYTES: Final = 128 * 1024


class AnswerQueue(deque[tuple[bytes, int]]):
    """Answers not yet handed to the transport, each with the number of times to send it."""

    def add(self, line: bytes) -> None:
        """Add one answer; identical consecutive answers share one entry."""
        if self and self[-1][0] == line:
            self[-1] = (line, self[-1][1] + 1)
        else:
            self.append((line, 1))

    def next_piece(self) -> bytes:
        """Remove and return the next answers, about 128 KiB of them, as bytes for the transport."""
        parts: list[bytes] = []
        room = _PIECE_BYTES
        while self and room > 0:
            line, count = self.popleft()
            now = min(count, room // len(line) + 1)
            parts.append(line * now)
            room -= len(line) * now
            if now < count:
                self.appendleft((line, count - now))
        return b"".join(parts)
