"""Reads all that is stored of one file, and compares it with the checksums in the ledger, as `fsck` does with all.

A function of a data folder, so that it runs in a process of its own (isolated.py): checksums keep a processor busy.
Only reads; holds the ledger open for one segment at a time. What it finds is shown; it is scrub that records damage.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from logferry.console.source import FileCheck, Stop
from logferry.reading.disk.ledger import LedgerDoor
from logferry.reading.disk.listing import listing_of, segments_of
from logferry.server.storage.disk.content.stored_segments import StoredSegments
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.server.storage.disk.integrity.judgement import judge_extent, judge_segment
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import ExtentRow, SegmentRow

_MOST_PROBLEMS: Final = 20
_ROWS: Final = 500


def check_file(data_dir: Path, host: str, path: str, stop: Stop) -> Iterator[FileCheck]:
    """See `Source.check`."""
    with closing(LedgerDoor(data_dir)) as door:
        with door.opened() as ledger:
            listed = [
                each for each in listing_of(ledger).logs.values() if (each.log.host, each.log.path) == (host, path)
            ]
            rows = list({row.id: row for each in listed for row in segments_of(ledger, each)}.values())
            missing, repeated = ledger.unaccounted().get((host, path), (0, 0))
        found = FileCheck(
            host, path, of_bytes=sum(row.bytes for row in rows), missing_bytes=missing, repeated_bytes=repeated
        )
        for row in rows:
            with door.opened() as ledger, StoredSegments(data_dir / FOLDER_NAME, ledger) as stored:
                found = _checked(found, ledger, stored, row, stop)
            yield found


def _checked(found: FileCheck, ledger: Ledger, stored: StoredSegments, row: SegmentRow, stop: Stop) -> FileCheck:
    """Return what is found out with one segment more; one that retention deletes meanwhile does not count."""

    def note(size: int) -> None:
        stop.bytes_read += size
        stop.check()

    stop.check()
    judged = judge_segment(stored, row, on_block=note)
    now = ledger.segment(row.id) if judged.problem else row
    if now is None or now.state == "expired":
        return replace(found, of_bytes=found.of_bytes - row.bytes)
    found = replace(found, bytes=found.bytes + row.bytes, lines=found.lines + row.lines, segments=found.segments + 1)
    if not judged.problem:
        return found
    altered = list(_altered(ledger, stored, row, stop))
    return replace(
        found,
        altered_pieces=found.altered_pieces + max(len(altered), 1),
        altered_bytes=found.altered_bytes + sum(extent.bytes for extent in altered),
        altered_lines=found.altered_lines + sum(extent.lines for extent in altered),
        problems=(*found.problems, f"{row.path} {judged.problem}")[:_MOST_PROBLEMS],
    )


def _altered(ledger: Ledger, stored: StoredSegments, row: SegmentRow, stop: Stop) -> Iterator[ExtentRow]:
    """Yield the pieces of a segment that are not what was stored."""
    after = ("", -1)
    while page := ledger.extents_in(row.id, after=after, limit=_ROWS):
        for _, extent in page:
            stop.check()
            if judge_extent(stored, row, extent).problem:
                yield extent
        after = (page[-1][0], page[-1][1].start)
