"""Recognises a file that was shipped before by device, inode and content, whatever its name.

The content decides: the file must match the fingerprints of the source's first bytes and of the last bytes before its
checkpoint. A recycled inode, or a file that was rewritten in place, fails that test and becomes a new source. When a
file was copied and then truncated (logrotate's copytruncate), the source continues in the copy. Owns which checkpoint
belongs to which file; must never decide what is read.
"""

import logging
import os
from collections.abc import Container, Iterable
from operator import attrgetter
from pathlib import Path

from logferry.client.files.identity import LEAST_PROOF_BYTES, fingerprint
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings
from logferry.client.finding.rotation_names import (
    earlier_rotated_names,
    is_archive_name,
    original_names,
    shorter_names,
    without_archive_suffix,
)
from logferry.client.state.checkpoint import Checkpoint, source_of
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import SourceError
from logferry.model.source import Source

logger = logging.getLogger(__name__)


class Recogniser:
    """Recognises files by the checkpoints of earlier runs. Used by the reading thread only."""

    def __init__(self, checkpoints: Checkpoints, folders: FolderListings | None = None) -> None:
        self.checkpoints = checkpoints
        self.folders = folders or FolderListings()
        self._copied: set[str] = set()  # IDs of sources that continue in a copy of their file

    def recognise(self, file: SourceFile, *, live: Container[str] = ()) -> None:
        """Resume `file` from its checkpoint, if it has one, but never as one of the `live` sources.

        These are the sources that this run is already reading.
        """
        known = [known for known in self.checkpoints.of_identity(*file.identity) if known.id not in live]
        matching = [checkpoint for checkpoint in known if has_content(file, checkpoint)]
        best = max(matching, key=attrgetter("seen_at"), default=None)
        further = self.continued_in(file, live, beyond=best.committed if best else -1)
        if further:  # an inode that is used again says less than the content
            self._copied.update(checkpoint.id for checkpoint in further)
            best = max(further, key=attrgetter("committed", "seen_at"))
        if best:
            self._resume(file, best)

    def recognise_copy(self, file: SourceFile, *, live: Container[str]) -> None:
        """Resume `file`, which was a copy in the making, from the checkpoint of a finished source if it has all of it.

        The checkpoint of a source that this run has read and not finished may be outdated.
        """
        finished = [known for known in self.continued_in(file, live) if known.is_finished]
        if finished:
            self._copied.update(checkpoint.id for checkpoint in finished)
            self._resume(file, max(finished, key=attrgetter("committed", "seen_at")))

    def is_remembered(self, source: Source) -> bool:
        """Whether the checkpoints hold a source, so that the next start will know it."""
        return source.id in self.checkpoints

    def remember(self, file: SourceFile) -> None:
        """Let the next start know a file, even if nothing of it is shipped by then. Raises OSError.

        A file that has just been truncated is remembered later, as the other source that it is then.
        """
        if file.learn_head():
            self.checkpoints.follow(file.source)

    def checkpoints_of_originals(self, file: SourceFile) -> list[Checkpoint]:
        """Return the checkpoints of the files that `file`, judging by its name, may be a copy or an archive of."""
        folder, name = os.path.dirname(file.path), without_archive_suffix(file.path.name)
        originals = self._checkpoints_in(folder, original_names(name))
        # Among files like svc-1.log to svc-999.log, each would be looked up under hundreds of names in vain.
        may_have_moved = bool(originals) or name[-1:].isdigit()
        earlier = self._checkpoints_in(folder, earlier_rotated_names(name)) if may_have_moved else []
        others = self._checkpoints_in(folder, [name, *shorter_names(name)])
        return [*originals, *others, *earlier]

    def _checkpoints_in(self, folder: str, names: Iterable[str]) -> list[Checkpoint]:
        return [known for name in names for known in self.checkpoints.of_path(os.path.join(folder, name))]

    def continued_in(self, file: SourceFile, live: Container[str], *, beyond: int = -1) -> list[Checkpoint]:
        """Return the checkpoints, further on than `beyond`, of sources that continue in `file`."""
        known = [known for known in self.checkpoints_of_originals(file) if known.id not in live]
        heads: dict[int, str] = {}  # by length: a log may have hundreds of checkpoints, most with heads of one length
        for size in {checkpoint.head_bytes for checkpoint in known}:
            heads[size] = fingerprint(file.peek(0, size))
        return [
            checkpoint
            for checkpoint in known
            if checkpoint.committed > beyond
            and heads[checkpoint.head_bytes] == checkpoint.head
            and self.is_continued_in(file, checkpoint)
        ]

    def is_continued_in(self, file: SourceFile, checkpoint: Checkpoint) -> bool:
        """Whether a file is the copy or archive that was made of an original before it was truncated or removed.

        If the original still exists unchanged, under whatever name, the copy is a separate file.
        """
        if checkpoint.is_finished and (_says_little(checkpoint) or is_archive_name(file.path.name)):
            return False  # all of it is stored, and nothing more is expected of it; the file may be alike by chance
        return (
            checkpoint.head_bytes > 0
            and checkpoint.id not in self._copied
            and has_content(file, checkpoint)
            and not self._still_exists(checkpoint)
        )

    def _still_exists(self, checkpoint: Checkpoint) -> bool:
        """Whether the file of a checkpoint still exists with its content."""
        candidates = []
        for place in map(Path, checkpoint.places):
            name = self.folders.listing(str(place.parent)).by_inode.get(checkpoint.inode)
            candidates += [place] if name is None else [place.parent / name, place]
        return any(modified_ns_if_same(candidate, checkpoint) is not None for candidate in candidates)

    def _resume(self, file: SourceFile, checkpoint: Checkpoint) -> None:
        tail = file.peek(checkpoint.committed - checkpoint.tail_bytes, checkpoint.tail_bytes)
        source = source_of(checkpoint, tail=tail)
        source.device, source.inode = file.identity
        source.place = file.source.place or checkpoint.place
        if not source.committed:
            source.head = file.peek(0, checkpoint.head_bytes)  # all that identifies an unshipped file
        file.resume(source)
        self.checkpoints.follow(source)
        logger.debug("%s is known; resuming at byte %d", file.path, source.committed)


def _says_little(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint proves little: of a few bytes, or of a file whose end was lost before it was read."""
    return checkpoint.committed < LEAST_PROOF_BYTES or not checkpoint.tail_bytes


def is_same_file(file: SourceFile, checkpoint: Checkpoint) -> bool:
    """Whether a file is the file of a checkpoint."""
    return file.identity == (checkpoint.device, checkpoint.inode) and has_content(file, checkpoint)


def has_content(file: SourceFile, checkpoint: Checkpoint) -> bool:
    """Whether a file has the content that a checkpoint describes, up to the checkpoint."""
    # In this order, and without asking for the size, a compressed file is inflated once and only as far as needed.
    if fingerprint(file.peek(0, checkpoint.head_bytes)) != checkpoint.head:
        return False
    tail = file.peek(checkpoint.committed - checkpoint.tail_bytes, checkpoint.tail_bytes)
    reaches = not checkpoint.committed or bool(file.peek(checkpoint.committed - 1, 1))
    return reaches and fingerprint(tail) == checkpoint.tail


def is_copy(file: SourceFile, checkpoint: Checkpoint) -> bool:
    """Whether a file has the content that a checkpoint describes, or only the beginning of that content."""
    if not checkpoint.head_bytes or fingerprint(file.peek(0, checkpoint.head_bytes)) != checkpoint.head:
        return False
    return file.readable_end < checkpoint.committed or has_content(file, checkpoint)


def modified_ns_if_same(path: Path, checkpoint: Checkpoint) -> int | None:
    """Return when a file was last written to, or None if it is not the file of a checkpoint.

    A file that cannot be read now is taken for that file if it has its inode: the reader will find out.
    """
    try:
        file = SourceFile(path, max_line_bytes=1)
    except (OSError, SourceError):
        return None
    try:
        return file.modified_ns() if is_same_file(file, checkpoint) else None
    except OSError:
        return file.modified_ns() if file.identity == checkpoint.identity else None
    finally:
        file.close()
