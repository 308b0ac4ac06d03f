"""What a client is owed: its answers, in order, as pairs of (line, count) rather than as text.

A frame of 40 KB can hold 16 million lines, each with an answer of its own; as pairs they cost nothing.
"""

from collections import deque
from typing import Final

# Answers are written this much at a time; after each piece the transport may say that it has too much.
_PIECE_BYTES: Final = 128 * 1024


class AnswerQueue(deque[tuple[bytes, int]]):
    """Answers that have not been handed to the transport yet, each with how often it is to be sent."""

    def add(self, line: bytes) -> None:
        """Add one answer; a run of the same answer stays one entry."""
        if self and self[-1][0] == line:
            self[-1] = (line, self[-1][1] + 1)
        else:
            self.append((line, 1))

    def next_piece(self) -> bytes:
        """Take the next answers, about 128 KiB of them, as bytes for the transport."""
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
