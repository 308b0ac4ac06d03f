"""Counts lines by time and level for the histogram: a chunk at a time where nothing in a line decides, else by line.

Owns the buckets. What the compiled part counts, it counts by minute, so buckets of whole minutes take that way.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from logferry.console.parameters import CLASS_OF
from logferry.console.source import LEVEL_CLASSES
from logferry.reading.counting import Part, count_lines
from logferry.reading.event_times import event_time
from logferry.reading.found import ChunkLines
from logferry.reading.matching import Matcher
from logferry.reading.selection import Selection
from logferry.reading.stored import Chunk, StoredLogs

_MINUTE_MS: Final = 60_000
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
        # Minutes that are in the span in part. Lines of such a one, and lines without a time, are looked at one by one.
        span = selection.span
        ends = (span.since, span.until)
        self._edges = {end // _MINUTE_MS * _MINUTE_MS for end in ends if end is not None and end % _MINUTE_MS}
        self._by_minute = (
            not selection.words
            and not selection.texts
            and selection.regex is None
            and not bucket_ms % _MINUTE_MS
            and not since % _MINUTE_MS
        )

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
        if self._by_minute:
            self._count_minutes(chunk)
        else:
            self._count_each(chunk)

    def _count_each(self, chunk: Chunk) -> None:
        lines = ChunkLines(chunk)
        for match in self._matcher.matches(chunk.data):
            line = lines.line(match.start, match.end, match.record)
            self._add(line.time, _class_of(match.record.level.lower()), 1)

    def _count_minutes(self, chunk: Chunk) -> None:
        received = chunk.received(chunk.position).last
        levels, unwanted = self._selection.levels, self._selection.unwanted_levels
        found = []
        for key, count in count_lines(chunk.data, Part.LEVEL | Part.MINUTE).items():
            level = key.level.decode("utf-8", "replace")
            time = self._time_of(key.minute, received)
            if time is None or time in self._edges:
                self._count_each(chunk)
                return
            if (not levels or level.upper() in levels) and level.upper() not in unwanted:
                found.append((time, _class_of(level.lower()), count))
        for time, index, count in found:
            self._add(time, index, count)

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


def _class_of(level: str) -> int:
    return _INDEX.get(CLASS_OF.get(level, "other"), _OTHER)
