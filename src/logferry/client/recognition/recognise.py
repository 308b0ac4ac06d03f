"""Which file is which: a file that was shipped before is recognised by device, inode and content, whatever its name.

The content decides: the hash of a source's first bytes and of the last bytes before its checkpoint must be those of
the file. A recycled inode, or a file that was rewritten in place, is seen by that and becomes a new source. When it was
rewritten because somebody has copied and then truncated it (copytruncate of logrotate), the source goes on in the copy.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Container
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

from logferry.client.files.gzip import open_content
from logferry.client.files.identity import HEAD_BYTES, FileIdentity, fingerprint, identity_of
from logferry.client.files.line_reader import SourceFile
from logferry.client.finding.listing import ARCHIVE, Folders, former_names, is_compressed, rotation_number
from logferry.client.state.checkpoints import Checkpoint, Checkpoints
from logferry.errors import SourceError
from logferry.model.source import Source

logger = logging.getLogger(__name__)

# The time of a file is that of the kernel's last tick (100 a second or more), so it may be this much behind the clock.
_TICK_NS: Final = 10_000_000

_SECOND_NS: Final = 1_000_000_000

# So often a folder is listed again in which files are renamed at the very same time.
LISTINGS: Final = 10


class Rotated(NamedTuple):
    """A file that had a name before, where it is now."""

    modified_ns: int
    path: Path
    identity: FileIdentity

    @property
    def age(self) -> tuple[int, int, Path]:
        """Return what is less of an older file: when it was last written to, and what its name says."""
        return self.modified_ns, -rotation_number(self.path.name.removesuffix(ARCHIVE)), self.path


class Recall:
    """Recognises files with the help of the checkpoints of earlier runs."""

    def __init__(self, checkpoints: Checkpoints, folders: Folders | None = None) -> None:
        self._checkpoints = checkpoints
        self._folders = folders or Folders()
        self._copied: set[str] = set()  # sources that go on in a copy of their file

    def recognise(self, file: SourceFile, *, live: Container[str] = ()) -> None:
        """Let `file` go on from its checkpoint, if there is one for it; but not as one of the sources that are `live`.

        These are read already, in this run.
        """
        known = [known for known in self._checkpoints.of_identity(*file.identity) if known.id not in live]
        matching = [checkpoint for checkpoint in known if has_content(file, checkpoint)]
        if not matching:
            matching = self._continued_by(file, live)
            self._copied.update(checkpoint.id for checkpoint in matching)
        if matching:
            self._resume(file, max(matching, key=lambda checkpoint: checkpoint.seen_at))

    def knows(self, source: Source) -> bool:
        """Whether a source will be known at the next start."""
        return source.id in self._checkpoints

    def remember(self, file: SourceFile) -> None:
        """Know a file at the next start, even if nothing of it is shipped by then. Raises OSError."""
        source = file.source
        source.head = source.head or file.peek(0, HEAD_BYTES)
        self._checkpoints.follow(source)

    def rotated(self, path: Path) -> list[Rotated]:
        """Return the files that had the name `path` while the client was not running, oldest first.

        They are the files that a checkpoint knows, wherever in the folder they are now, and files that are named like
        rotated ones, were written after those, or after their checkpoints, and hold something else.
        """
        unfinished = [known for known in self._checkpoints.of_path(str(path)) if not known.is_finished]
        listing = self._folders.listing(str(path.parent))
        known: dict[FileIdentity, Rotated] = {}
        current: FileIdentity | None = None  # of the file that has the name and is known
        missing: list[Checkpoint] = []
        seen_at: list[float] = []  # of the others
        for checkpoint in unfinished:
            name = listing.by_inode.get(checkpoint.inode)
            modified_ns = _modified_ns_if_known(path.parent / name, checkpoint) if name else None
            if name == path.name and modified_ns is not None:
                current = (checkpoint.device, checkpoint.inode)
                continue
            seen_at.append(checkpoint.seen_at)
            if name and modified_ns is not None:
                identity = (checkpoint.device, checkpoint.inode)
                known[identity] = Rotated(modified_ns, path.parent / name, identity)
            else:
                missing.append(checkpoint)
        if not seen_at:
            return []
        known |= self._continued(path, missing, known)
        files = sorted(known.values(), key=attrgetter("age"))
        last_seen_ns = int(max(seen_at) * 1e9) - _TICK_NS
        last_written_ns = files[-1].modified_ns if files else last_seen_ns
        new = self.new_since(
            path,
            min(last_seen_ns, last_written_ns),  # a file may be written to late, when others have had its name
            {*known, current},
            certain_ns=None if current else last_written_ns,  # else it was not rotated since
        )
        return files + new

    def new_since(
        self,
        path: Path,
        since_ns: int,
        exclude: Container[FileIdentity | None],
        *,
        certain_ns: int | None = None,
        live: Container[str] = (),
    ) -> list[Rotated]:
        """Return files that had the name `path` meanwhile: rotated since, and not the copies or archives of known ones.

        The oldest first. A file, no archive, that was written at `certain_ns` or later had the name whatever it holds:
        two files may be alike. Of the sources that are `live` nothing is read on elsewhere.
        """
        found = rotated_since(path, since_ns, exclude, self._folders)
        return [
            file
            for file in found
            if (certain_ns is not None and file.modified_ns >= certain_ns and not file.path.name.endswith(ARCHIVE))
            or not self._is_known(file, live)
        ]

    def _is_known(self, rotated: Rotated, live: Container[str]) -> bool:
        """Whether a file is the copy or the archive of one that was followed, with nothing of it to be read on."""
        try:
            file = SourceFile(rotated.path, max_line_bytes=1, content=open_content(rotated.path))
        except (OSError, SourceError):
            return False  # who opens it tells why it cannot be read
        with contextlib.closing(file):
            if file.identity != rotated.identity:
                return False  # who opens it finds that too, and looks again
            originals = self._checkpoints_of_originals(file)
            return any(is_copy(file, known) for known in originals) and not self._continued_by(file, live)

    def _continued(
        self, path: Path, missing: list[Checkpoint], known: Container[FileIdentity]
    ) -> dict[FileIdentity, Rotated]:
        """Return the copies and archives that were made of files that a checkpoint knows, with their last change.

        It is the content that tells: a copy may be older than the checkpoint, which was saved before its file was
        looked at again.
        """
        found: dict[str, tuple[int, bool, Path, FileIdentity]] = {}
        names = self._folders.listing(str(path.parent)).rotated_or_archived(path.name) if missing else ()
        for entry in (path.parent / name for name in names):
            try:
                file = SourceFile(entry, max_line_bytes=1, content=open_content(entry))
            except (OSError, SourceError):
                continue
            with contextlib.closing(file):
                candidate = (file.modified_ns(), not entry.name.endswith(ARCHIVE), entry, file.identity)
                for checkpoint in missing if file.identity not in known else ():
                    if self._is_continued_in(file, checkpoint):
                        found[checkpoint.id] = max(candidate, found.get(checkpoint.id, candidate))
        return {identity: Rotated(modified_ns, entry, identity) for modified_ns, _, entry, identity in found.values()}

    def _checkpoints_of_originals(self, file: SourceFile) -> list[Checkpoint]:
        folder, name = file.path.parent, file.path.name.removesuffix(ARCHIVE)
        return [known for former in former_names(name) for known in self._checkpoints.of_path(str(folder / former))]

    def _continued_by(self, file: SourceFile, live: Container[str]) -> list[Checkpoint]:
        """Return the checkpoints of files of which this one is the copy or the archive, to be read on."""
        known = [known for known in self._checkpoints_of_originals(file) if known.id not in live]
        return [checkpoint for checkpoint in known if self._is_continued_in(file, checkpoint)]

    def _is_continued_in(self, file: SourceFile, checkpoint: Checkpoint) -> bool:
        """Whether a file is the copy that was made (copytruncate) before the original was truncated, or compressed.

        If the original is still there as it was, under whatever name, the two are twins.
        """
        return (
            not checkpoint.is_finished
            and checkpoint.head_bytes > 0
            and checkpoint.id not in self._copied
            and has_content(file, checkpoint)
            and not self._is_there(checkpoint)
        )

    def _is_there(self, checkpoint: Checkpoint) -> bool:
        """Whether the file that a checkpoint was made of is there still, with its content."""
        path = Path(checkpoint.path)
        name = self._folders.listing(str(path.parent)).by_inode.get(checkpoint.inode)
        candidates = [path] if name is None else [path.parent / name, path]
        return any(_modified_ns_if_known(candidate, checkpoint) is not None for candidate in candidates)

    def _resume(self, file: SourceFile, checkpoint: Checkpoint) -> None:
        source = Source(
            checkpoint.path,
            checkpoint.id,
            *file.identity,
            committed=checkpoint.committed,
            lines=checkpoint.lines,
            crc32=checkpoint.crc32,
            tail=file.peek(checkpoint.committed - checkpoint.tail_bytes, checkpoint.tail_bytes),
            plain_until=checkpoint.plain_until,
            renderings=list(checkpoint.renderings),
        )
        file.resume(source)
        source.head = source.head or file.peek(0, checkpoint.head_bytes)  # of what was not shipped it is all there is
        self._checkpoints.follow(source)
        logger.debug("%s is known; going on at byte %d", file.path, source.committed)


def is_same_file(file: SourceFile, checkpoint: Checkpoint) -> bool:
    """Whether a file is the one that a checkpoint was made of."""
    return file.identity == (checkpoint.device, checkpoint.inode) and has_content(file, checkpoint)


def has_content(file: SourceFile, checkpoint: Checkpoint) -> bool:
    """Whether a file has what is known of the one that a checkpoint was made of, up to there."""
    # In this order, and with no question about the size, a compressed file is inflated once, and only as far as needed.
    if fingerprint(file.peek(0, checkpoint.head_bytes)) != checkpoint.head:
        return False
    tail = file.peek(checkpoint.committed - checkpoint.tail_bytes, checkpoint.tail_bytes)
    reaches = not checkpoint.committed or bool(file.peek(checkpoint.committed - 1, 1))
    return reaches and fingerprint(tail) == checkpoint.tail


def is_copy(file: SourceFile, checkpoint: Checkpoint) -> bool:
    """Whether a file has what the one had that a checkpoint was made of, or the beginning of that."""
    if not checkpoint.head_bytes or fingerprint(file.peek(0, checkpoint.head_bytes)) != checkpoint.head:
        return False
    return file.readable_end <= checkpoint.committed or has_content(file, checkpoint)


def _modified_ns_if_known(path: Path, checkpoint: Checkpoint) -> int | None:
    """Return when a file was last written, if it is the one that a checkpoint was made of."""
    try:
        file = SourceFile(path, max_line_bytes=1)
    except (OSError, SourceError):
        return None
    try:
        return file.modified_ns() if is_same_file(file, checkpoint) else None
    finally:
        file.close()


def rotated_since(
    path: Path, since_ns: int, exclude: Container[FileIdentity | None], folders: Folders
) -> list[Rotated]:
    """Return files beside `path` that are named like rotated ones of it and were written at `since_ns` or later.

    The oldest first. An archive has the time of what it was made of, perhaps in whole seconds. `exclude` are files that
    are known already.
    """
    found = _written_since(path, since_ns, exclude, folders)
    for _ in range(LISTINGS):
        if found is not None:
            break
        folders.forget(str(path.parent))  # something was renamed in this moment: to what, says the next listing
        found = _written_since(path, since_ns, exclude, folders)
    return sorted(found or [], key=attrgetter("age"))


def _written_since(
    path: Path, since_ns: int, exclude: Container[FileIdentity | None], folders: Folders
) -> list[Rotated] | None:
    """Return the files; None if files were renamed in this moment."""
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
        is_archive = name.endswith(ARCHIVE)
        earliest_ns = since_ns - since_ns % _SECOND_NS if is_archive else since_ns
        is_new = status.st_mtime_ns >= earliest_ns and identity_of(status) not in exclude
        if is_new and stat.S_ISREG(status.st_mode) and is_compressed(str(entry)) == is_archive:
            found.append(Rotated(status.st_mtime_ns, entry, identity_of(status)))
    folders.forget(str(path.parent))
    return found if folders.listing(str(path.parent)).rotated_or_archived(path.name) == names else None
