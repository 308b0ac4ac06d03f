"""One file of a batch run: its identity and size when the run starts, and how far it was read.

Owns how the file is found after a rename, and where reading ends. Must never read beyond the planned size.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from logferry.client.files.archives.archive import uncompressed
from logferry.client.files.content.fd_pool import DescriptorPool, PooledContent
from logferry.client.files.content.snapshot import Snapshot
from logferry.client.files.identity import FileIdentity, fingerprint, identity_of
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.foreign_links import status_reached
from logferry.client.finding.listing import FolderListings
from logferry.client.readers.input_rules import InputRules
from logferry.client.recognition.recognise import Recogniser
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class PlannedFile:
    """A file as it is when the run starts; `place` is its real path, `size` is how many of its bytes will be read."""

    path: str
    input: InputRules
    place: Path
    identity: FileIdentity
    size: int

    def find(self, folders: FolderListings) -> Path:
        """Return the file's current path, which may be another name in the same folder. Raises SourceError."""
        if self._is_at(self.place):
            return self.place
        folder = self.place.parent
        folders.forget(str(folder))
        name = folders.listing(str(folder)).by_inode.get(self.identity[1])
        if name is None or not self._is_at(folder / name):
            raise SourceError(self.path, "deleted, replaced or moved away before it was read")
        return folder / name

    def _is_at(self, path: Path) -> bool:
        try:
            return identity_of(os.stat(path)) == self.identity
        except OSError:
            return False


class FinishedFile(NamedTuple):
    """A file that is acked to its end, and closed: where its reading ended, and what tells it from another file."""

    planned: PlannedFile
    end: int
    head_bytes: int
    tail_bytes: int
    content: str  # the fingerprint of both together


def plan(path: str, wanted: InputRules) -> PlannedFile:
    """Return the file that `path` leads to now. Raises SourceError if it is not a regular file."""
    try:
        status, place = os.stat(path), os.path.realpath(path)
        if place != path:
            status = status_reached(path) or status
    except FileNotFoundError:
        raise SourceError(path, "no such file") from None
    except OSError as error:
        raise SourceError(path, cause_of(error)) from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(path, "is a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file")
    return PlannedFile(path, wanted, Path(place), identity_of(status), status.st_size)


class BatchFile(SourceFile):
    """A file that is read to its planned size, or to its end if it is compressed or its size lies."""

    # A program that maps its log into memory (log4j, for example) writes text over the NULs at the end of the file. A
    # run that passed them could not be resumed there.
    passes_last_hole = False

    def __init__(
        self,
        planned: PlannedFile,
        descriptors: DescriptorPool,
        folders: FolderListings,
        recogniser: Recogniser | None = None,
    ) -> None:
        """Open the file, and resume from its checkpoint if a `recogniser` finds one. Raises SourceError on failure."""
        self.planned = planned
        self.problem = ""  # why no more of the file can be read
        self._is_asked_about = False
        self._descriptors = descriptors
        self._folders = folders
        try:
            self._raw = PooledContent(planned.find(folders), descriptors)
            try:
                if self._raw.identity != planned.identity:
                    raise SourceError(planned.path, "replaced while it was opened")
                self._open(recogniser)
            except BaseException:
                self._raw.close()
                raise
        except OSError as error:
            raise SourceError(planned.path, cause_of(error)) from error

    def _open(self, recogniser: Recogniser | None) -> None:
        planned, limit = self.planned, self.planned.input.settings.max_line_bytes
        content = uncompressed(self._raw, compressed_bytes=planned.size)
        super().__init__(Path(planned.path), max_line_bytes=limit, content=content)
        self.end = planned.size if content is self._raw else self.readable_end
        if recogniser:
            recogniser.recognise(self)
        self._is_known = self.source.committed > 0

    @property
    def is_read(self) -> bool:
        """Whether the end was reached, or nothing more can be read."""
        return self.offset >= self.end

    @property
    def is_stored(self) -> bool:
        """Whether everything that was read is acked, and the server that answers has it."""
        return self.source.committed >= self.offset and (self.source.is_confirmed or not self._is_known)

    @property
    def acked_bytes(self) -> int:
        """How many bytes of the file itself are acked; of a compressed one that is not known before its end."""
        return self.source.committed if self._content is self._raw else 0

    @property
    def has_question(self) -> bool:
        """Whether nothing of the file is new, but nobody has been asked yet whether the server has the rest."""
        return self.is_read and self._is_known and not (self._is_asked_about or self.problem)

    def question(self) -> Chunk:
        """Return a chunk without bytes, for which the engine asks how far the server has the file."""
        self._is_asked_about = True
        return Chunk(self.source, self.offset, self.offset, b"", epoch=self.source.epoch)

    def next_chunk(self, max_lines: int | None) -> Chunk | None:
        """Return the next chunk; None at the end, and while the end of a long line is being searched for.

        A last line without a newline counts as a line. If the file was truncated, adds its rest to `lost`. Raises
        SourceError.
        """
        self.ensure_reachable()
        source, offset = self.source, self.offset
        try:
            self.planned.input.prepare(self, limit=self.end, ends=True)
        except OSError as error:
            raise SourceError(self.planned.path, cause_of(error)) from error
        chunk = self.read(limit=self.end, is_final=True, max_lines=max_lines)
        self.overwritten.clear()
        self.lost.clear()  # a loss of the whole rest is added below
        if chunk is None and not self.is_scanning:
            if not (self._content.is_stream or self.is_at_last_hole):
                self.lost.append(Loss(source, offset, self.end, "truncated or rewritten while it was read"))
            self.end = self.offset
        return chunk

    def ensure_reachable(self) -> None:
        """Find the file's current path if it must be reopened. Raises SourceError if it is not found."""
        if not (self._descriptors.is_open(self._raw) or isinstance(self._content, Snapshot)):
            self._raw.path = self.planned.find(self._folders)

    def finished(self) -> FinishedFile:
        """Return what is to be remembered of the file when it is closed."""
        head, tail = self.source.head, self._tail
        return FinishedFile(self.planned, self.offset, len(head), len(tail), fingerprint(head + tail))

    def take_up(self, source: Source, finished: FinishedFile) -> None:
        """Go on with the source that the file had before it was closed. Raises SourceError if it is another file."""
        head = self.peek(0, finished.head_bytes)  # first: an archive is read forwards
        tail = self.peek(finished.end - finished.tail_bytes, finished.tail_bytes)
        if fingerprint(head + tail) != finished.content:
            raise SourceError(str(self.path), "it holds other content by now")
        self.end = finished.end
        self.resume(source)

    def stop_reading(self, reason: str) -> None:
        """Stop reading the file; what was read may still be read again."""
        self.problem = reason
        self.end = self.offset

    def _state(self) -> str:
        if self.problem:
            return "unreadable"
        return "finished" if self.is_stored else "reading"

    def report(self) -> FileReport:
        """Return how far the file is read and acked. Safe in any thread."""
        return FileReport(
            self.source.path,
            str(self._raw.path),
            self.source.id,
            *self.identity,
            size=self.planned.size if self._content is self._raw else self.seen_size,
            offset=self.offset,
            committed=self.source.committed,
            state=self._state(),
            problem=self.problem,
            format=self.rendering.format,
        )
