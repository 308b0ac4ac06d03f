"""Finds the story of a place in a file: its line or the neighbours, what the ledger knows, and what the disk has.

What is checked is bounded, and what is left out is said. Only reads, in short transactions.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from logferry.checksum import crc32
from logferry.reading.disk.ledger import LedgerDoor
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.found import FoundLine
from logferry.reading.query.search import search
from logferry.reading.query.selection import Selection
from logferry.reading.stored import Log, Span
from logferry.reading.story.history import Checked, Happening, History, Kind, StoredLine
from logferry.server.storage.disk.integrity.damaged_folder import Repaired, repairs_of
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.queries.history import SourceFacts, StoredExtent

# A file has one source for each time that it began anew.
_MOST_SOURCES: Final = 1000
_MOST_ROWS: Final = 1000
_MOST_HAPPENINGS: Final = 40

_MOST_CHECKED_BYTES: Final = 256 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024

_END: Final = 1 << 62
_LAST_NUMBER: Final = re.compile(r"[0-9]{1,18}(?=[^0-9]*\Z)", re.ASCII)


class Range(NamedTuple):
    """Bytes of a source that the story is about."""

    source: SourceFacts
    start: int
    end: int


def history_at(data_dir: Path, stored: DiskLogs, log: Log, *, text: str = "", at: int | None = None) -> History:
    """Return the story of the last line with a text, or of a time; of the end of the log if neither is given.

    Raises OSError and LogferryError.
    """
    line = _last(stored, log, text, _around(at)) if text else None
    before, after = (None, None) if line else _neighbours(stored, log, text, at)
    door = LedgerDoor(data_dir)
    try:
        with door.opened() as ledger:
            sources = ledger.sources_of_file(log.host, log.path, limit=_MOST_SOURCES)
            teller = _Historian(ledger, stored, sources)
            found, first, last = (teller.stored_line(each) for each in (line, before, after))
            ranges = list(_ranges(sources, found, first, last))
            found_out = [*_happenings(ledger, ranges, first, last), *_repairs(data_dir, ledger, ranges)]
            happenings = sorted(found_out, key=lambda each: (each.last or 0, each.start))
            checked = teller.check(ranges)
    finally:
        door.close()
    left_out = max(len(happenings) - _MOST_HAPPENINGS, 0)
    return History(log, found, first, last, happenings[left_out:], checked, left_out)


def _around(at: int | None) -> Span:
    """Return the span in which a text is looked for: ten minutes around a time."""
    return Span() if at is None else Span(at - 300_000, at + 300_000)


def _of_log(log: Log, **values: object) -> Selection:
    return Selection(hosts=(_exactly(log.host),), files=(_exactly(log.path),) if log.path else (), **values)  # type: ignore[arg-type]


def _exactly(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _last(stored: DiskLogs, log: Log, text: str, span: Span) -> FoundLine | None:
    """Return the last line with a text; a number at its ends is not a part of a longer one."""
    first, last = ("(?<![0-9])" if text[0].isdigit() else ""), ("(?![0-9])" if text[-1].isdigit() else "")
    wanted = _of_log(log, regex=re.compile(f"{first}{re.escape(text)}{last}"), span=span)
    return next(search(stored, wanted, limit=1, reverse=True), None)


def _neighbours(stored: DiskLogs, log: Log, text: str, at: int | None) -> tuple[FoundLine | None, FoundLine | None]:
    """Return the lines around a place that is not stored: by its time, or by the number in its text."""
    if at is not None:
        return (
            next(search(stored, _of_log(log, span=Span(None, at)), limit=1, reverse=True), None),
            next(search(stored, _of_log(log, span=Span(at, None))), None),
        )
    if number := _LAST_NUMBER.search(text):
        return _by_number(stored, log, text, number)
    return next(search(stored, _of_log(log), limit=1, reverse=True), None), None


def _by_number(
    stored: DiskLogs, log: Log, text: str, number: "re.Match[str]"
) -> tuple[FoundLine | None, FoundLine | None]:
    """Return the lines with the same text and the next lower and the next higher number."""
    wanted = int(number[0])
    pattern = re.compile(
        f"{re.escape(text[: number.start()])}([0-9]{{1,18}})(?![0-9]){re.escape(text[number.end() :])}"
    )
    before: tuple[int, FoundLine] | None = None
    after: tuple[int, FoundLine] | None = None
    for line in search(stored, _of_log(log, regex=pattern)):
        match = pattern.search(line.record.message)
        if not match:
            continue
        found = int(match[1])
        if found < wanted and (before is None or found >= before[0]):
            before = found, line
        elif found > wanted and (after is None or found < after[0]):
            after = found, line
    return before[1] if before else None, after[1] if after else None


def _ranges(
    sources: Sequence[SourceFacts], line: StoredLine | None, before: StoredLine | None, after: StoredLine | None
) -> Iterator[Range]:
    """Yield the bytes between the neighbours, with their own, or those that were stored together with the line."""
    numbers = {source.id: number for number, source in enumerate(sources)}
    if line is not None:
        if line.source in numbers:
            yield Range(sources[numbers[line.source]], line.start, line.end)
        return
    first = numbers.get(before.source, 0) if before else 0
    last = numbers.get(after.source, len(sources) - 1) if after else len(sources) - 1
    for number in range(min(first, last), max(first, last) + 1) if sources else ():
        source = sources[number]
        start = before.start if before and source.id == before.source else 0
        end = after.end if after and source.id == after.source else _END
        yield Range(source, start, max(start, end))


def _happenings(
    ledger: Ledger, ranges: Sequence[Range], before: StoredLine | None, after: StoredLine | None
) -> Iterator[Happening]:
    for number, (source, start, end) in enumerate(ranges):
        if number:
            yield Happening(Kind.NEW_SOURCE, source.opened, source.opened)
        losses = ledger.losses_noted(source.id, limit=_MOST_ROWS)
        for loss in losses:
            if loss.start < end and loss.end > start:
                kind = Kind.LOST if loss.is_lost else Kind.SKIPPED
                yield Happening(kind, loss.noted, loss.noted, loss.start, loss.end, reason=loss.reason)
        for window in ledger.windows_noted(source.id, limit=_MOST_ROWS):
            if start <= window.start <= end:
                times = window.last_look, window.noticed
                yield Happening(Kind.WINDOW, *times, window.start, window.start, reason=window.reason)
        extents = ledger.extents_between(source.id, start, end, limit=_MOST_ROWS)
        for extent in extents:
            if extent.segment.state == "expired" or extent.is_damaged:
                kind = Kind.DELETED if extent.segment.state == "expired" else Kind.DAMAGED
                row = extent.extent
                yield Happening(kind, None, None, row.start, row.end, row.lines)
        covered = [(extent.extent.start, extent.extent.end) for extent in extents]
        covered += [(loss.start, loss.end) for loss in losses]
        yield from _gaps(sorted(covered), extents)
    yield from _starts(ledger, before, after)


def _gaps(covered: Sequence[tuple[int, int]], extents: Sequence[StoredExtent]) -> Iterator[Happening]:
    """Yield the bytes between stored ones that nothing accounts for."""
    if not extents:
        return
    first, last, at = extents[0].extent.start, extents[-1].extent.start, extents[0].extent.end
    for start, end in covered:
        if at < start and first <= start <= last:
            yield Happening(Kind.UNACCOUNTED, None, None, at, start)
        if start >= first:
            at = max(at, end)


def _repairs(data_dir: Path, ledger: Ledger, ranges: Sequence[Range]) -> Iterator[Happening]:
    """Yield the repairs of what is stored of ranges, as far as the bytes that were there before are kept."""
    known: dict[str, list[Repaired]] = {}
    for source, start, end in ranges:
        for extent, segment in ((each.extent, each.segment) for each in _extents(ledger, source, start, end)):
            if segment.path not in known:
                known[segment.path] = repairs_of(data_dir, segment.path)
            for repaired in known[segment.path]:
                if repaired.position < extent.position + extent.bytes and repaired.end > extent.position:
                    at = repaired.at * 1000
                    yield Happening(Kind.REPAIRED, at, at, extent.start, extent.end, extent.lines, repaired.kept)


def _extents(ledger: Ledger, source: SourceFacts, start: int, end: int) -> Sequence[StoredExtent]:
    return ledger.extents_between(source.id, start, end, limit=_MOST_ROWS)


def _starts(ledger: Ledger, before: StoredLine | None, after: StoredLine | None) -> Iterator[Happening]:
    since = (before.received.first or before.received.last) if before else None
    until = after.received.last if after else None
    if since is None or until is None:
        return
    for start in ledger.starts_between(since, until, limit=_MOST_HAPPENINGS):
        if start.too_short:
            reason = f"{start.too_short} segments hold less than was acked (see `logferry fsck`)"
        elif start.moved_bytes:
            reason = f"{start.moved_bytes:,} bytes that were never acked were moved aside; all acked lines are there"
        else:
            reason = "all acked lines are there"
        yield Happening(Kind.STARTED, start.at, start.at, reason=reason)


class _Historian:
    """Knows the sources of a file, and finds out where lines are from."""

    def __init__(self, ledger: Ledger, stored: DiskLogs, sources: Sequence[SourceFacts]) -> None:
        self._ledger = ledger
        self._stored = stored
        self._sources = sources

    def stored_line(self, line: FoundLine | None) -> StoredLine | None:
        """Return where a line is from."""
        if line is None:
            return None
        text = line.record.message or line.data.decode("utf-8", "replace")
        plain = StoredLine(text, line.time, line.received, line.place.segment, line.place.position)
        row = self._ledger.segment_at(line.place.segment)
        ids = [source.id for source in self._sources]
        found = self._ledger.extent_at(ids, row.id, line.place.position) if row else None
        if not row or not found:
            return plain
        source, extent = found
        before = self._stored.bytes_of(row, extent.position, line.place.position - extent.position)
        number = self._ledger.lines_before(source, extent.start) + before.count(b"\n") + 1
        client = next(each.client for each in self._sources if each.id == source)
        return StoredLine(
            text, line.time, line.received, line.place.segment, line.place.position,
            source, client, extent.start, extent.end, number,
        )  # fmt: skip

    def check(self, ranges: Sequence[Range]) -> Checked:
        """Compare the stored bytes of ranges with the ledger, up to a limit."""
        count = size = left = deleted = 0
        problems: list[str] = []
        for source, start, end in ranges:
            for found in self._ledger.extents_between(source.id, start, end, limit=_MOST_ROWS):
                if found.segment.state == "expired":
                    deleted += 1
                elif size + found.extent.bytes > _MOST_CHECKED_BYTES:
                    left += 1
                else:
                    count, size = count + 1, size + found.extent.bytes
                    if problem := self._problem(found):
                        problems.append(problem)
        unchecked = [f"{left:,} more stored pieces, which are too many to read now (`logferry fsck` does)"] * bool(left)
        unchecked += [f"{deleted:,} stored pieces that retention has deleted"] * bool(deleted)
        return Checked(count, size, problems, unchecked)

    def _problem(self, found: StoredExtent) -> str:
        extent, segment = found.extent, found.segment
        crc, at = 0, extent.position
        end = extent.position + extent.bytes
        while at < end:
            data = self._stored.bytes_of(segment, at, min(_BLOCK_BYTES, end - at))
            if not data:
                return f"{segment.path} lacks bytes {at:,} to {end:,}"
            crc, at = crc32(data, crc), at + len(data)
        if crc != extent.crc32:
            return f"{segment.path} has other content than was stored in its bytes {extent.position:,} to {end:,}"
        return ""
