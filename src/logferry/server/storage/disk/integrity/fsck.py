"""`logferry fsck`: is the ledger sound, does every segment hold what the ledger records, and what else lies there?

Only reads: the ledger through its own connection, the segments in blocks. So it may run beside a server that is
storing. `source_report.py` answers the same question for one source.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from logferry.errors import DamagedLedger, StoreError, cause_of
from logferry.progress import Tally
from logferry.server.storage.disk.content.stored_segments import StoredSegments
from logferry.server.storage.disk.files.data_lock import holder_of
from logferry.server.storage.disk.files.name_encoding import refuse_other_encoding
from logferry.server.storage.disk.files.regular import size_of
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.server.storage.disk.integrity.data_folder import Finding, other_files
from logferry.server.storage.disk.integrity.judgement import judge_segment
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.ledger import FILE_NAME, Ledger, sort_in
from logferry.server.storage.disk.ledger.database.reading import ledger_for_reading
from logferry.server.storage.disk.recovery.lost_ledger import refuse_if_missing
from logferry.server.storage.records import SegmentRow


def fsck(data_dir: Path, tally: Tally | None = None) -> Iterator[Finding]:
    """Check the ledger, every segment that should be there against it, oldest first, and what else lies there.

    Lines that a running server appends meanwhile are not checked, and segments that it deletes meanwhile are left out.
    `tally` counts the segments that are checked. Raises StoreError if the ledger is missing or of another version,
    OSError if it cannot be read.
    """
    refuse_other_encoding(data_dir)
    refuse_if_missing(data_dir)
    try:
        size = size_of(data_dir / FILE_NAME)
    except FileNotFoundError:
        raise StoreError(f"cannot check {data_dir}: it has no ledger ({FILE_NAME})") from None
    sort_in(data_dir)
    try:
        with ledger_for_reading(data_dir) as ledger:
            problems = ledger.problems() or ledger.wrong_values()
            yield from (_ledger_finding(size, problem) for problem in problems)
            yield from _segments(data_dir, ledger, tally or Tally())
            yield from other_files(data_dir, ledger.has_segment)
    except OSError as error:
        if os.path.basename(str(error.filename)) != FILE_NAME:
            raise
        yield _ledger_finding(size, cause_of(error))  # a damaged page that SQLite's check may not see
    except DamagedLedger as error:
        yield _ledger_finding(size, error.problem)


def _ledger_finding(size: int, problem: str) -> Finding:
    return Finding(FILE_NAME, size, 0, f"is damaged: {problem}; see `logferry fsck --rebuild`", "ledger")


def _segments(data_dir: Path, ledger: Ledger, tally: Tally) -> Iterator[Finding]:
    totals = ledger.totals()
    tally.total_bytes, tally.total_files = sum(each.bytes for each in totals), sum(each.segments for each in totals)
    is_in_use = holder_of(data_dir) is not None
    journals = JournalFiles(data_dir / FOLDER_NAME)
    for row in ledger.segments("open", "closed"):
        with StoredSegments(data_dir / FOLDER_NAME, ledger) as stored:
            problem = judge_segment(stored, row).problem or _problem_with_times(ledger, row)
        compared = _journal_compared(journals, row, ledger, is_in_use=is_in_use)
        tally.end(row.bytes)
        now = ledger.segment(row.id) if problem or any(compared) else row
        if now and now.state != "expired":
            yield Finding(row.path, row.bytes, row.lines, problem or compared.problem, note=compared.note)


def _problem_with_times(ledger: Ledger, row: SegmentRow) -> str:
    """Return what is wrong with the time index of a segment, which a server may lengthen meanwhile."""
    try:
        end = ledger.end_of_times(row.id)
    except ValueError as error:
        return f"its time index is damaged ({error}): `logferry logs` reads all of it, whatever times it looks for"
    now = ledger.segment(row.id) if end > row.bytes else row
    return f"its time index ends at byte {end}, beyond its lines" if now and end > now.bytes else ""


class _Compared(NamedTuple):
    problem: str = ""
    note: str = ""


def _journal_compared(journals: JournalFiles, row: SegmentRow, ledger: Ledger, *, is_in_use: bool) -> _Compared:
    """Compare a segment's journal with the ledger. It is written after the ledger, and by a server perhaps later."""
    with contextlib.suppress(OSError):
        total = journals.total(row.path)
        if total and total.bytes > row.bytes and (now := ledger.segment(row.id)) and total.bytes > now.bytes:
            lines = total.lines - now.lines
            again = "the next start enters them again from the journal"
            return _Compared(f"has {lines} lines that the ledger has lost; {again}")
        if not is_in_use and row.bytes and total != (row.bytes, row.lines, row.crc32):
            lacks = "disagrees with the ledger" if total else "is missing or cannot be read"
            return _Compared(note=f"ok; its journal {lacks}, and the next start completes it")
    return _Compared()
