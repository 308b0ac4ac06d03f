"""Recovery: makes segments and ledger agree when a store is opened, whatever the last crash left.

1. Segments from a version that had no ledger are recorded in the ledger (adopted).
2. Bytes that the ledger keeps because their segment was not synced yet are rewritten there (deferred_sync.py).
3. Every open segment gets its length in the ledger; what it holds beyond that is moved aside (surplus.py). One that is
   too short is damaged: it is closed and left as it is. One segment of each folder stays open.
4. Files of expired segments that were not deleted yet are deleted.

Recovery never deletes bytes because the ledger lacks them, and never touches files that the ledger does not have. It
counts what it did.
After a crash during recovery, the next start finishes the work.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.deferred_sync import recover_deferred
from logferry.server.storage.disk.file_system import FileSystem
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.measure import measure
from logferry.server.storage.disk.open_segments import new_damage_log, restore_length
from logferry.server.storage.disk.segment_names import SegmentName, segment_name
from logferry.server.storage.disk.surplus import delete_segment
from logferry.server.storage.records import SegmentRow, SegmentState
from logferry.server.storage.store import RecoveryReport

logger = logging.getLogger(__name__)

_BLOCK: Final = 64 * 1024


def recover(root: Path, ledger: Ledger, files: FileSystem) -> RecoveryReport:
    """Make the segments under `root` agree with the ledger; return what was done. Raises OSError."""
    report = _adopt(root, ledger, files) if ledger.is_empty else RecoveryReport()
    report = replace(report, segments_rewritten=recover_deferred(root, ledger, files))
    rows = ledger.segments()
    report = _restore_lengths(root, ledger, files, [row for row in rows if row.state == "open"], report)
    return replace(
        report,
        segments=sum(row.state != "expired" for row in rows),
        segments_deleted=_delete_expired(root, files, [row for row in rows if row.state == "expired"]),
        segments_unknown=_warn_of_unknown(root, {row.path for row in rows}),
    )


def unfinished_bytes(path: Path) -> int:
    """Return how many bytes follow the last newline of a file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        position = size
        while position > 0:
            start = max(0, position - _BLOCK)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                return size - (start + newline + 1)
            position = start
    return size


def _adopt(root: Path, ledger: Ledger, files: FileSystem) -> RecoveryReport:
    """Record the segments of an earlier version; as it did, cut an unfinished line off the last one of a folder."""
    found = list(_segment_files(root))
    if not found:
        return RecoveryReport()
    cuts: list[int] = []
    with ledger.transaction():
        for number, (folder, name) in enumerate(found):
            is_last = number + 1 == len(found) or found[number + 1][0] != folder
            path = root / folder / str(name)
            if is_last:
                cuts.append(_cut_unfinished_line(path, files))
            content = measure(path, 0, path.stat().st_size)
            row = ledger.add_segment(f"{folder}/{name}")
            state: SegmentState = "open" if is_last else "closed"
            ledger.set_segment(SegmentRow(row.id, row.path, content.bytes, content.lines, content.crc32, state))
    logger.info("entered %d segments of an earlier version into the ledger", len(found))
    return RecoveryReport(bytes_moved=sum(cuts), segments_moved=sum(map(bool, cuts)), segments_adopted=len(found))


def _cut_unfinished_line(path: Path, files: FileSystem) -> int:
    unfinished = unfinished_bytes(path)
    if unfinished:
        files.truncate(path, path.stat().st_size - unfinished)
        logger.warning("cut %d bytes of an unfinished, never acknowledged line off %s", unfinished, path)
    return unfinished


def _restore_lengths(
    root: Path, ledger: Ledger, files: FileSystem, rows: Sequence[SegmentRow], report: RecoveryReport
) -> RecoveryReport:
    last_of_folder = {os.path.dirname(row.path): row.id for row in rows}  # rows come oldest first
    log = new_damage_log()
    restored = {row.id: restore_length(root / row.path, row, files, log=log) for row in rows}
    log.flush()
    to_close = [
        replace(row, state="closed")
        for row in rows
        if not restored[row.id].can_grow or last_of_folder[os.path.dirname(row.path)] != row.id
    ]
    if to_close:
        with ledger.transaction():
            ledger.set_segments(to_close)
    moved = [outcome.surplus for outcome in restored.values() if outcome.surplus]
    return replace(
        report,
        bytes_moved=report.bytes_moved + sum(moved),
        segments_moved=report.segments_moved + len(moved),
        segments_too_short=sum(outcome.is_too_short for outcome in restored.values()),
    )


def _delete_expired(root: Path, files: FileSystem, rows: Sequence[SegmentRow]) -> int:
    """Delete the remaining files of expired segments; return how many there were."""
    paths = [root / row.path for row in rows]
    remaining = [path for path in paths if path.exists()]
    for path in remaining:
        delete_segment(path, files)
    return len(remaining)


def _segment_files(root: Path) -> Iterator[tuple[str, SegmentName]]:
    """Yield the folder ("<host>/<name>") and the name of every segment under `root`, in order."""
    for folder in sorted(root.glob("*/*/")):
        names = (segment_name(name) for name in os.listdir(folder))
        for name in sorted(name for name in names if name):
            yield folder.relative_to(root).as_posix(), name


def _warn_of_unknown(root: Path, known: set[str]) -> int:
    unknown = [f"{folder}/{name}" for folder, name in _segment_files(root) if f"{folder}/{name}" not in known]
    if unknown:
        logger.warning("%d segments are not in the ledger and left alone: %s ...", len(unknown), unknown[0])
    return len(unknown)
