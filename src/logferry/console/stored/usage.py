"""What a store takes on its disk: by host and day, compressed and not; what goes next, and when the disk is full.

Owns the rate: what came in the last seven days, or since the store began, by the days in the names of segments.
"""

import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from logferry.console.source import Storage, Usage
from logferry.reading.disk.ledger import LedgerDoor
from logferry.server.storage.disk.retention.kept_segments import day_of
from logferry.server.storage.records import SegmentRow

_DAY_S: Final = 86_400
_DAYS: Final = 7
_LEAST_S: Final = 600.0  # a shorter time says nothing about a day
_NEXT: Final = 10


def storage_of(data_dir: Path, *, now: float | None = None) -> Storage:
    """Return what a store takes. Raises OSError and StoreError."""
    moment = time.time() if now is None else now
    door = LedgerDoor(data_dir)
    with door.opened() as ledger, ledger.reading():
        rows = ledger.segments("open", "closed")
        logs = {row.id: row.host for row in ledger.logs()} if ledger.has_logs else {}
        began = ledger.first_opened_at()
    usage: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        sums = usage[logs.get(row.log or 0) or row.path.split("/")[-3], day_of(row)]
        for number, value in enumerate((row.bytes, on_disk(row), row.lines)):
            sums[number] += value
    space = os.statvfs(data_dir)
    free = space.f_bavail * space.f_frsize
    rate = _rate(rows, began, moment)
    return Storage(
        [Usage(host, day, *sums) for (host, day), sums in sorted(usage.items())],
        len(rows),
        sum(bool(row.compression) for row in rows),
        sum(row.bytes for row in rows),
        sum(map(on_disk, rows)),
        free + (space.f_blocks - space.f_bfree) * space.f_frsize,
        free,
        rate,
        round((moment + free / rate * _DAY_S) * 1000) if rate > free / 36_500 else None,
        [_next(row) for row in rows if row.state == "closed"][:_NEXT],
    )


def on_disk(row: SegmentRow) -> int:
    """Return how many bytes the file of a segment has."""
    return row.stored_bytes if row.compression else row.bytes


def _rate(rows: list[SegmentRow], began: float | None, now: float) -> float:
    """Return the bytes on the disk of an average day."""
    since = max(began or now, now - _DAYS * _DAY_S)
    if now - since < _LEAST_S:
        return 0.0
    first = time.strftime("%Y-%m-%d", time.gmtime(since))
    return sum(on_disk(row) for row in rows if day_of(row) >= first) / ((now - since) / _DAY_S)


def _next(row: SegmentRow) -> dict[str, Any]:
    return {
        "segment": row.path,
        "day": day_of(row),
        "bytes": row.bytes,
        "stored_bytes": on_disk(row),
        "lines": row.lines,
    }
