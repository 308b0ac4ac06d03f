"""What a client is owed: its answers, in order, as pairs of (line, count) rather than as text.

A frame of 40 KB can hold 16 million lines, each with an answer of its own; as pairs they cost nothing.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

# Answers are written this much at a time; after each piece the transport may say that it has too much.
_PIECE_BYTES: Final = 128 * 1024


class AnswerQueue:
    """Answers that have not been handed to the transport yet."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: deque[tuple[bytes, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._answers)

    def extend(self, answers: Iterable[tuple[bytes, int]]) -> None:
        """Add answers, each with how often it is to be sent."""
        self._answers.extend(answers)

    def add(self, line: bytes) -> None:
        """Add one answer; a run of the same answer stays one entry."""
        if self._answers and self._answers[-1][0] == line:
            self._answers[-1] = (line, self._answers[-1][1] + 1)
        else:
            self._answers.append((line, 1))

    def clear(self) -> None:
        """Forget everything: there is nobody to send it to."""
        self._answers.clear()

    def next_piece(self) -> bytes:
        """Take the next answers, about 128 KiB of them, as bytes for the transport."""
        parts: list[bytes] = []
        room = _PIECE_BYTES
        while self._answers and room > 0:
            line, count = self._answers.popleft()
            now = min(count, room // len(line) + 1)
            parts.append(line * now)
            room -= len(line) * now
            if now < count:
                self._answers.appendleft((line, count - now))
        return b"".join(parts)
