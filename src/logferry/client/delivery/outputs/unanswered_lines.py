"""Lines in flight in the plain protocol, where the n-th answer is for the n-th line (rules C1 to C4)."""

import re
from collections import deque
from collections.abc import Iterator

from logferry.errors import NotALogServer
from logferry.model.batch import Batch


class UnansweredLines:
    """The lines that were sent on one connection and have no answer, oldest first."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._answered = 0  # of the first batch
        self._passed_lines = 0  # how many answered lines the last lookup skipped,
        self._passed_bytes = 0  # and where they end in the payload

    def __bool__(self) -> bool:
        return bool(self._batches)

    def add(self, batch: Batch) -> None:
        """Note that the unanswered lines of a batch are being sent."""
        if batch.acked == batch.lines:
            return
        self._batches.append(batch)
        if len(self._batches) == 1:
            self._begin_first()

    def answer(self, lines: int) -> Iterator[tuple[Batch, int]]:
        """Note that the next `lines` lines were answered; yield each batch with its share of them.

        Raises NotALogServer if fewer lines were sent, after yielding those.
        """
        while lines:
            if not self._batches:
                raise NotALogServer(f"it sent {lines} more answers than it was sent lines")
            batch = self._batches[0]
            count = min(lines, batch.lines - self._answered)
            self._answered += count
            lines -= count
            if self._answered == batch.lines:
                self._batches.popleft()
                self._begin_first()
            yield batch, count

    def next_line(self) -> tuple[Batch, bytes]:
        """Return the batch of the oldest line, and the line as rendered. Raises NotALogServer if there is none.

        Never scans a byte twice, because a server may refuse every line.
        """
        if not self._batches:
            raise NotALogServer("it sent more answers than it was sent lines")
        payload = self._batches[0].payload
        start = _end_of_lines(payload, self._answered - self._passed_lines, self._passed_bytes)
        self._passed_lines, self._passed_bytes = self._answered, start
        return self._batches[0], payload[start : payload.index(b"\n", start)]

    def _begin_first(self) -> None:
        self._answered = self._batches[0].acked if self._batches else 0
        self._passed_lines = self._passed_bytes = 0


def unanswered_part(batch: Batch) -> bytes:
    """Return the part of a batch's payload that has no answer yet."""
    return batch.payload[_end_of_lines(batch.payload, batch.acked, 0) :]


def _end_of_lines(payload: bytes, lines: int, start: int) -> int:
    """Return the end of the `lines` lines that begin at `start`."""
    if not lines:
        return start
    passed = re.compile(rb"(?:[^\n]*+\n){%d}" % lines).match(payload, start)
    return passed.end() if passed else len(payload)
