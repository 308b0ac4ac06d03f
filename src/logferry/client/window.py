"""What was taken from the file and is not yet acked, oldest first: the lines that a reconnection sends again."""

import re
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from logferry.client.source_file import Source
from logferry.errors import PeerConfused


@dataclass(slots=True, eq=False)
class Batch:
    """The lines `[start, end)` of a source, rendered: the unit of delivery.

    Without lines it only moves the source on: blank lines, or bytes that will never come, for the reason in `lost`.
    `cut` says that its one line was too long.
    """

    source: Source
    start: int
    end: int
    payload: bytes = b""
    lines: int = 0
    tail: bytes = b""
    epoch: int = 0
    lost: str = ""
    cut: str = ""
    acked: int = 0  # how many of its first lines the server has answered
    passed_lines: int = 0  # how many of these were counted off when the rest was last asked for,
    passed_bytes: int = 0  # and where they end
    is_done: bool = False
    in_flight: bool = False  # begun on the present connection: only such lines can be answered
    times_sent: int = 0
    sent_at: float = 0.0


class Window:
    """Unacked batches in order, bounded in bytes.

    Answers are matched with lines by their order alone (`answer`), or with a source's offsets (`commit`). Batches that
    are done are kept until they are taken with `take_done`, in the order in which they were read.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._batches: deque[Batch] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self._batches)

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

    def answer(self, lines: int) -> Iterator[tuple[Batch, int]]:
        """The next `lines` lines were answered; give how many in which batch.

        Raises PeerConfused when so many have not been sent, after giving those that were.
        """
        for batch in self._batches:
            count = min(lines, batch.lines - batch.acked) if batch.in_flight else 0
            if count:
                batch.acked += count
                batch.is_done = batch.acked == batch.lines
                lines -= count
                yield batch, count
            if not lines:
                return
        raise PeerConfused(f"the server has sent {lines} more answers than it got lines")

    def crc32_up_to(self, source: Source, offset: int) -> int | None:
        """Return the CRC-32 that a source has at `offset`, if the batches from its checkpoint to there are all here."""
        position, crc32 = source.committed, source.crc32
        for batch in self._batches:
            if batch.source is source and batch.start == position and batch.end <= offset:
                position, crc32 = batch.end, zlib.crc32(batch.payload, crc32)
        return crc32 if position == offset else None

    def commit(self, source: Source, committed: int) -> list[Batch]:
        """Everything of a source before `committed` is stored; return the batches that this completes."""
        done = [batch for batch in self.of_source(source) if batch.end <= committed]
        for batch in done:
            batch.acked = batch.lines
            batch.is_done = True
        return done

    def take_done(self) -> Iterator[Batch]:
        """Give up the oldest batches, as far as they are done."""
        while self._batches and self._batches[0].is_done:
            batch = self._batches.popleft()
            self._bytes -= len(batch.payload)
            yield batch

    def add_first(self, batch: Batch) -> None:
        """Put a batch before all others."""
        self._batches.appendleft(batch)
        self._bytes += len(batch.payload)

    def of_source(self, source: Source) -> list[Batch]:
        """Return the batches of a source that are not done, in order."""
        return [batch for batch in self._batches if batch.source is source and not batch.is_done]

    def give_up(self, batch: Batch, reason: str) -> None:
        """Turn a batch into the news that its bytes will not come."""
        self._bytes -= len(batch.payload)
        batch.payload, batch.lines, batch.lost = b"", 0, reason

    def drop_source(self, source: Source) -> None:
        """Forget the batches of a source; it will be read again."""
        self._batches = deque(batch for batch in self._batches if batch.source is not source)
        self._bytes = sum(len(batch.payload) for batch in self._batches)

    def next_unanswered_line(self) -> tuple[Batch, bytes]:
        """Return the oldest line without an answer, as it was rendered, and its batch. Raises PeerConfused."""
        batch = next((batch for batch in self._batches if batch.acked < batch.lines and batch.in_flight), None)
        if batch is None:
            raise PeerConfused("the server has sent more answers than it got lines")
        start = _begin_of_rest(batch)
        return batch, batch.payload[start : batch.payload.index(b"\n", start)]


def rest_of(batch: Batch) -> bytes:
    """Return the part of a batch's payload that has no answer yet."""
    return batch.payload[_begin_of_rest(batch) :]


def _begin_of_rest(batch: Batch) -> int:
    """Return where the part without an answer begins. No byte is looked at twice: a server may refuse line by line."""
    if lines := batch.acked - batch.passed_lines:
        passed = re.compile(rb"(?:[^\n]*+\n){%d}" % lines).match(batch.payload, batch.passed_bytes)
        batch.passed_lines, batch.passed_bytes = batch.acked, passed.end() if passed else len(batch.payload)
    return batch.passed_bytes


def commit(batch: Batch, *, is_plain: bool) -> None:
    """A batch is stored: move its source's checkpoint, unless the server has moved it further already."""
    source = batch.source
    if batch.end <= source.committed:
        return
    if is_plain:
        source.plain_until = batch.end  # what a server of the extension will not know of
    else:
        source.lines += batch.lines
        source.crc32 = zlib.crc32(batch.payload, source.crc32)
    source.committed = batch.end
    source.tail = batch.tail
