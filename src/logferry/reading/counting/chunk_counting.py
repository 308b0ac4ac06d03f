"""Counts the lines of chunks that a selection asks for, each group of lines with a time in its minute.

Lines are looked at one by one only where a text or a pattern decides about them, where the selection begins or ends
within the minute in which they are, or where some of them have timestamps that mean no time. Pure but for the zone of
times that name none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from logferry.reading.counting.line_counts import Key, Part, count_lines
from logferry.reading.query.found import ChunkLines
from logferry.reading.query.matching import Extent, Matcher, all_lines
from logferry.reading.query.selection import Selection
from logferry.reading.stored import EVER, Chunk, Received
from logferry.reading.times.event_times import event_time

MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000

# Texts of minutes whose times are known. A year of minutes would be half a million.
_MOST_MINUTES: Final = 20_000


class Counted(NamedTuple):
    """Lines with a level and a pattern, escaped for JSON, in the minute that begins at `minute`."""

    level: str
    minute: int
    pattern: bytes
    lines: int


class ChunkCounting:
    """Counts what a selection asks for, of one chunk after another. Used by one thread."""

    def __init__(self, selection: Selection, parts: Part) -> None:
        """`parts` need not have the minute: without it, all lines are in the minute that begins at 0."""
        self._span = selection.span
        self._levels = selection.levels
        is_searched = selection.texts or selection.regex or selection.words or selection.unwanted_levels
        self._matcher = Matcher(selection) if is_searched else None
        self._parts = parts
        self._needs_times = bool(parts & Part.MINUTE) or selection.span != EVER
        self._parts_and_times = parts | Part.MINUTE if self._needs_times else parts
        self._parts_without_times = parts & ~Part.MINUTE
        self._minutes: dict[tuple[bytes, int], tuple[int, bool]] = {}

    def of_chunk(self, chunk: Chunk) -> Iterator[Counted]:
        """Yield what is counted in a chunk; the same group of lines may come more than once."""
        if self._matcher:
            yield from self._of_lines(chunk, ((match.start, match.end) for match in self._matcher.matches(chunk.data)))
        elif not self._needs_times:
            yield from self._of_keys(self._count(chunk.data), Received())
        else:
            for start, end, received in _pieces(chunk):
                yield from self._of_received_together(chunk, start, end, received)

    def _of_received_together(self, chunk: Chunk, start: int, end: int, received: Received) -> Iterator[Counted]:
        counts = self._count(chunk.data[start:end])
        found = list(self._of_keys(counts, received))
        if self._is_mixed(counts, received) or any(self._is_cut(counted.minute) for counted in found):
            extents = (extent for extent in all_lines(chunk.data) if start <= extent[0] < end)
            yield from self._of_lines(chunk, extents)
            return
        yield from (counted for counted in found if self._span.has(counted.minute))

    def _is_cut(self, minute: int) -> bool:
        """Whether the selection begins or ends within a minute."""
        return any(moment is not None and minute < moment < minute + MINUTE_MS for moment in self._span)

    def _is_mixed(self, counts: Counter[Key], received: Received) -> bool:
        """Whether some lines have a timestamp that means no time: if others have one, these have the time of those
        before them."""
        readable = {self._minute(key.minute, received)[1] for key in counts if key.minute}
        return len(readable) > 1

    def _count(self, lines: bytes) -> Counter[Key]:
        return count_lines(lines, self._parts_and_times)

    def _of_keys(self, counts: Counter[Key], received: Received) -> Iterator[Counted]:
        for key, count in counts.items():
            level = key.level.decode("utf-8", "replace")
            if not self._levels or level.upper() in self._levels:
                minute = self._minute(key.minute, received)[0] if self._needs_times else 0
                yield Counted(level, minute, key.pattern, count)

    def _minute(self, text: bytes, received: Received) -> tuple[int, bool]:
        """Return the minute of a timestamp, or of the receipt if it means no time; and whether it means one."""
        receipt = received.last or received.first or 0
        known = text, receipt // _DAY_MS if text else receipt
        if (found := self._minutes.get(known)) is None:
            time = event_time(text.decode("utf-8", "replace"), received.last) if text else None
            found = (receipt if time is None else time) // MINUTE_MS * MINUTE_MS, time is not None
            if len(self._minutes) >= _MOST_MINUTES:
                self._minutes.clear()
            self._minutes[known] = found
        return found

    def _of_lines(self, chunk: Chunk, extents: Iterable[Extent]) -> Iterator[Counted]:
        """Count single lines, each with its own time."""
        lines, by_minute = ChunkLines(chunk), defaultdict[int, list[bytes]](list)
        for start, end in extents:
            line = lines.line(start, end)
            if self._span.has(line.time):
                minute = line.time // MINUTE_MS * MINUTE_MS if self._needs_times else 0
                by_minute[minute].append(line.data)
        for minute, data in by_minute.items():
            for key, count in count_lines(b"\n".join([*data, b""]), self._parts_without_times).items():
                level = key.level.decode("utf-8", "replace")
                if not self._levels or level.upper() in self._levels:
                    yield Counted(level, minute, key.pattern, count)


def _pieces(chunk: Chunk) -> Iterator[tuple[int, int, Received]]:
    """Yield the parts of a chunk's bytes that were received together."""
    starts: Sequence[int] = [max(position - chunk.position, 0) for position, _ in chunk.marks] or [0]
    for start, end in pairwise([0, *starts[1:], len(chunk.data)]):
        if start < end:
            yield start, end, chunk.received(chunk.position + start)
