"""Which logs a disk store has, and the segments of each: as the ledger says at one moment.

Since version 6 of the ledger, a log has a folder of its own. Before, the folder was `<host>/<name>`, and may have the
lines of several paths: their extents show what is of each.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from logferry.reading.stored import Log
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import SegmentRow

# An old folder has at most these names: that of an identity, of a host and of a file.
_OLD_DEPTH: Final = 3


class Part(NamedTuple):
    """Where lines of a log are: the segments of a log of the ledger, or those of an old folder.

    With `sources`, only what these sources have there.
    """

    log: int | None
    folder: str
    sources: frozenset[str] = frozenset()


class ListedLog:
    """A log, where its lines are, and its newest segments as they were committed; of those that grew then, by their
    paths, how long they were: a group of lines may fill several, and they are there before their bytes."""

    __slots__ = ("growing", "log", "newest", "parts")

    def __init__(self, log: Log) -> None:
        self.log: Final = log
        self.parts: list[Part] = []
        self.newest: list[SegmentRow] = []
        self.growing: Mapping[str, int] = {}


class Listing(NamedTuple):
    """All logs at one moment, by their keys; which other segments were open then, and the last one."""

    logs: Mapping[str, ListedLog]
    by_part: Mapping[tuple[int | None, str], Sequence[ListedLog]]
    open_segments: Sequence[SegmentRow]
    last_segment: int

    def logs_with(self, row: SegmentRow) -> Sequence[ListedLog]:
        """Return the logs that may have lines in a segment."""
        return self.by_part.get(place_of(row), ())


def place_of(row: SegmentRow) -> tuple[int | None, str]:
    """Return what a segment is found by: its log, or its folder."""
    return (row.log, "") if row.log is not None else (None, row.path.rpartition("/")[0])


def listing_of(ledger: Ledger) -> Listing:
    """Return which logs have lines now, by host, path and identity. Raises OSError and DamagedLedger."""
    with ledger.reading():
        newest = ledger.newest_segments()
        last = ledger.last_segment_number()
        growing = ledger.growing_segments(last, besides={row.id for row in newest})
        logs = {row.id: row for row in ledger.logs()} if any(row.log is not None for row in newest) else {}
        sources = _sources_by_folder(ledger) if any(row.log is None for row in newest) else {}
    found: dict[str, ListedLog] = {}
    for row in newest:
        known = logs.get(row.log) if row.log is not None else None
        if known:
            log = Log(f"{known.identity}\0{known.host}\0{known.path}", known.host, known.path, known.identity)
            parts = [(log, Part(known.id, known.folder))]
        else:
            parts = _old_logs(row.path.rpartition("/")[0], sources)
        for log, part in parts:
            listed = found.setdefault(log.key, ListedLog(log))
            listed.parts.append(part)
            listed.newest.append(row)
    by_part: dict[tuple[int | None, str], list[ListedLog]] = defaultdict(list)
    for listed in found.values():
        for part in listed.parts:
            by_part[part.log, part.folder if part.log is None else ""].append(listed)
    for row in growing:
        for listed in by_part.get(place_of(row), ()):
            listed.growing = {**listed.growing, row.path: row.bytes}
    ordered = sorted(found.values(), key=lambda listed: (listed.log.host, listed.log.path, listed.log.identity))
    return Listing({listed.log.key: listed for listed in ordered}, by_part, growing, last)


def segments_of(ledger: Ledger, listed: ListedLog) -> list[SegmentRow]:
    """Return the segments of a log, oldest first, no longer than they were when the log was listed."""
    newest = {row.path: row.bytes for row in listed.newest}
    limits = {**newest, **listed.growing}
    rows: list[SegmentRow] = []
    for part in listed.parts:
        for row in ledger.segments_of_folder(part.folder) if part.log is None else ledger.segments_of_log(part.log):
            limit = limits.get(row.path)
            rows.append(row if limit is None else row._replace(bytes=min(row.bytes, limit)))
            if row.path in newest:
                break
    return rows


def ranges_in(ledger: Ledger, listed: ListedLog) -> dict[int, list[tuple[int, int]]]:
    """Return which bytes of old segments are a log's, where the log shares its folder: ranges by segment."""
    ranges: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for source in sorted({source for part in listed.parts for source in part.sources}):
        for segment, position, size in ledger.ranges_of(source):
            ranges[segment].append((position, position + size))
    return {segment: _joined(sorted(found)) for segment, found in ranges.items()}


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and joined[-1][1] >= start:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


_Sources = Mapping[str, Mapping[tuple[str, str], set[str]]]


def _sources_by_folder(ledger: Ledger) -> _Sources:
    """Return the sources of old folders, by folder, host and path."""
    found: dict[str, dict[tuple[str, str], set[str]]] = defaultdict(lambda: defaultdict(set))
    for place in ledger.places_of_sources():
        found[place.segment.rpartition("/")[0]][place.host, place.path].add(place.source)
    return found


def _old_logs(folder: str, sources: _Sources) -> list[tuple[Log, Part]]:
    """Return the logs of an old folder: one for each path that its sources have."""
    names = folder.split("/")
    identity = names[0] if len(names) >= _OLD_DEPTH else ""
    known = sources.get(folder, {})
    if not known:
        from logferry.server.storage.log_names import PLAIN  # late: hashes take long to import

        path = "" if names[-1] == PLAIN else names[-1]
        return [(Log(f"{identity}\0{names[-2]}\0{path}", names[-2], path, identity), Part(None, folder))]
    is_shared = len(known) > 1
    return [
        (
            Log(f"{identity}\0{host}\0{path}", host, path, identity),
            Part(None, folder, frozenset(ids) if is_shared else frozenset()),
        )
        for (host, path), ids in known.items()
    ]
