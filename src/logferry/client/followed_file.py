"""The files of a continuous reader: each open or to be opened again, known by what it is rather than by its name."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from logferry.client.descriptors import Descriptors, PooledContent
from logferry.client.discovery import ARCHIVE, Folders, is_compressed
from logferry.client.gzip_content import inflated
from logferry.client.reader import FileReport
from logferry.client.recall import Identity, Recall
from logferry.client.source_file import HEAD_BYTES, TAIL_BYTES, Lost, SourceFile

if TYPE_CHECKING:
    from logferry.client.followed_name import FollowedName

# A rotated file that is read to its end stays open this long if its writer may not have noticed the rotation yet. With
# unread bytes it stays open for ever.
ROTATED_QUIET_S: Final = 60.0


class File(SourceFile):
    """A file that a name has or had."""

    def __init__(self, path: str, owner: "FollowedName", common: "Common") -> None:
        """Open `path`, for the name that it has or had. Raises FileNotFoundError or SourceError."""
        self.owner = owner
        self.content = PooledContent(Path(os.path.realpath(path)), common.descriptors)
        self.is_archive = path.endswith(ARCHIVE) and is_compressed(path)
        readable = inflated(self.content) if self.is_archive else self.content
        super().__init__(Path(path), max_line_bytes=1, content=readable)
        self.source.path = owner.path  # whatever it was rotated to since
        self.content.is_expected = self._is_expected
        self.quiet_since = common.clock()
        self.has_name = True  # the name that is followed is its name
        self.rested = (0, 0)  # its state when it was closed

    def state(self) -> tuple[int, int]:
        """Return what changes whenever it is written: its size, and the time."""
        status = self.content.status()
        return status.st_size, status.st_mtime_ns

    def _is_expected(self) -> bool:
        """Whether a file that was closed may be taken for this one: what has the name may have become another."""
        return self.has_name or (self.is_marked and self.is_unchanged())

    def seek_name(self, common: "Common") -> None:
        """Find out what the file is called now, in the folder where it was; without a name it must stay open."""
        if self.content.is_pinned or self.content.may_be_closed():
            return
        common.revision += 1
        folders = common.folders
        folder = self.content.path.parent
        folders.forget(str(folder))
        name = folders.listing(str(folder)).by_inode.get(self.identity[1])
        if name is not None:
            self.content.path = folder / name
        self.content.is_pinned = not self.content.may_be_closed()

    @property
    def name(self) -> str:
        """Where the file is found now; empty when nowhere."""
        return "" if self.content.is_pinned else str(self.content.path)

    @property
    def unacked(self) -> int:
        """How many of its bytes are not acked."""
        return max(0, self.seen_size - self.source.committed)

    def is_still(self) -> bool:
        """Whether a file that was closed is what it was: its inode may be another file's by now."""
        try:
            return self.is_marked and self.is_unchanged()
        except OSError:
            return False

    def is_beginning_of(self, other: SourceFile) -> bool:
        """Whether it has what another file begins with; of an empty one nobody knows."""
        size = self.size()
        if not 0 < size <= other.size():
            return False
        head, tail = min(size, HEAD_BYTES), min(size, TAIL_BYTES)
        places = ((0, head), (size - tail, tail))
        return all(self.peek(offset, length) == other.peek(offset, length) for offset, length in places)

    def report(self, *, behind_since: float, problem: str) -> FileReport:
        """Say how far it is. Safe in any thread."""
        state = "following" if self.has_name else "held"
        return FileReport(
            self.source.path,
            self.name,
            self.source.id,
            *self.identity,
            size=self.seen_size,
            offset=self.offset,
            committed=self.source.committed,
            state="parked" if self.has_name and not self.content.is_open else state,
            problem=problem,
            format=self.rendering.format,
            behind_since=behind_since if self.unacked else 0.0,
        )


@dataclass
class Common:
    """What all names of a reader share."""

    descriptors: Descriptors
    folders: Folders
    recall: Recall | None
    clock: Callable[[], float]
    rotated_quiet_s: float = ROTATED_QUIET_S
    names: dict[str, "FollowedName"] = field(default_factory=dict)
    files: dict[Identity, File] = field(default_factory=dict)  # all that are looked after
    sources: dict[str, File] = field(default_factory=dict)  # by id, as far as the file is open or can be opened
    attention: dict["FollowedName", None] = field(default_factory=dict)  # for which time alone may change something
    lost: list[Lost] = field(default_factory=list)
    revision: int = 0
