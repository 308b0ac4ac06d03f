"""Finds the segments that lie in a data folder, whatever their form. Only reads names, and trusts none of them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.server.storage.disk.files.regular import is_folder
from logferry.server.storage.disk.files.segment_forms import segment_form, segment_of_unfinished
from logferry.server.storage.disk.files.segment_names import SegmentName
from logferry.server.storage.records import Compression

# The folders of logs are two or three levels below the root (see LogName).
_DEPTH: Final = 2


@dataclass(slots=True)
class SegmentFiles:
    """The files of a segment: which forms it has, and whether another one is being written."""

    folder: str
    name: SegmentName
    forms: set[Compression] = field(default_factory=set)
    is_unfinished: bool = False

    @property
    def path(self) -> str:
        """The path of the segment below the root."""
        return f"{self.folder}/{self.name}"


def segment_files(root: Path) -> Iterator[tuple[str, SegmentName]]:
    """Yield the folder (see LogName.path) and the name of everything below `root` that has the name of a segment."""
    return ((found.folder, found.name) for found in files_of_segments(root))


def files_of_segments(root: Path) -> Iterator[SegmentFiles]:
    """Yield every segment below `root` that has a file, with its files."""
    for folder in log_folders(root):
        found = files_in(folder, folder.relative_to(root).as_posix())
        yield from (found[name] for name in sorted(found) if found[name].forms)


def files_in(folder: Path, name: str) -> dict[SegmentName, SegmentFiles]:
    """Return the files of the segments in one folder, which has this name below the root."""
    found: dict[SegmentName, SegmentFiles] = {}
    for file_name in os.listdir(folder):
        if form := segment_form(file_name):
            found.setdefault(form[0], SegmentFiles(name, form[0])).forms.add(form[1])
        elif segment := segment_of_unfinished(file_name):
            found.setdefault(segment, SegmentFiles(name, segment)).is_unfinished = True
    return found


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
