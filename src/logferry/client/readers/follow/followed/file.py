"""A followed file: open or to be reopened, identified by inode and content rather than by name.

Owns where the file is now, and how the file relates to the followed name (`Standing`). Must never know which other
files that name has: the registry does. Only the reading thread changes a file; the status thread calls `report`.
"""

import contextlib
import os
from enum import Enum, auto
from pathlib import Path
from typing import Final

from logferry.client.files.archives.archive import uncompressed
from logferry.client.files.content.fd_pool import DescriptorPool, FileGone, PooledContent
from logferry.client.files.identity import begins_alike
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.compressed import is_compressed
from logferry.client.finding.foreign_links import check_beside, check_reached
from logferry.client.finding.listing import FolderListings
from logferry.client.finding.rotation_names import is_archive_name, original_names
from logferry.errors import SourceError, cause_of
from logferry.model.file_report import FileReport
from logferry.model.source import Source


class Standing(Enum):
    """How a file relates to the name that it is followed under."""

    NAMED = auto()  # the name leads to the file
    RENAMED = auto()  # the name does not lead to the file, but the file may get it back
    SUPERSEDED = auto()  # the file lost the name for good, to another file or by deletion: its writer should move on
    RESTING = auto()  # read and acked to its end, and closed; only checked for late writes
    RELEASED = auto()  # closed for good, and no longer in the registry


TRANSITIONS: Final = {
    Standing.NAMED: {Standing.RENAMED, Standing.SUPERSEDED, Standing.RELEASED},
    Standing.RENAMED: {Standing.NAMED, Standing.SUPERSEDED, Standing.RELEASED},
    Standing.SUPERSEDED: {Standing.NAMED, Standing.RENAMED, Standing.RESTING, Standing.RELEASED},
    Standing.RESTING: {Standing.NAMED, Standing.SUPERSEDED, Standing.RELEASED},
    Standing.RELEASED: set[Standing](),
}


class FollowedFile(SourceFile):
    """A file that a followed name has or had."""

    # There may be tens of thousands of files: each slot takes 8 bytes; without slots, a file takes 1.3 KB more.
    __slots__ = (
        "_folders",
        "_standing",
        "content",
        "followed_path",
        "grown_to",
        "is_archive",
        "is_suspect",
        "place",
        "quiet_since",
        "rested",
        "same_until",
        "superseded_at",
        "suspected_at",
        "unchanged_s",
        "weighed_at",
    )

    def __init__(
        self,
        path: str,
        followed_path: str,
        *,
        place: str = "",
        descriptors: DescriptorPool,
        folders: FolderListings,
        now: float,
    ) -> None:
        """Open `path`, a file that has the name `followed_path`, or had it when its real path was `place`.

        Raises FileNotFoundError or SourceError.
        """
        self.followed_path = followed_path
        self._folders = folders
        real = Path(os.path.realpath(path))
        self.place = str(real) if path == followed_path else place or followed_path
        self.content = PooledContent(real, descriptors)
        self.is_archive = is_archive_name(path) and is_compressed(path)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.content.close)
            self._check_way(path)
            readable = uncompressed(self.content) if self.is_archive else self.content
            super().__init__(real if str(real) == path else Path(path), max_line_bytes=1, content=readable)
            on_failure.pop_all()
        self.content.finder = self
        self.quiet_since = now
        self._standing = Standing.NAMED if path == followed_path else Standing.RENAMED
        self.superseded_at = 0.0
        self.is_suspect = False  # may be an unfinished copy of another file: not to be read yet
        self.suspected_at = now
        # A suspect's size, when it was last taken, and for how long it has not changed.
        self.grown_to, self.weighed_at, self.unchanged_s = 0, now, 0.0
        self.same_until = ("", 0)  # the ID of a source, and how far it is compared with the suspect and the same
        self.rested = (0, 0)  # `state` when the file was closed to rest

    def _check_way(self, path: str) -> None:
        """Check that root may follow what led to the open file. Raises FileNotFoundError or SourceError."""
        try:
            if str(self.content.path) != path and self.content.identity is not None:
                check_reached(path, self.content.identity)
            if path != self.followed_path:
                check_beside(self.followed_path, path, self.content.status())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SourceError(path, cause_of(error)) from error

    def note_place(self, place: str) -> None:
        """Note the real path that the file has under the followed name."""
        self.place = place
        self.source.place = self._other_place

    def _new_source(self) -> Source:
        """Return a source under the followed name, whatever name rotation has given the file since."""
        source = super()._new_source()
        source.path = self.followed_path
        source.place = self._other_place
        return source

    @property
    def _other_place(self) -> str:
        return self.place if self.place != self.followed_path else ""

    # --- how it relates to the followed name --------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """How the file relates to the followed name; see TRANSITIONS."""
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
        """Note whether the file has lost its name for good: only then does its writer have a reason to close it."""
        if is_superseded and not self.is_superseded:
            self.superseded_at = now
            self.become(Standing.SUPERSEDED)
        elif self.is_superseded and not is_superseded:
            self.become(Standing.RENAMED)

    # --- where it is, and whether it is still the same file -----------------------------------------------------------

    @property
    def name(self) -> str:
        """The path that leads to the file now; empty if none does."""
        return "" if self.content.is_pinned else str(self.content.path)

    def state(self) -> tuple[int, int]:
        """Return what changes with every write to the file: its size and modification time."""
        status = self.content.status()
        return status.st_size, status.st_mtime_ns

    def is_recognisable(self) -> bool:
        """See FileFinder: whatever the followed name leads to is followed, whatever its content."""
        return self.has_name or self.has_known_content

    def is_expected(self) -> bool:
        """See FileFinder: another file may have its inode by now."""
        if self.has_name:
            return True
        if self.is_archive:
            return is_compressed(str(self.content.path))
        if self.has_known_content:
            return self.is_unchanged()
        return not self.content.size() or Path(self.place).name in original_names(self.content.path.name)

    def is_still(self) -> bool:
        """Whether a closed file is still the same: another file may have its inode by now. Raises OSError."""
        try:
            return self.is_expected()
        except FileGone:
            return False

    def seek(self) -> None:
        """See FileFinder: look for the file in its last folder. Raises OSError when the folder is out of reach."""
        folder = self.content.path.parent
        self._folders.forget(str(folder))
        name = self._folders.listing(str(folder)).by_inode.get(self.identity[1])
        if name is None:
            os.scandir(folder).close()  # raises if the folder cannot be listed, which says nothing about the file
        else:
            self.content.path = folder / name
            self.note_name(has_it=False)

    def find_name(self) -> bool:
        """Look up the file's current name; a file without one must stay open. Return whether the name has changed."""
        if self.content.is_pinned or self.content.has_its_name():
            return False
        with contextlib.suppress(OSError):
            self.seek()
        self.content.is_pinned = self.content.is_open and not self.content.has_its_name()
        return True

    # --- what it holds ------------------------------------------------------------------------------------------------

    @property
    def unacked(self) -> int:
        """How many bytes of the file are not acked."""
        return max(0, self.seen_size - self.source.committed)

    def is_beginning_of(self, other: SourceFile) -> bool:
        """Whether another file begins with all bytes of this one; False if this one is empty."""
        size = self.size()
        return 0 < size <= other.size() and begins_alike(self, other, size)

    def weigh(self, now: float, *, longest_step_s: float) -> None:
        """Note for how long the size has not changed. A longer time between two calls counts as `longest_step_s`.

        A machine that stood still held up those who write the file, too.
        """
        size, step_s = self.size(), now - self.weighed_at
        if size == self.grown_to:
            self.unchanged_s += min(step_s, longest_step_s)
        else:
            self.unchanged_s, self.same_until = 0.0, ("", 0)
        self.grown_to, self.weighed_at = size, now

    def report(self, *, behind_since: float, problem: str) -> FileReport:
        """Return how far the file is read and acked. Safe in any thread."""
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
