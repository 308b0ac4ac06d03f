"""What a store does before it takes anything: make data and ledger agree again, whatever the last crash left."""

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from logferry.server.storage.audit import measure
from logferry.server.storage.deferred_sync import restore
from logferry.server.storage.file_ops import Files, naming
from logferry.server.storage.ledger import Ledger, SegmentRow
from logferry.server.storage.segments import restore_length
from logferry.server.storage.stream_names import SegmentName, segment_name

logger = logging.getLogger(__name__)

_BLOCK: Final = 64 * 1024


def recover(root: Path, ledger: Ledger, files: Files) -> int:
    """Make the segments under `root` what the ledger says; return how many bytes were cut off. Raises OSError.

    1. The segments of a version that had no ledger are entered into it.
    2. What the ledger keeps of segments that were not synced yet is written there.
    3. Every open segment is cut back to its length; one that is too short is closed. One of each folder stays open.
    4. What retention had given up, but not yet deleted, is deleted.
    Files that the ledger does not know are left alone.
    """
    cut = _adopt(root, ledger, files) if ledger.is_empty else 0
    restore(root, ledger, files)
    rows = ledger.segments()
    cut += _restore_lengths(root, ledger, files, [row for row in rows if row.state == "open"])
    for row in rows:
        if row.state == "expired":
            with naming(root / row.path):
                files.delete(root / row.path)
    _warn_of_strangers(root, {row.path for row in rows})
    return cut


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


def _adopt(root: Path, ledger: Ledger, files: Files) -> int:
    """Enter the segments of an earlier version, which cut an unfinished line off the last one of each folder."""
    found = list(_segment_files(root))
    if not found:
        return 0
    cut = 0
    with ledger.transaction():
        for number, (folder, name) in enumerate(found):
            is_last = number + 1 == len(found) or found[number + 1][0] != folder
            path = root / folder / str(name)
            if is_last:
                cut += _cut_unfinished_line(path, files)
            content = measure(path, 0, path.stat().st_size)
            row = ledger.add_segment(f"{folder}/{name}")
            state = "open" if is_last else "closed"
            ledger.set_segment(SegmentRow(row.id, row.path, content.bytes, content.lines, content.crc32, state))
    logger.info("entered %d segments of an earlier version into the ledger", len(found))
    return cut


def _cut_unfinished_line(path: Path, files: Files) -> int:
    unfinished = unfinished_bytes(path)
    if unfinished:
        files.truncate(path, path.stat().st_size - unfinished)
        logger.warning("cut %d bytes of an unfinished, never acknowledged line off %s", unfinished, path)
    return unfinished


def _restore_lengths(root: Path, ledger: Ledger, files: Files, rows: list[SegmentRow]) -> int:
    cut = 0
    last_of_folder = {os.path.dirname(row.path): row.id for row in rows}  # they come oldest first
    to_close: list[SegmentRow] = []
    for row in rows:
        surplus = restore_length(root / row.path, row, files)
        cut += surplus or 0
        if surplus is None or last_of_folder[os.path.dirname(row.path)] != row.id:
            to_close.append(replace(row, state="closed"))
    if to_close:
        with ledger.transaction():
            ledger.set_segments(to_close)
    return cut


def _segment_files(root: Path) -> Iterator[tuple[str, SegmentName]]:
    """Return every segment under `root`: its folder, "<host>/<name>", and its name; each folder's in their order."""
    for folder in sorted(root.glob("*/*/")):
        names = (segment_name(name) for name in os.listdir(folder))
        for name in sorted(name for name in names if name):
            yield folder.relative_to(root).as_posix(), name


def _warn_of_strangers(root: Path, known: set[str]) -> None:
    strangers = [f"{folder}/{name}" for folder, name in _segment_files(root) if f"{folder}/{name}" not in known]
    if strangers:
        logger.warning("%d segments are not in the ledger and left alone: %s ...", len(strangers), strangers[0])
