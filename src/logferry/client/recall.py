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
from pathlib import Path
from typing import Final

from logferry.client.checkpoint import Checkpoint, Checkpoints, fingerprint
from logferry.client.discovery import ARCHIVE, Folders, former_names, is_compressed
from logferry.client.gzip_content import open_content
from logferry.client.source_file import HEAD_BYTES, Source, SourceFile
from logferry.errors import SourceError

logger = logging.getLogger(__name__)

# The time of a file is that of the kernel's last tick (100 a second or more), so it may be this much behind the clock.
_TICK_NS: Final = 10_000_000

Identity = tuple[int, int]  # device and inode

# So often a folder is listed again in which files are renamed at the very same time.
LISTINGS: Final = 10


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
            known = [known for known in self._checkpoints_of_originals(file) if known.id not in live]
            matching = [checkpoint for checkpoint in known if self._is_continued_in(file, checkpoint)]
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

    def rotated(self, path: Path) -> list[Path]:
        """Return the files that had the name `path` while the client was not running, oldest first.

        They are the files that a checkpoint knows, wherever in the folder they are now, and files that are named like
        rotated ones and were written after those.
        """
        unfinished = [known for known in self._checkpoints.of_path(str(path)) if not known.is_finished]
        if not unfinished:
            return []
        listing = self._folders.listing(str(path.parent))
        known: dict[Identity, tuple[int, Path]] = {}
        missing: list[Checkpoint] = []
        for checkpoint in unfinished:
            name = listing.by_inode.get(checkpoint.inode)
            modified_ns = _modified_ns_if_known(path.parent / name, checkpoint) if name else None
            if name and modified_ns is not None:
                known[checkpoint.device, checkpoint.inode] = (modified_ns, path.parent / name)
            else:
                missing.append(checkpoint)
        known |= self._continued(path, missing, known)
        files = [entry for _, entry in sorted(known.values())]
        if path in files:  # it was not rotated since; an older one may have been left behind
            return [entry for entry in files if entry != path]
        last_seen_ns = int(max(checkpoint.seen_at for checkpoint in unfinished) * 1e9) - _TICK_NS
        since_ns = max(known.values())[0] if known else last_seen_ns
        return files + rotated_since(path, since_ns, set(known), self._folders)

    def _continued(
        self, path: Path, missing: list[Checkpoint], known: Container[Identity]
    ) -> dict[Identity, tuple[int, Path]]:
        """Return the copies and archives that were made of files that a checkpoint knows, with their last change.

        It is the content that tells: a copy may be older than the checkpoint, which was saved before its file was
        looked at again.
        """
        found: dict[str, tuple[int, bool, Path, Identity]] = {}
        listing = self._folders.listing(str(path.parent))
        names = (*listing.rotated.get(path.name, ()), *listing.archives.get(path.name, ())) if missing else ()
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
        return {identity: (modified_ns, entry) for modified_ns, _, entry, identity in found.values()}

    def _checkpoints_of_originals(self, file: SourceFile) -> list[Checkpoint]:
        folder, name = file.path.parent, file.path.name.removesuffix(ARCHIVE)
        return [known for former in former_names(name) for known in self._checkpoints.of_path(str(folder / former))]

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


def rotated_since(path: Path, since_ns: int, exclude: set[Identity], folders: Folders) -> list[Path]:
    """Return files beside `path` that are named like rotated ones of it and were written at `since_ns` or later.

    An archive has the time of what it was made of, so one of that very time was made of the last file that is known.
    `exclude` are files that are known already.
    """
    found = _written_since(path, since_ns, exclude, folders)
    for _ in range(LISTINGS):
        if found is not None:
            break
        folders.forget(str(path.parent))  # something was renamed in this moment: to what, says the next listing
        found = _written_since(path, since_ns, exclude, folders)
    return [entry for _, entry in sorted(found or [])]


def _written_since(
    path: Path, since_ns: int, exclude: set[Identity], folders: Folders
) -> list[tuple[int, Path]] | None:
    """Return the files, each with the time of its last change; None if a name is no longer there."""
    found = []
    listing = folders.listing(str(path.parent))
    for name in (*listing.rotated.get(path.name, ()), *listing.archives.get(path.name, ())):
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
        is_new = status.st_mtime_ns >= since_ns + is_archive and status_identity(status) not in exclude
        if is_new and stat.S_ISREG(status.st_mode) and is_compressed(str(entry)) == is_archive:
            found.append((status.st_mtime_ns, entry))
    return found


def status_identity(status: os.stat_result) -> Identity:
    """Return what identifies a file while it exists."""
    return status.st_dev, status.st_ino
