"""`logferry fsck`: does every segment still hold what the ledger records?

Only reads: the ledger through its own connection, the segments in blocks. So it may run beside a server that is
storing. `source_report.py` answers the same question for one source.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from logferry.errors import StoreError, cause_of
from logferry.server.storage.disk.ledger import FILE_NAME, Ledger
from logferry.server.storage.disk.measure import measure
from logferry.server.storage.disk.regular import size_of
from logferry.server.storage.disk.segment_names import FOLDER_NAME
from logferry.server.storage.records import SegmentRow


@dataclass(frozen=True, slots=True)
class Finding:
    """A segment and what is wrong with it; `problem` is empty if the segment is sound."""

    path: str
    bytes: int
    lines: int
    problem: str


def fsck(data_dir: Path) -> Iterator[Finding]:
    """Check every segment that should be there against its length, line count and checksum, oldest first.

    Lines that a running server appends meanwhile are not checked, and segments that it deletes meanwhile are left out.
    Raises StoreError if the ledger is missing, OSError if it cannot be read.
    """
    if not (data_dir / FILE_NAME).exists():
        raise StoreError(f"cannot check {data_dir}: it has no ledger ({FILE_NAME})")
    ledger = Ledger(data_dir, durable=False, read_only=True)
    try:
        for row in ledger.segments("open", "closed"):
            problem = segment_problem(data_dir, row)
            now = ledger.segment(row.id) if problem else row
            if now and now.state != "expired":
                yield Finding(row.path, row.bytes, row.lines, problem)
    finally:
        ledger.close()


def segment_problem(data_dir: Path, row: SegmentRow, *, on_block: Callable[[int], None] | None = None) -> str:
    """Return what is wrong with a segment, or "". `on_block` is called as `measure` does."""
    path = data_dir / FOLDER_NAME / row.path
    try:
        found = measure(path, 0, row.bytes, on_block=on_block)
        size = size_of(path)
    except FileNotFoundError:
        return "is missing" if row.bytes else ""  # recorded, but nothing was ever stored in it
    except OSError as error:
        return f"cannot be read: {cause_of(error)}"
    if found.bytes < row.bytes:
        return f"lacks {row.bytes - found.bytes} of its {row.bytes} bytes"
    if found.lines != row.lines:
        return f"has {found.lines} lines, not {row.lines}"
    if found.crc32 != row.crc32:
        return "has other content than was stored (checksum)"
    if row.state == "closed" and size > row.bytes:
        return f"has {size - row.bytes} bytes more than were stored"
    return ""
