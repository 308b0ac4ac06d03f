"""A file that is followed: open or to be opened again, and known by what it is rather than by its name.

Owns where the file is now, and what it has to do with the followed name (`Standing`). Must never know which other files
that name has: the registry does. The reading thread alone changes a file; `report` is called from the status thread.
"""

import contextlib
import os
from enum import Enum, auto
from pathlib import Path
from typing import Final

from logferry.client.files.fd_pool import DescriptorPool, Gone, PooledContent
from logferry.client.files.gzip import inflated
from logferry.client.files.identity import begins_alike
from logferry.client.files.line_reader import SourceFile
from logferry.client.finding.compressed import is_compressed
from logferry.client.finding.listing import Folders
from logferry.client.finding.rotation_names import is_archive_name, original_names
from logferry.model.file_report import FileReport


class Standing(Enum):
    """What a file has to do with the name that it is followed under."""

    NAMED = auto()  # the name leads to it
    RENAMED = auto()  # the name does not lead to it, and it is not known to have lost the name for good
    SUPERSEDED = auto()  # it has lost the name for good, to another file or by deletion: its writer has reason to leave
    RESTING = auto()  # read and acked to its end, and closed; only looked at for late writes
    RELEASED = auto()  # closed for good, and not in the registry any more


TRANSITIONS: Final = {
    Standing.NAMED: {Standing.RENAMED, Standing.SUPERSEDED, Standing.RELEASED},
    Standing.RENAMED: {Standing.NAMED, Standing.SUPERSEDED, Standing.RELEASED},
    Standing.SUPERSEDED: {Standing.NAMED, Standing.RENAMED, Standing.RESTING, Standing.RELEASED},
    Standing.RESTING: {Standing.NAMED, Standing.SUPERSEDED, Standing.RELEASED},
    Standing.RELEASED: set[Standing](),
}


class FollowedFile(SourceFile):
    """A file that a followed name has or had."""

    # There may be tens of thousands of them: every attribute takes 8 bytes, without slots all of them 1.3 KB more.
    __slots__ = (
        "_folders",
        "_standing",
        "content",
        "followed_path",
        "grown_at",
        "grown_to",
        "is_archive",
        "is_suspect",
        "quiet_since",
        "rested",
        "superseded_at",
    )

    def __init__(
        self, path: str, followed_path: str, *, descriptors: DescriptorPool, folders: Folders, now: float
    ) -> None:
        """Open `path`, for the name that it has or had. Raises FileNotFoundError or SourceError."""
        self.followed_path = followed_path
        self._folders = folders
        place = Path(os.path.realpath(path))
        self.content = PooledContent(place, descriptors)
        self.is_archive = is_archive_name(path) and is_compressed(path)
        readable = inflated(self.content) if self.is_archive else self.content
        super().__init__(place if str(place) == path else Path(path), max_line_bytes=1, content=readable)
        self.source.path = followed_path  # whatever it was rotated to since
        self.content.finder = self
        self.quiet_since = now
        self._standing = Standing.NAMED if path == followed_path else Standing.RENAMED
        self.superseded_at = 0.0
        self.is_suspect = False  # it may be a copy of another file that is still being made: not to be read yet
        self.grown_to, self.grown_at = 0, 0.0  # of a suspect: its size, and since when it has that
        self.rested = (0, 0)  # its state when it was closed

    # --- what it has to do with the followed name ---------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """What the file has to do with the followed name; see TRANSITIONS."""
        return self._standing

    def become(self, standing: Standing) -> None:
        """Change the standing, as TRANSITIONS allow."""
        if standing is not self._standing:
            assert standing in TRANSITIONS[self._standing], f"{self.path}: {self._standing} cannot become {standing}"
            self._standing = standing

    @property
    def has_name(self) -> bool:
        """Whether the followed name leads to the file."""
        return self._standing is Standing.NAMED

    @property
    def is_superseded(self) -> bool:
        """Whether the file has lost the name for good."""
        return self._standing is Standing.SUPERSEDED

    def note_name(self, *, has_it: bool) -> None:
        """Note whether the followed name leads to the file now."""
        if has_it:
            self.become(Standing.NAMED)
        elif self.has_name:
            self.become(Standing.RENAMED)

    def note_superseded(self, now: float, *, is_superseded: bool) -> None:
        """Note whether the file has lost its name for good: only now its writer has a reason to leave it."""
        if is_superseded and not self.is_superseded:
            self.superseded_at = now
            self.become(Standing.SUPERSEDED)
        elif self.is_superseded and not is_superseded:
            self.become(Standing.RENAMED)

    # --- where it is, and whether it is still what it was -------------------------------------------------------------

    @property
    def name(self) -> str:
        """Where the file is found now; empty when nowhere."""
        return "" if self.content.is_pinned else str(self.content.path)

    def state(self) -> tuple[int, int]:
        """Return what changes whenever it is written: its size, and the time."""
        status = self.content.status()
        return status.st_size, status.st_mtime_ns

    def is_recognisable(self) -> bool:
        """See FileFinder: what the followed name leads to is followed, whatever it holds."""
        return self.has_name or self.is_marked

    def is_expected(self) -> bool:
        """See FileFinder: its inode may be another file's by now."""
        if self.has_name:
            return True
        if self.is_archive:
            return is_compressed(str(self.content.path))
        if self.is_marked:
            return self.is_unchanged()
        return not self.content.size() or Path(self.followed_path).name in original_names(self.content.path.name)

    def is_still(self) -> bool:
        """Whether a file that was closed is what it was: its inode may be another file's by now. Raises OSError."""
        try:
            return self.is_expected()
        except Gone:
            return False

    def seek(self) -> None:
        """See FileFinder: it is looked for where it was. Raises OSError when out of reach."""
        folder = self.content.path.parent
        self._folders.forget(str(folder))
        name = self._folders.listing(str(folder)).by_inode.get(self.identity[1])
        if name is None:
            os.scandir(folder).close()  # a folder that cannot be listed now says nothing about the file
        else:
            self.content.path = folder / name
            self.note_name(has_it=False)

    def find_name(self) -> bool:
        """Find out what the file is called now; without a name it must stay open. Return whether that has changed."""
        if self.content.is_pinned or self.content.has_its_name():
            return False
        with contextlib.suppress(OSError):
            self.seek()
        self.content.is_pinned = self.content.is_open and not self.content.has_its_name()
        return True

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def unacked(self) -> int:
        """How many of its bytes are not acked."""
        return max(0, self.seen_size - self.source.committed)

    def is_beginning_of(self, other: SourceFile) -> bool:
        """Whether it has what another file begins with; of an empty one nobody knows."""
        size = self.size()
        return 0 < size <= other.size() and begins_alike(self, other, size)

    def unchanged_s(self, now: float) -> float:
        """Return for how long its size has not changed, as far as it was asked before."""
        size = self.size()
        if size != self.grown_to:
            self.grown_to, self.grown_at = size, now
        return now - self.grown_at

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
