"""The files of a continuous reader: each open or to be opened again, known by what it is rather than by its name."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from logferry.client.files.fd_pool import Descriptors, Gone, PooledContent
from logferry.client.files.gzip import inflated
from logferry.client.files.identity import FileIdentity, begins_alike
from logferry.client.files.line_reader import SourceFile
from logferry.client.finding.compressed import is_compressed
from logferry.client.finding.listing import Folders
from logferry.client.finding.rotation_names import is_archive_name, original_names
from logferry.client.recognition.recognise import Recogniser
from logferry.client.recognition.rotated import RotatedFiles
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss

if TYPE_CHECKING:
    from logferry.client.readers.follow.name import FollowedName

# A rotated file that is read to its end stays open this long if its writer may not have noticed the rotation yet. With
# unread bytes it stays open for ever.
ROTATED_QUIET_S: Final = 60.0


class File(SourceFile):
    """A file that a name has or had."""

    __slots__ = (
        "_folders",
        "content",
        "has_name",
        "is_archive",
        "is_superseded",
        "is_vetted",
        "last_growth",
        "owner",
        "quiet_since",
        "rested",
        "superseded_at",
    )

    def __init__(self, path: str, owner: "FollowedName", common: "Common") -> None:
        """Open `path`, for the name that it has or had. Raises FileNotFoundError or SourceError."""
        self.owner = owner
        self._folders = common.folders
        place = Path(os.path.realpath(path))
        self.content = PooledContent(place, common.descriptors)
        self.is_archive = is_archive_name(path) and is_compressed(path)
        readable = inflated(self.content) if self.is_archive else self.content
        super().__init__(place if str(place) == path else Path(path), max_line_bytes=1, content=readable)
        self.source.path = owner.path  # whatever it was rotated to since
        self.content.owner = self
        self.quiet_since = common.clock()
        self.has_name = path == owner.path  # the name that is followed is its name
        self.is_superseded = False  # it has lost the name for good: to another file, or it was deleted
        self.superseded_at = 0.0
        self.is_vetted = True  # it is no copy of another file that is being made
        self.last_growth = (0, 0.0)  # of a copy that is being made: its size, and since when it has that
        self.rested = (0, 0)  # its state when it was closed

    def state(self) -> tuple[int, int]:
        """Return what changes whenever it is written: its size, and the time."""
        status = self.content.status()
        return status.st_size, status.st_mtime_ns

    def supersede(self, now: float, *, is_superseded: bool) -> None:
        """Note whether it has lost its name for good: only now its writer has a reason to leave it."""
        if is_superseded and not self.is_superseded:
            self.superseded_at = now
        self.is_superseded = is_superseded

    def is_recognisable(self) -> bool:
        """See Owner: what the followed name leads to is followed, whatever it holds."""
        return self.has_name or self.is_marked

    def is_expected(self) -> bool:
        """See Owner: its inode may be another file's by now."""
        if self.has_name:
            return True
        if self.is_archive:
            return is_compressed(str(self.content.path))
        if self.is_marked:
            return self.is_unchanged()
        return not self.content.size() or Path(self.owner.path).name in original_names(self.content.path.name)

    def seek(self) -> None:
        """See Owner: it is looked for where it was. Raises OSError when the folder is out of reach."""
        folder = self.content.path.parent
        self._folders.forget(str(folder))
        name = self._folders.listing(str(folder)).by_inode.get(self.identity[1])
        if name is None:
            os.scandir(folder).close()  # a folder that cannot be listed now says nothing about the file
        else:
            self.content.path = folder / name
            self.has_name = False

    def seek_name(self) -> bool:
        """Find out what the file is called now; without a name it must stay open. Return whether that is news."""
        if self.content.is_pinned or self.content.has_its_name():
            return False
        with contextlib.suppress(OSError):
            self.seek()
        self.content.is_pinned = self.content.is_open and not self.content.has_its_name()
        return True

    @property
    def name(self) -> str:
        """Where the file is found now; empty when nowhere."""
        return "" if self.content.is_pinned else str(self.content.path)

    @property
    def unacked(self) -> int:
        """How many of its bytes are not acked."""
        return max(0, self.seen_size - self.source.committed)

    def is_still(self) -> bool:
        """Whether a file that was closed is what it was: its inode may be another file's by now. Raises OSError."""
        try:
            return self.is_expected()
        except Gone:
            return False

    def is_beginning_of(self, other: SourceFile) -> bool:
        """Whether it has what another file begins with; of an empty one nobody knows."""
        size = self.size()
        return 0 < size <= other.size() and begins_alike(self, other, size)

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
    recogniser: Recogniser
    rotated_files: RotatedFiles
    clock: Callable[[], float]
    rotated_quiet_s: float = ROTATED_QUIET_S
    names: dict[str, "FollowedName"] = field(default_factory=dict)
    files: dict[FileIdentity, File] = field(default_factory=dict)  # all that are looked after
    sources: dict[str, File] = field(default_factory=dict)  # by id, as far as the file is open or can be opened
    attention: dict["FollowedName", bool] = field(default_factory=dict)  # to be looked at: whether by time alone
    lost: list[Loss] = field(default_factory=list)
    revision: int = 0
