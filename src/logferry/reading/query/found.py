"""Lines that were found, and their times: that of the event if the line says it, and else that of the receipt.

Owns the rule for lines without a time of their own: such a line, as those of a stack trace, has the time of the line
before it in its file if both were received together, so that merging does not tear them apart.
"""

from typing import Final

from logferry.reading.query.records import Record, record_of
from logferry.reading.stored import Chunk, Log, Place, Received

# A line without a time looks this far back for one that has a time.
_MAX_LOOK_BACK: Final = 256 * 1024


def event_time(text: str, received: int | None) -> int | None:
    """Return the time that a timestamp means. A search that finds nothing does without the module."""
    from logferry.reading.times.event_times import event_time as found

    return found(text, received)


class FoundLine:
    """A stored line. `data` is the record as it is stored, without its newline; `time` orders it among others.

    `has_event_time` says that the time is in the line, and not that of the receipt or of the line before.
    """

    __slots__ = ("_record", "data", "has_event_time", "is_context", "log", "place", "received", "time")

    def __init__(
        self, log: Log, place: Place, data: bytes, time: int, received: Received, *, has_event_time: bool
    ) -> None:
        self.log = log
        self.place = place
        self.data = data
        self.time = time
        self.received = received
        self.has_event_time = has_event_time
        self.is_context = False  # shown because of a line near it
        self._record: Record | None = None

    @property
    def record(self) -> Record:
        """What the line says. It is parsed once."""
        if self._record is None:
            self._record = record_of(self.data)
        return self._record

    def know(self, record: Record) -> None:
        """Take what the line says from a caller that has parsed it."""
        self._record = record

    @property
    def end(self) -> Place:
        """Where the next line of the log begins, if it is in the same segment."""
        return Place(self.place.segment, self.place.position + len(self.data) + 1)


class ChunkLines:
    """Makes lines of a chunk, in any order. Remembers where it has looked for times."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self._run = (0, -1, 0)  # lines without a time that begin between these two bytes have this time

    def line(self, start: int, end: int, record: Record | None = None) -> FoundLine:
        """Return the line at `[start, end)` of the chunk's bytes."""
        chunk = self.chunk
        data = chunk.data[start:end]
        position = chunk.position + start
        received = chunk.received(position)
        record = record or record_of(data)
        own = event_time(record.timestamp, received.last) if record.timestamp else None
        time = self._time_before(start, received) if own is None else own
        return FoundLine(
            chunk.log, Place(chunk.segment, position), data, time, received, has_event_time=own is not None
        )

    def _time_before(self, start: int, received: Received) -> int:
        low, high, time = self._run
        if low <= start <= high:
            return time
        data, at = self.chunk.data, start
        while at > 0 and start - at < _MAX_LOOK_BACK:
            if at - 1 == high:
                break
            before = data.rfind(b"\n", 0, at - 1) + 1
            if self.chunk.received(self.chunk.position + before) != received:
                time = _receipt(received)
                break
            if low <= before <= high:
                break
            timestamp = record_of(data[before : at - 1]).timestamp
            found = event_time(timestamp, received.last) if timestamp else None
            at = before
            if found is not None:
                time = found
                break
        else:
            time = _receipt(received)
        self._run = (at, start, time)
        return time


def _receipt(received: Received) -> int:
    """Return the time that stands for a receipt: when the line was certainly there."""
    return received.last or received.first or 0
