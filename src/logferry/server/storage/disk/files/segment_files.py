"""Finds the segments that lie in a data folder, and whole lines in them. Only reads, and trusts no name."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.files.regular import is_folder, open_file
from logferry.server.storage.disk.files.segment_names import SegmentName, segment_name

_BLOCK: Final = 64 * 1024

# The folders of logs are two or three levels below the root (see LogName).
_DEPTH: Final = 2


def segment_files(root: Path) -> Iterator[tuple[str, SegmentName]]:
    """Yield the folder (see LogName.path) and the name of everything below `root` that has the name of a segment."""
    for folder in log_folders(root):
        names = (segment_name(name) for name in os.listdir(folder))
        for name in sorted(name for name in names if name):
            yield folder.relative_to(root).as_posix(), name


def log_folders(root: Path) -> list[Path]:
    """Return the folders in which segments may lie: those of logs, in the common tree and in those of identities."""
    found = _folders_in(root) if is_folder(root) else []
    folders: list[Path] = []
    for _ in range(_DEPTH):
        found = [path for folder in found for path in _folders_in(folder)]
        folders += found
    return sorted(folders)


def _folders_in(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:  # which tells files apart without asking the disk about each
        return [
            Path(entry.path)
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and is_folder(entry.path))
        ]


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
