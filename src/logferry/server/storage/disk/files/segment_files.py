"""Finds the segments that lie in a data folder, whatever their form. Only reads names, and trusts none of them."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from logferry.server.storage.disk.files.held_folder import identity_of
from logferry.server.storage.disk.files.regular import is_folder
from logferry.server.storage.disk.files.segment_forms import segment_form, segment_of_unfinished
from logferry.server.storage.disk.files.segment_names import MAX_DEPTH, SegmentName, is_log_folder
from logferry.server.storage.records import Compression


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
    """Yield the folder, and the name, of everything below `root` that has the name of a segment."""
    return ((found.folder, found.name) for found in files_of_segments(root))


def files_of_segments(root: Path) -> Iterator[SegmentFiles]:
    """Yield every segment below `root` that has a file, with its files."""
    for folder, names in log_folders(root):
        found = files_in(names, folder)
        yield from (found[name] for name in sorted(found) if found[name].forms)


def files_in(names: Iterable[str], folder: str) -> dict[SegmentName, SegmentFiles]:
    """Return the files of the segments in one folder, which has these names."""
    found: dict[SegmentName, SegmentFiles] = {}
    for file_name in names:
        if form := segment_form(file_name):
            found.setdefault(form[0], SegmentFiles(folder, form[0])).forms.add(form[1])
        elif segment := segment_of_unfinished(file_name):
            found.setdefault(segment, SegmentFiles(folder, segment)).is_unfinished = True
    return found


def log_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder in which segments may lie, as a path below `root`, and the names in it.

    Follows links to folders, each of them once, and leaves out what is gone meanwhile, what lies deeper than a store
    makes folders, and folders with a name that no store gives.
    """
    links = FollowedLinks(root)
    waiting = [""] if is_folder(root) else []
    while waiting:
        folder = waiting.pop()
        names, below = _content(f"{root}/{folder}", links)
        if is_log_folder(folder):
            yield folder, names
        if folder.count("/") < MAX_DEPTH - 1:
            waiting += sorted((f"{folder}/{name}".lstrip("/") for name in below), reverse=True)


class FollowedLinks:
    """Which links to folders a walk has followed: links may lead round in circles."""

    def __init__(self, root: Path) -> None:
        self._seen = {identity_of(os.stat(root))} if is_folder(root) else set()

    def lead_on(self, entry: "os.DirEntry[str]") -> bool:
        """Whether something is a folder, or a link to one that may be followed, for the first time."""
        if entry.is_dir(follow_symlinks=False):
            return True
        if not entry.is_symlink() or not is_folder(entry.path):
            return False
        place = identity_of(os.stat(entry.path))
        is_new = place not in self._seen
        self._seen.add(place)
        return is_new


def _content(folder: str, links: FollowedLinks) -> tuple[list[str], list[str]]:
    """Return the names in a folder, and those of the folders in which logs may be."""
    names: list[str] = []
    below: list[str] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:  # which tells files apart without asking the disk about each
            names.append(entry.name)
            if not entry.name.startswith(".") and not segment_form(entry.name) and links.lead_on(entry):
                below.append(entry.name)
    return names, below


def has_segments(root: Path) -> bool:
    """Whether anything below `root` has the name of a segment."""
    return next(segment_files(root), None) is not None
