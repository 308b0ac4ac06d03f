"""What was taken from the file and is not yet acked, oldest first: the lines that a reconnection sends again."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from logferry.client.source_file import Source
from logferry.errors import PeerConfused


@dataclass(slots=True, eq=False)
class Batch:
    """The lines `[start, end)` of a source, rendered: the unit of delivery."""

    source: Source
    start: int
    end: int
    payload: bytes
    lines: int
    acked: int = 0  # how many of its first lines the server has answered
    times_sent: int = 0
    sent_at: float = 0.0


class Window:
    """Unacked batches in order, bounded in bytes; acks are matched with lines by their order alone."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._batches: deque[Batch] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be added; the last one may exceed the bound, so one batch always fits."""
        return self._bytes < self._max_bytes

    @property
    def unacked_lines(self) -> int:
        """How many lines wait for an answer or for being sent."""
        return sum(batch.lines - batch.acked for batch in self._batches)

    def add(self, batch: Batch) -> None:
        """Take the next batch."""
        self._batches.append(batch)
        self._bytes += len(batch.payload)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

    def answer(self, lines: int) -> list[tuple[Batch, int]]:
        """The next `lines` lines were answered; return how many in which batch, and forget batches that are complete.

        Raises PeerConfused when so many have not been sent.
        """
        answered: list[tuple[Batch, int]] = []
        while lines:
            if not self._batches or not self._batches[0].times_sent:
                raise PeerConfused(f"the server has sent {lines} more answers than it got lines")
            batch = self._batches[0]
            count = min(lines, batch.lines - batch.acked)
            batch.acked += count
            lines -= count
            answered.append((batch, count))
            self._forget_complete()
        return answered

    def next_unanswered_line(self) -> tuple[Batch, bytes]:
        """Return the oldest line without an answer, as it was rendered, and its batch."""
        batch = self._batches[0]
        return batch, rest_of(batch).partition(b"\n")[0]

    def _forget_complete(self) -> None:
        while self._batches and self._batches[0].acked == self._batches[0].lines:
            self._bytes -= len(self._batches.popleft().payload)


def rest_of(batch: Batch) -> bytes:
    """Return the part of a batch's payload that has no answer yet."""
    if not batch.acked:
        return batch.payload
    answered = re.match(rb"(?:[^\n]*+\n){%d}" % batch.acked, batch.payload)
    return batch.payload[answered.end() :] if answered else b""
