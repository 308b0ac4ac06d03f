"""Finds the segments that lie in a data folder, and whole lines in them. Only reads, and trusts no name."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.regular import open_file
from logferry.server.storage.disk.segment_names import SegmentName, segment_name

_BLOCK: Final = 64 * 1024


def segment_files(root: Path) -> Iterator[tuple[str, SegmentName]]:
    """Yield the folder (see LogName.path) and the name of everything below `root` that has the name of a segment."""
    for folder in log_folders(root):
        names = (segment_name(name) for name in os.listdir(folder))
        for name in sorted(name for name in names if name):
            yield folder.relative_to(root).as_posix(), name


def log_folders(root: Path) -> list[Path]:
    """Return the folders in which segments may lie: those of logs, in the common tree and in those of identities."""
    return sorted((*root.glob("*/*/"), *root.glob("*/*/*/")))


def has_segments(root: Path) -> bool:
    """Whether anything below `root` has the name of a segment."""
    return next(segment_files(root), None) is not None


def unfinished_bytes(path: Path) -> int:
    """Return how many bytes follow the last newline of a file. Raises OSError."""
    with open(open_file(path), "rb") as file:
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
