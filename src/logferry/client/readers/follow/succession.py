"""Judges whether a new file holds what was read of another one: the file that had its name, or that it is a copy of.

rsync, `sed -i` and editors replace a file by a copy that holds more; logrotate's renamecopy renames a file, copies it
to a rotated name and deletes it. The source continues in such a successor, so that nothing is stored again. A file that
was rotated has no successor: it is still there under a rotated name, and another file may well hold the same lines.
Must only return a verdict, never act on it: truncation.py does.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from logferry.client.files.identity import LEAST_PROOF_BYTES
from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.readers.follow.followed.copies import SkipTo, Wait, paths_of_originals
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.recognition.recognise import Recogniser

# An editor, or renamecopy, that keeps the old file under a name that is followed too will have deleted it by then.
_BACKUP_DELETED_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Continues:
    """The file holds all of another file that no process writes to any more: continue its source in this file."""

    predecessor: FollowedFile


@dataclass(frozen=True, slots=True)
class Restores:
    """The file holds again what was read of it before it was truncated: continue that source."""

    overwritten: OverwrittenSource


Succession = Continues | Restores | SkipTo | Wait


class Successions:
    """Judges files that were not read yet. Used by the reading thread only."""

    def __init__(self, registry: Registry, recogniser: Recogniser) -> None:
        self._registry = registry
        self._recogniser = recogniser

    def may_succeed(self, file: FollowedFile, now: float) -> bool:
        """Whether a file begins like a file that it may have replaced, or be a copy of. Raises OSError."""
        return any(_begins_like(file, known) for known in self._progresses(file, now))

    def judge(self, file: FollowedFile, now: float) -> Succession | None:
        """Judge a file that has content; None if it is not a successor. Raises OSError.

        Wait means that the file holds the beginning of another one: it may be a copy that is being made.
        """
        may_grow = False
        for predecessor in self._predecessors(file):
            verdict = self._judge(file, predecessor, now)
            if isinstance(verdict, Continues | SkipTo):
                return verdict
            may_grow |= verdict is not None
        for overwritten in self._truncated(file, now):
            if _has_all_of(file, overwritten):
                return SkipTo(overwritten.offset) if overwritten.lost() else Restores(overwritten)
            may_grow |= file.size() < overwritten.offset and _begins_like(file, overwritten)
        return Wait() if may_grow else None

    def _judge(self, file: FollowedFile, predecessor: FollowedFile, now: float) -> Succession | None:
        known, size = predecessor.progress(), _size(predecessor)
        if size > known.offset and not predecessor.is_beginning_of(file):
            if file.is_beginning_of(predecessor):
                return Wait()
            return SkipTo(known.offset) if _has_all_of(file, known) else None  # each file goes on in its own way
        if size < LEAST_PROOF_BYTES:
            return None
        if not known.is_continued_in(file):
            return Wait() if file.size() < size and _begins_like(file, known) else None
        if predecessor.content.is_open and predecessor.content.has_writer() is not False:
            return SkipTo(size)
        if self._registry.at(predecessor.name) in (None, self._registry.owner(file)):
            return Continues(predecessor)
        return SkipTo(size) if now - file.suspected_at >= _BACKUP_DELETED_S else Wait()

    def _progresses(self, file: FollowedFile, now: float) -> Iterator[OverwrittenSource]:
        yield from (predecessor.progress() for predecessor in self._predecessors(file))
        yield from self._truncated(file, now)

    def _truncated(self, file: FollowedFile, now: float) -> list[OverwrittenSource]:
        return self._registry.names[file.followed_path].truncated_lately(now) if file.has_name else []

    def _predecessors(self, file: FollowedFile) -> Iterator[FollowedFile]:
        """Yield the files whose name, or a rotated name of it, the file has now, unless they were rotated."""
        paths = [file.followed_path] if file.has_name else []
        for path in (*paths, *paths_of_originals(file.content.path)):
            for checkpoint in self._recogniser.checkpoints.of_path(path):
                other = self._registry.source_ids.get(checkpoint.id)
                if other is not None and other is not file and not other.is_suspect and self._is_aside(other, path):
                    yield other

    def _is_aside(self, file: FollowedFile, path: str) -> bool:
        """Whether a file was deleted, or has a name that neither is `path` nor comes from a rotation of it."""
        self._registry.find_name(file)
        if not file.content.has_its_name():
            return True
        place, real = file.content.path, os.path.realpath(path)
        return str(place) != real and real not in paths_of_originals(place)


def _size(file: FollowedFile) -> int:
    try:
        return file.size()
    except OSError:
        return file.seen_size


def _has_all_of(file: FollowedFile, known: OverwrittenSource) -> bool:
    return known.offset >= LEAST_PROOF_BYTES and known.is_continued_in(file)


def _begins_like(file: FollowedFile, known: OverwrittenSource) -> bool:
    """Whether a file and a source have the same first bytes, as far as both are known; False if either is empty."""
    head = known.source.head or known.beginning
    begin = file.peek(0, len(head))
    return bool(begin) and head.startswith(begin)
