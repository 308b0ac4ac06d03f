"""Finds rotated files: files that had a followed name before and have another name now.

Owns the search beside a path, and beside what it leads to through symbolic links: for files that a checkpoint
describes, and for files that have rotated names and were written to since a given time. Recognises copies and archives
of files that were already followed by their content, and leaves them out. Must never open a file for reading on, and
never change a checkpoint: the follow reader does both.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Container, Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

from logferry.client.files.archives.archive import open_content
from logferry.client.files.identity import FileIdentity, fingerprint, identity_of
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.compressed import is_compressed
from logferry.client.finding.links import led_to_between, places_of
from logferry.client.finding.listing import FolderListings, Listing
from logferry.client.finding.rotation_names import (
    is_archive_name,
    rotation_number,
    shorter_names,
    without_archive_suffix,
)
from logferry.client.recognition.recognise import Recogniser, is_copy, modified_ns_if_same
from logferry.client.state.checkpoint import Checkpoint
from logferry.errors import SourceError

# The kernel stamps a file with the time of its last tick (at least 100 a second), so the stamp may lag by this much.
_TICK_NS: Final = 10_000_000

_SECOND_NS: Final = 1_000_000_000

# A folder is listed at most this many times in a row when files in it are renamed at the same time.
MAX_LISTINGS: Final = 10

# ... and this many times where a pass over the files is so quick that a rename during each one is out of the question.
_MAX_PASSES: Final = 100


class RotatedFile(NamedTuple):
    """A file that had a followed name before, with its current path; under that name, its real path was `place`."""

    modified_ns: int
    path: Path
    identity: FileIdentity
    place: Path

    @property
    def age(self) -> tuple[int, int, Path]:
        """Return a sort key that is less for older files: by the last write, then by the rotated name."""
        return self.modified_ns, -rotation_number(without_archive_suffix(self.path.name)), self.path


class RotatedFiles:
    """Finds the files that had a name before. Used by the reading thread only."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._checkpoints = recogniser.checkpoints
        self._folders = recogniser.folders

    def since_last_run(self, path: Path) -> list[RotatedFile]:
        """Return the files that had the name `path` before this run and may not be finished, oldest first.

        These are the files that a checkpoint describes, under whatever name in the folder, and files that have rotated
        names, were written to after those files or after their checkpoints, and hold something else.
        """
        unfinished = [known for known in self._checkpoints.of_path(str(path)) if not known.is_finished]
        if not unfinished:
            return []
        latest = max(unfinished, key=attrgetter("seen_at"))
        present = os.path.realpath(path) if latest.place else str(path)
        between = self.led_to_between(latest.place or present, present)
        places = _distinct([*places_of(str(path)), *(place for known in unfinished for place in known.places)])
        holder = _identity_at(path)
        known: dict[FileIdentity, RotatedFile] = {}
        current: FileIdentity | None = None  # the file that has the name, if a checkpoint describes it
        missing: list[Checkpoint] = []
        seen_at: list[float] = []  # of the others
        listings: dict[str, Listing] = {}
        for checkpoint in unfinished:
            found = self._find(checkpoint, places, listings)
            if found is not None and found.identity == holder:
                current = holder
                continue
            seen_at.append(checkpoint.seen_at)
            if found is not None:
                known[found.identity] = found
            else:
                missing.append(checkpoint)
        if not seen_at:
            return []
        known |= self._copies_of(missing, places, known)
        files = sorted(known.values(), key=attrgetter("age"))
        last_seen_ns = int(max(seen_at) * 1e9) - _TICK_NS
        last_written_ns = files[-1].modified_ns if files else last_seen_ns
        new = self.since(
            places,
            min(last_seen_ns, last_written_ns),  # a file may be written to late, after others have had its name
            {*known, current},
            present=present,
            certain_ns=None if current else last_written_ns,  # a known current file means that nothing was rotated
            between=between,
        )
        return files + new

    def _find(self, checkpoint: Checkpoint, places: Iterable[Path], listings: dict[str, Listing]) -> RotatedFile | None:
        """Return the file of a checkpoint, whatever its name in the folder of one of these paths.

        The names come from `listings`, which this fills: where files are renamed all the time, every look at a folder
        lists it again, and there may be hundreds of checkpoints. A name that is another file's by now is looked up
        again.
        """
        tried: set[Path] = set()
        for place in (*map(Path, checkpoint.places), *places):
            if place.parent in tried:
                continue
            tried.add(place.parent)
            folder = str(place.parent)
            for is_again in (False, True):
                if is_again or folder not in listings:
                    listings[folder] = self._folders.listing(folder)
                name = listings[folder].by_inode.get(checkpoint.inode)
                if name is None:
                    break
                modified_ns = modified_ns_if_same(place.parent / name, checkpoint)
                if modified_ns is not None:
                    return RotatedFile(modified_ns, place.parent / name, checkpoint.identity, place)
        return None

    def led_to_between(self, former: str, present: str) -> list[Path]:
        """Return the files that a link may have led to after `former` and before `present`."""
        return list(map(Path, led_to_between(former, present, self._folders)))

    def since(
        self,
        places: Sequence[Path],
        since_ns: int,
        exclude: Container[FileIdentity | None],
        *,
        present: str,
        certain_ns: int | None = None,
        live: Container[str] = (),
        between: Iterable[Path] = (),
    ) -> list[RotatedFile]:
        """Return the files that had one of the names `places` since `since_ns`, and those of `between`, oldest first.

        The file that is at the path `present` has the name now, whatever it looks like.

        Copies and archives of known files are left out, except that a file that is not an archive and was written to at
        `certain_ns` or later had the name whatever it holds: two files may be alike. Sources in `live` never continue
        in another file. Raises OSError when files are renamed during every search.
        """
        switched = [found for path in between if (found := _if_written_since(path, since_ns, exclude)) is not None]
        files = {file.identity: file for file in switched}
        for place in (*places, *(file.path for file in switched)):
            for file in named_like_rotated_since(place, since_ns, exclude, self._folders):
                files.setdefault(file.identity, file)
        return [
            file
            for file in sorted(files.values(), key=attrgetter("age"))
            if str(file.path) != present
            and (
                (certain_ns is not None and file.modified_ns >= certain_ns and not is_archive_name(file.path.name))
                or not self._is_known(file, live)
            )
        ]

    def _is_known(self, rotated: RotatedFile, live: Container[str]) -> bool:
        """Whether a file is a copy or an archive of a followed file, and no source continues in it."""
        try:
            file = SourceFile(rotated.path, max_line_bytes=1, content=open_content(rotated.path))
        except (OSError, SourceError):
            return False  # the reader that opens the file reports why it cannot be read
        with contextlib.closing(file):
            if file.identity != rotated.identity:
                return False  # the reader that opens the file notices this too, and searches again
            originals = self._recogniser.checkpoints_of_originals(file)
            try:
                is_known = any(is_copy(file, known) for known in originals)
                return is_known and not self._recogniser.continued_in(file, live)
            except OSError:
                return False

    def _copies_of(
        self, missing: list[Checkpoint], places: Iterable[Path], known: Container[FileIdentity]
    ) -> dict[FileIdentity, RotatedFile]:
        """Return the copies and archives in which the sources of `missing` checkpoints continue.

        The content decides, not the time: a copy may be older than the checkpoint, which may have been saved after the
        truncation but before the client noticed it.
        """
        by_head: dict[tuple[int, str], list[Checkpoint]] = {}  # few lengths, and every head is of few checkpoints
        for checkpoint in missing:
            by_head.setdefault((checkpoint.head_bytes, checkpoint.head), []).append(checkpoint)
        sizes = {size for size, _ in by_head}
        found: dict[str, tuple[int, bool, Path, FileIdentity, Path]] = {}
        for place, file in self._opened_once(places, known) if missing else ():
            entry = file.path
            with contextlib.suppress(OSError):  # it cannot be read now; `since` finds it, and its reader reports it
                candidate = (file.modified_ns(), not is_archive_name(entry.name), entry, file.identity, place)
                heads = [(size, fingerprint(file.peek(0, size))) for size in sizes]
                for checkpoint in (known for head in heads for known in by_head.get(head, ())):
                    if self._recogniser.is_continued_in(file, checkpoint):
                        found[checkpoint.id] = max(candidate, found.get(checkpoint.id, candidate))
        return {
            identity: RotatedFile(modified_ns, entry, identity, place)
            for modified_ns, _, entry, identity, place in found.values()
        }

    def _opened_once(self, places: Iterable[Path], known: Container[FileIdentity]) -> Iterator[tuple[Path, SourceFile]]:
        """Open each file with a rotated name of one of these paths that is not in `known`, for the length of a step."""
        tried: set[FileIdentity] = set()
        for place in places:
            with contextlib.suppress(OSError):  # files renamed all the time: what was found counts
                for entry in rotated_paths(place, self._folders):
                    if _identity_at(entry) in tried:  # in a storm of rotations, every file comes again and again
                        continue
                    try:
                        file = SourceFile(entry, max_line_bytes=1, content=open_content(entry))
                    except (OSError, SourceError):
                        continue
                    with contextlib.closing(file):
                        if file.identity not in tried and file.identity not in known:
                            yield place, file
                    tried.add(file.identity)


def rotated_paths(path: Path, folders: FolderListings) -> Iterator[Path]:
    """Yield the paths beside `path` of files that have rotated names of it, until a pass found no file renamed.

    A file that is renamed between the listing and its turn comes again under its new name, and so do others: callers
    skip the files that they have tried, by identity. Raises OSError when files are renamed during every pass.
    """
    folder, before = str(path.parent), None
    for _ in range(_MAX_PASSES):
        folders.forget(folder)
        names = folders.listing(folder).rotated_or_archived(path.name)
        if names == before:
            return
        yield from (path.parent / name for name in names)
        before = names
    raise _renamed_all_the_time(path)


def _distinct(paths: Iterable[str]) -> list[Path]:
    return [Path(path) for path in dict.fromkeys(paths)]


def _identity_at(path: Path) -> FileIdentity | None:
    """Return the identity of the file that a path leads to; None if there is none."""
    try:
        return identity_of(os.stat(path))
    except OSError:
        return None


def _if_written_since(path: Path, since_ns: int, exclude: Container[FileIdentity | None]) -> RotatedFile | None:
    """Return a plain file if it was written to at `since_ns` or later and is not in `exclude`."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    is_new = stat.S_ISREG(status.st_mode) and status.st_mtime_ns >= since_ns and identity_of(status) not in exclude
    if not is_new or is_compressed(str(path)):
        return None
    return RotatedFile(status.st_mtime_ns, path, identity_of(status), path)


def named_with_appendix(path: Path, folders: FolderListings) -> Iterator[Path]:
    """Yield the files beside `path` whose names only begin with its name."""
    for name in folders.listing(str(path.parent)).names:
        if name.startswith(path.name) and path.name in shorter_names(name):
            yield path.parent / name


def named_like_rotated_since(
    path: Path, since_ns: int, exclude: Container[FileIdentity | None], folders: FolderListings
) -> list[RotatedFile]:
    """Return files beside `path` that have rotated names of it and were written to at `since_ns` or later.

    Oldest first. An archive has the time of the file that it was made from, perhaps in whole seconds. Files in
    `exclude` are left out. Raises OSError when files are renamed during every search.
    """
    found = _written_since(path, since_ns, exclude, folders)
    for _ in range(MAX_LISTINGS):
        if found is not None:
            break
        folders.forget(str(path.parent))  # a file was just renamed: the next listing has its new name
        found = _written_since(path, since_ns, exclude, folders)
    if found is None:
        raise _renamed_all_the_time(path)
    return sorted(found, key=attrgetter("age"))


def _renamed_all_the_time(path: Path) -> OSError:
    return OSError(errno.EBUSY, "its rotated files are renamed all the time", str(path))


def _written_since(
    path: Path, since_ns: int, exclude: Container[FileIdentity | None], folders: FolderListings
) -> list[RotatedFile] | None:
    """Return the files, in no order; None if files were renamed during the search."""
    found = []
    names = folders.listing(str(path.parent)).rotated_or_archived(path.name)
    for name in names:
        entry = path.parent / name
        try:
            status = entry.stat()
        except FileNotFoundError:
            if os.path.lexists(entry):
                continue  # a symbolic link to nothing
            return None
        except OSError:
            continue
        is_archive = is_archive_name(name)
        earliest_ns = since_ns - since_ns % _SECOND_NS if is_archive else since_ns
        is_new = status.st_mtime_ns >= earliest_ns and identity_of(status) not in exclude
        if is_new and stat.S_ISREG(status.st_mode) and is_compressed(str(entry)) == is_archive:
            found.append(RotatedFile(status.st_mtime_ns, entry, identity_of(status), path))
    folders.forget(str(path.parent))
    return found if folders.listing(str(path.parent)).rotated_or_archived(path.name) == names else None
