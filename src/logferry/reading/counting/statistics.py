"""Counts the stored lines that a selection asks for: by minute, hour, level, host, file, or pattern of their message.

Reads every log once, a chunk at a time. What a whole chunk needs no look at single lines for is counted by the compiled
part (line_counts.py); a line is looked at if a text decides about it, or if the selection begins or ends within a
minute. Times are those by which `search` orders lines. Keeps a bounded number of counts. Never reads a clock.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar

from logferry.reading.counting.ahead import counted_ahead
from logferry.reading.counting.bounded_counts import BoundedCounts
from logferry.reading.counting.chunk_counting import ChunkCounting, Counted
from logferry.reading.counting.line_counts import Part
from logferry.reading.query.selection import Selection
from logferry.reading.stored import EVER, Chunk, Log, StoredLogs

_HOUR_S: Final = 3600

# Rows, and counts of a host or a pattern in a row. A pattern has at most a kilobyte, usually some dozens of bytes.
MOST_ROWS: Final = 50_000
_MOST_DETAILS: Final = 50_000


class By(Enum):
    """What lines are counted by."""

    MINUTE = "minute"
    HOUR = "hour"
    LEVEL = "level"
    HOST = "host"
    FILE = "file"
    PATTERN = "message-pattern"

    @property
    def is_time(self) -> bool:
        """Whether the rows are spans of time, in their order."""
        return self in (By.MINUTE, By.HOUR)


RowKey = int | str | tuple[str, str]
"""When a span of time begins, in milliseconds of Unix time; a level, host or pattern; or host and path of a log."""


@dataclass(frozen=True, slots=True)
class Row:
    """Lines that have something in common, how many, and which hosts and patterns have most of them."""

    key: RowKey
    count: int
    hosts: Sequence[tuple[str, int]] = ()
    patterns: Sequence[tuple[str, int]] = ()
    levels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Rows by time, or the most frequent first. `missed` is how much too low a count may be; 0: all are exact."""

    by: By
    rows: Sequence[Row]
    lines: int
    missed: int = 0


def statistics_of(
    stored: StoredLogs,
    selection: Selection,
    by: By,
    *,
    with_patterns: bool = False,
    details: int = 3,
    stop: Callable[[], object] = lambda: None,
) -> Statistics:
    """Count lines. With `with_patterns`, each row has its most frequent ones, at most as many as `details`.

    `stop` is called before each chunk, and raises an exception to end. Raises OSError and LogferryError.
    """
    logs = [log for log in stored.logs() if selection.has_log(log)]
    stored.looked.logs = len(logs)
    if by in (By.HOST, By.FILE) and not selection.looks_inside and selection.span == EVER:
        return _by_size(stored, selection, by)
    counts = _Counts(by, with_patterns=with_patterns and by is not By.PATTERN)
    counting = ChunkCounting(selection, counts.parts)
    for log, found in counted_ahead(counting, _chunks(stored, logs, selection, stop)):
        for counted in found:
            counts.add(log, counted)
    return counts.result(details)


def _chunks(
    stored: StoredLogs, logs: Sequence[Log], selection: Selection, stop: Callable[[], object]
) -> Iterator[Chunk]:
    for log in logs:
        for chunk in stored.chunks(log, selection.span):
            stop()
            yield chunk


def _by_size(stored: StoredLogs, selection: Selection, by: By) -> Statistics:
    """Count what the store knows without reading a line."""
    counts = Counter[RowKey]()
    for log, size in stored.sizes():
        if selection.has_log(log):
            counts[log.host if by is By.HOST else (log.host, log.path)] += size.lines
    return Statistics(by, [Row(key, count) for key, count in counts.most_common()], counts.total())


class _Counts:
    """The counts of all logs."""

    def __init__(self, by: By, *, with_patterns: bool) -> None:
        self._by = by
        self._with_patterns = with_patterns
        self._rows = BoundedCounts[RowKey](MOST_ROWS)
        self._hosts = BoundedCounts[tuple[RowKey, str]](_MOST_DETAILS)
        self._patterns = BoundedCounts[tuple[RowKey, bytes]](_MOST_DETAILS)
        self._levels = BoundedCounts[tuple[RowKey, str]](_MOST_DETAILS)
        self._lines = 0

    @property
    def parts(self) -> Part:
        """What a count must distinguish."""
        parts = Part.LEVEL | (Part.MINUTE if self._by.is_time else Part(0))
        return parts | (Part.PATTERN if self._with_patterns or self._by is By.PATTERN else Part(0))

    def add(self, log: Log, counted: Counted) -> None:
        """Count lines of a log."""
        key, count = self._key(log, counted), counted.lines
        self._lines += count
        self._rows.add(key, count)
        self._hosts.add((key, log.host), count)
        self._levels.add((key, counted.level), count)
        if self._with_patterns:
            self._patterns.add((key, counted.pattern), count)

    def _key(self, log: Log, counted: Counted) -> RowKey:
        match self._by:
            case By.MINUTE:
                return counted.minute
            case By.HOUR:
                return _hour_of(counted.minute)
            case By.LEVEL:
                return counted.level.upper()
            case By.HOST:
                return log.host
            case By.FILE:
                return log.host, log.path
        return pattern_text(counted.pattern)

    def result(self, details: int) -> Statistics:
        hosts, levels = _by_row(self._hosts), _by_row(self._levels)
        patterns = _by_row(self._patterns)
        rows = [
            Row(
                key,
                count,
                hosts[key][:details],
                [(pattern_text(pattern), number) for pattern, number in patterns[key][:details]],
                dict(levels[key]),
            )
            for key, count in self._rows.most_common()
        ]
        if self._by.is_time:
            rows.sort(key=lambda row: row.key if isinstance(row.key, int) else 0)
        missed = max(self._rows.missed, self._patterns.missed, self._hosts.missed, self._levels.missed)
        return Statistics(self._by, rows, self._lines, missed)


Detail = TypeVar("Detail", str, bytes)


def _by_row(counts: BoundedCounts[tuple[RowKey, Detail]]) -> dict[RowKey, list[tuple[Detail, int]]]:
    found: dict[RowKey, list[tuple[Detail, int]]] = defaultdict(list)
    for (key, detail), count in counts.most_common():
        found[key].append((detail, count))
    return found


def pattern_text(pattern: bytes) -> str:
    """Return a pattern as text: it is escaped for JSON."""
    text = pattern.decode("utf-8", "replace")
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


def _hour_of(moment: int) -> int:
    """Return when the hour on the clock of this place begins."""
    seconds = moment // 1000
    try:
        offset = time.localtime(seconds).tm_gmtoff
    except (OverflowError, OSError, ValueError):
        offset = 0
    return (seconds - (seconds + offset) % _HOUR_S) * 1000
