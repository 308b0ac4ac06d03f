"""Does the disk still hold what the ledger says? For one source (`report`), or for every segment (`fsck`).

Both only read: the ledger through a connection of their own, the segments in blocks, so they may run beside a server.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry import checksum
from logferry.errors import StoreError
from logferry.protocol.delivery import REPORT_PAGE, Extent, RecordedLoss, ReportPage
from logferry.server.storage.ledger import FILE_NAME, ExtentRow, Ledger, SegmentRow
from logferry.server.storage.segments import FOLDER_NAME

_BLOCK_BYTES: Final = 1024 * 1024

# What one page reads, and at most one extent more: a second of work for a disk, then others have their turn.
_PAGE_BYTES: Final = 256 * 1024 * 1024

# More than this of one source are told as "and more"; `bytes_lost` of a client that loses so often says enough.
_MOST_LOSSES: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One segment and what is wrong with it; `problem` is empty when nothing is."""

    path: str
    bytes: int
    lines: int
    problem: str


def report(data_dir: Path, source_id: str, *, after: int) -> ReportPage:
    """Compare what the ledger says of a source with the disk, from its offset `after` on.

    Raises StoreError or OSError when the ledger cannot be read.
    """
    ledger = Ledger(data_dir, durable=False, read_only=True)
    try:
        source = ledger.source(source_id)
        if source is None:
            return ReportPage(source_id, False, 0, 0, 0, (), (), False)
        rows = ledger.extents(source_id, after=after, limit=REPORT_PAGE + 1)
        losses = ledger.losses(source_id, limit=_MOST_LOSSES)
        page = _first_page(rows)
        extents = tuple(_check_extent(data_dir, ledger, row) for row in page)
    finally:
        ledger.close()
    return ReportPage(
        source=source_id,
        is_known=True,
        committed=source.committed,
        lines=source.lines,
        crc32=source.crc32,
        extents=extents,
        losses=tuple(RecordedLoss(loss.start, loss.end, loss.reason) for loss in losses),
        has_more=len(rows) > len(page),
    )


def _first_page(rows: Sequence[ExtentRow]) -> Sequence[ExtentRow]:
    total = 0
    for number, row in enumerate(rows[:REPORT_PAGE]):
        if total > _PAGE_BYTES:
            return rows[:number]
        total += row.bytes
    return rows[:REPORT_PAGE]


def fsck(data_dir: Path) -> Iterator[Finding]:
    """Check every segment that should be there against its length, line count and checksum, oldest first.

    A server may be running: what it appends meanwhile is not looked at, what it deletes meanwhile is left out.
    Raises StoreError when there is no ledger, OSError when it cannot be read.
    """
    if not (data_dir / FILE_NAME).exists():
        raise StoreError(f"cannot check {data_dir}: it has no ledger ({FILE_NAME})")
    ledger = Ledger(data_dir, durable=False, read_only=True)
    try:
        for row in ledger.segments("open", "closed"):
            problem = _segment_problem(data_dir, row)
            now = ledger.segment(row.id) if problem else row
            if now and now.state != "expired":
                yield Finding(row.path, row.bytes, row.lines, problem)
    finally:
        ledger.close()


def _segment_problem(data_dir: Path, row: SegmentRow) -> str:
    path = data_dir / FOLDER_NAME / row.path
    try:
        found = measure(path, 0, row.bytes)
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing" if row.bytes else ""  # entered, and then nothing was ever stored in it
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if found.bytes < row.bytes:
        return f"lacks {row.bytes - found.bytes} of its {row.bytes} bytes"
    if found.lines != row.lines:
        return f"has {found.lines} lines, not {row.lines}"
    if found.crc32 != row.crc32:
        return "has other content than was stored (checksum)"
    if row.state == "closed" and size > row.bytes:
        return f"has {size - row.bytes} bytes more than were stored"
    return ""


def _check_extent(data_dir: Path, ledger: Ledger, row: ExtentRow) -> Extent:
    segment = ledger.segment(row.segment)
    state = _extent_state(data_dir, segment, row)
    if state == "missing":  # or deleted by retention just now
        state = _extent_state(data_dir, ledger.segment(row.segment), row)
    return Extent(row.start, row.end, row.lines, row.crc32, state, segment.path if segment else "?")


def _extent_state(data_dir: Path, segment: SegmentRow | None, row: ExtentRow) -> str:
    if segment is None:
        return "missing"
    if segment.state == "expired":
        return "expired"
    try:
        found = measure(data_dir / FOLDER_NAME / segment.path, row.position, row.bytes)
    except OSError:
        return "missing"
    return "ok" if (found.bytes, found.lines, found.crc32) == (row.bytes, row.lines, row.crc32) else "altered"


@dataclass(slots=True)
class Measure:
    """What a range of a file holds."""

    bytes: int = 0
    lines: int = 0
    crc32: int = 0


def measure(path: Path, position: int, size: int) -> Measure:
    """Count a range of a file; fewer bytes are found when the file is too short. Raises OSError."""
    found = Measure()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while found.bytes < size:
            block = os.pread(descriptor, min(_BLOCK_BYTES, size - found.bytes), position + found.bytes)
            if not block:
                break
            found.bytes += len(block)
            found.lines += block.count(b"\n")
            found.crc32 = checksum.crc32(block, found.crc32)
    finally:
        os.close(descriptor)
    return found
