"""Counts lines by time and level for the histogram: a chunk at a time where nothing in a line decides, else by line.

Owns the buckets. Lines of one minute, or one second, and one level are counted together if buckets are whole minutes
or seconds.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from logferry.console.levels import CLASS_OF, LEVEL_CLASSES
from logferry.reading.counting.line_counts import Part, count_lines
from logferry.reading.query.found import ChunkLines
from logferry.reading.query.matching import Matcher
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Chunk, StoredLogs
from logferry.reading.times.event_times import event_time

_MINUTE_MS: Final = 60_000
_SECOND_MS: Final = 1000

# A record as our clients write it: the level, and the timestamp without the fraction of its seconds.
_USUAL: Final = re.compile(
    rb'^\{"level": "([^"\\]*+)", "message": "(?:[^"\\]++|\\.)*+", '
    rb'"timestamp": "([^"\\.,]*:[0-9]{2}(?![0-9:]))(?:[.,][0-9]++)?+([^"\\.,]*+)"',
    re.MULTILINE,
)
_OTHER: Final = LEVEL_CLASSES.index("other")
_INDEX: Final = {level: number for number, level in enumerate(LEVEL_CLASSES)}

# The counts so far are passed on after this many chunks: the page sees them grow.
_CHUNKS_PER_PICTURE: Final = 16

Rows = Sequence[Sequence[int]]


class LineCounts:
    """Counts the lines of a selection in buckets of `bucket_ms` from `since` on."""

    def __init__(self, logs: StoredLogs, selection: Selection, since: int, bucket_ms: int, buckets: int) -> None:
        self._logs = logs
        self._selection = selection
        self._since = since
        self._bucket_ms = bucket_ms
        self._buckets = buckets
        self._matcher = Matcher(selection)
        self._counts: Counter[tuple[int, int]] = Counter()
        self._times: dict[tuple[bytes, int | None], int | None] = {}
        is_plain = not selection.words and not selection.texts and selection.regex is None
        units = (unit for unit in (_MINUTE_MS, _SECOND_MS) if not bucket_ms % unit and not since % unit)
        self._unit = next(units, 0) if is_plain else 0
        # Units that are in the span in part. Lines of such a one, and lines without a time, are looked at one by one.
        ends = (selection.span.since, selection.span.until)
        self._edges = {end - end % self._unit for end in ends if end is not None and self._unit and end % self._unit}

    def run(self, stop: Callable[[], object]) -> Iterator[Rows]:
        """Yield what is counted so far, again and again; the last one is complete."""
        number = 0
        for log in self._logs.logs():
            if not self._selection.has_log(log):
                continue
            for chunk in self._logs.chunks(log, self._selection.span):
                stop()
                self._count(chunk)
                number += 1
                if not number % _CHUNKS_PER_PICTURE:
                    yield self._rows()
        yield self._rows()

    def _count(self, chunk: Chunk) -> None:
        if not self._unit or not self._count_together(chunk):
            self._count_each(chunk)

    def _count_together(self, chunk: Chunk) -> bool:
        """Count the lines of each unit of time together; return whether that could be done."""
        received = chunk.received(chunk.position).last
        levels, unwanted = self._selection.levels, self._selection.unwanted_levels
        found = []
        for level, timestamp, count in _by_minute(chunk.data) if self._unit == _MINUTE_MS else _by_second(chunk.data):
            time = self._time_of(timestamp, received)
            if time is None or time in self._edges:
                return False
            name = level.decode("utf-8", "replace")
            if (not levels or name.upper() in levels) and name.upper() not in unwanted:
                found.append((time, _class_of(name.lower()), count))
        for time, index, count in found:
            self._add(time, index, count)
        return True

    def _count_each(self, chunk: Chunk) -> None:
        lines = ChunkLines(chunk)
        for match in self._matcher.matches(chunk.data):
            line = lines.line(match.start, match.end, match.record)
            self._add(line.time, _class_of(match.record.level.lower()), 1)

    def _time_of(self, minute: bytes, received: int | None) -> int | None:
        """Return what a timestamp means; one that many lines have is parsed once."""
        hour = received // 3_600_000 if received else None
        if (minute, hour) not in self._times:
            if len(self._times) > 10_000:
                self._times.clear()
            text = minute.decode("utf-8", "replace")
            self._times[minute, hour] = event_time(text, received) if text else None
        return self._times[minute, hour]

    def _add(self, time: int, level: int, count: int) -> None:
        bucket = (time - self._since) // self._bucket_ms
        if 0 <= bucket < self._buckets and self._selection.span.has(time):
            self._counts[bucket, level] += count

    def _rows(self) -> Rows:
        rows: dict[int, list[int]] = {}
        for (bucket, level), count in self._counts.items():
            rows.setdefault(bucket, [bucket, *[0] * len(LEVEL_CLASSES)])[level + 1] += count
        return [row for _, row in sorted(rows.items())]


def _by_minute(lines: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield level, timestamp and number of the lines of each minute and level."""
    for key, count in count_lines(lines, Part.LEVEL | Part.MINUTE).items():
        yield key.level, key.minute, count


def _by_second(lines: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield the same of each second; a line without a timestamp if some lines are not written in the usual way."""
    pairs = _USUAL.findall(lines)
    if len(pairs) != lines.count(b"\n"):
        yield b"", b"", 1
        return
    for (level, clock, zone), count in Counter(pairs).items():
        yield level, clock + zone, count


def _class_of(level: str) -> int:
    return _INDEX.get(CLASS_OF.get(level, "other"), _OTHER)
