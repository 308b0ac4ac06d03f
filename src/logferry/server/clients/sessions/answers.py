"""The answers that a client is owed, in order, as pairs of (line, count) rather than as text.

A frame of 40 KB can hold 16 million lines, each with its own answer; as pairs, these answers cost almost nothing.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

# Write this many bytes at a time; after each piece the transport may pause writing.
_PIECE_BYTES: Final = 128 * 1024

# What an answer takes in addition to its bytes: the objects of the line, of its pair and of the queue's entry.
_ENTRY_BYTES: Final = 120


def cost_of(answers: Iterable[tuple[bytes, int]]) -> int:
    """Return what answers cost in memory until they are sent."""
    cost = 0
    for line, _ in answers:  # a sum over a generator takes twice as long, and most deliveries have one answer
        cost += len(line) + _ENTRY_BYTES
    return cost


class AnswerQueue:
    """Answers not yet handed to the transport, each with the number of times to send it; `cost` is their memory."""

    __slots__ = ("_entries", "cost")

    def __init__(self) -> None:
        self._entries: deque[tuple[bytes, int]] = deque()
        self.cost = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, line: bytes, count: int = 1) -> None:
        """Add an answer to be sent `count` times; identical consecutive answers share one entry."""
        entries = self._entries
        if entries and entries[-1][0] == line:
            entries[-1] = (line, entries[-1][1] + count)
        else:
            entries.append((line, count))
            self.cost += len(line) + _ENTRY_BYTES

    def extend(self, answers: Iterable[tuple[bytes, int]]) -> None:
        """Add answers in order."""
        for line, count in answers:
            self.add(line, count)

    def clear(self) -> None:
        """Forget all answers."""
        self._entries.clear()
        self.cost = 0

    def next_piece(self) -> bytes:
        """Remove and return the next answers, about 128 KiB of them, as bytes for the transport."""
        entries = self._entries
        parts: list[bytes] = []
        room = _PIECE_BYTES
        while entries and room > 0:
            line, count = entries[0]
            now = min(count, room // len(line) + 1)
            parts.append(line * now)
            room -= len(line) * now
            if now < count:
                entries[0] = (line, count - now)
            else:
                entries.popleft()
                self.cost -= len(line) + _ENTRY_BYTES
        return b"".join(parts)
