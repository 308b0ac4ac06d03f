"""The three questions that read lines: search, count and follow, as searches in `reading`.

Functions of a data folder, so that they run in a thread as well as in a process of their own (isolated.py). Each
opens the store for itself.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from logferry.console.source import Counted, CountedRow, Counts, Followed, Line, Query, Stop, UnknownPlace
from logferry.console.stored.bookmarks import bookmark_of, text_of
from logferry.console.stored.counting import LineCounts
from logferry.console.stored.wanted import selection_of
from logferry.reading import stored
from logferry.reading.counting.statistics import By, statistics_of
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.follow import POLL_S, Follower
from logferry.reading.query.found import FoundLine
from logferry.reading.query.search import search
from logferry.reading.stored import place_at


def search_lines(data_dir: Path, query: Query, stop: Stop, *, from_place: str, is_backward: bool) -> Iterator[Line]:
    """See `Source.search`."""
    with closing(DiskLogs(data_dir)) as logs, known_places():
        after = place_at(from_place) if from_place else None
        selection = selection_of(query)
        for line in search(logs, selection, reverse=is_backward, after=after, stop=_counting(stop, logs)):
            yield as_line(line)


def count_lines(
    data_dir: Path, query: Query, stop: Stop, *, since: int, bucket_ms: int, buckets: int
) -> Iterator[Counts]:
    """See `Source.counts`."""
    with closing(DiskLogs(data_dir)) as logs:
        counting = LineCounts(logs, selection_of(query), since, bucket_ms, buckets)
        for rows in counting.run(_counting(stop, logs)):
            yield Counts(rows)


def count_by(data_dir: Path, query: Query, stop: Stop, *, by: str, with_patterns: bool) -> Iterator[Counted]:
    """See `Source.statistics`."""
    with closing(DiskLogs(data_dir)) as logs:
        selection, counting = selection_of(query), _counting(stop, logs)
        found = statistics_of(logs, selection, By(by), with_patterns=with_patterns, stop=counting)
        rows = [CountedRow(row.key, row.count, row.hosts, row.patterns, row.levels) for row in found.rows]
        looked = logs.looked
        numbers = (found.lines, found.missed, looked.bytes, looked.logs, looked.unreadable)
        yield Counted(rows, *numbers, problem=looked.problem)


def follow_lines(data_dir: Path, query: Query, stop: Stop, *, after: str) -> Iterator[Followed]:
    """See `Source.follow`."""
    with closing(DiskLogs(data_dir)) as logs, known_places():
        follower = Follower(logs, selection_of(query), after=bookmark_of(after, query) if after else None)
        yield Followed(None, text_of(follower.bookmark, query))
        while True:
            began = time.monotonic()
            for line, behind in follower.look_with_bookmarks():
                stop.check()
                yield Followed(as_line(line), text_of(behind, query))
            yield Followed(None, text_of(follower.bookmark, query))
            stop.wait(max(POLL_S, 4 * (time.monotonic() - began)))


def as_line(line: FoundLine) -> Line:
    """Return a line that was found as the console shows it."""
    after, at_the_latest = line.received
    log, place = line.log, str(line.place)
    return Line(place, log.host, log.path, line.time, at_the_latest, line.has_event_time, line.data, after)


@contextmanager
def known_places() -> Iterator[None]:
    """Raise the console's UnknownPlace for that of `reading`."""
    try:
        yield
    except stored.UnknownPlace:
        raise UnknownPlace from None


def _counting(stop: Stop, logs: DiskLogs) -> Callable[[], None]:
    """Return what a search calls for each chunk."""

    def count() -> None:
        stop.bytes_read, stop.lines_read = logs.looked.bytes, logs.looked.lines
        stop.check()

    return count
