"""One followed name: the files that have or had it, oldest first, and what was last seen of it.

Owns the order of its files: each is read to its end before the next, like `tail -F` with a memory. Other modules decide
what happens to the files (checking, truncation, abandonment); this module must never look up a path.
"""

import time
from typing import Final

from logferry.client.files.identity import FileIdentity
from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.readers.follow.followed.file import FollowedFile, Standing
from logferry.client.readers.input_rules import InputRules
from logferry.model.file_report import FileReport

# At most this many files that had the name are checked for late writes.
_MAX_RESTING: Final = 32

# How long to remember what was read of a truncated file, because its copy may appear later, and for how many
# truncations.
_COPY_EXPECTED_S: Final = 60.0
_MAX_TRUNCATED: Final = 4

# At most this many rotated files that cannot be opened are reported.
_MAX_UNREAD: Final = 32

_SUSPECTED: Final = "it looks like an unfinished copy of a followed file"


class FollowedName:
    """A name and its files. The reading thread changes it; the status thread calls `reports`."""

    # There may be tens of thousands of names, most with a single file: an empty deque would take 760 bytes.
    __slots__ = (
        "_truncated",
        "behind_since",
        "file_problem",
        "files",
        "holder",
        "input",
        "is_literal",
        "looked_ns",
        "path",
        "place",
        "problem",
        "resting",
        "seen",
        "unread",
        "unsearched_ns",
    )

    def __init__(self, path: str, wanted: InputRules, *, is_literal: bool = True) -> None:
        """Follow `path` by the rules of an input. A name found by a pattern is not literal and may be forgotten."""
        self.path = path
        self.place = path  # the real path that it leads to
        self.input = wanted
        self.is_literal = is_literal
        self.files: list[FollowedFile] = []  # oldest first; the last one has the name, or had it last
        self.resting: tuple[FollowedFile, ...] = ()  # read and acked to the end, closed, checked for late writes
        self.seen: tuple[int, int, int, int] | None = None  # device, inode, size and mtime of the file with the name
        self.holder: FileIdentity | None = None  # the file that has the name
        self.looked_ns = time.time_ns()  # when the name was last checked, in Unix time
        self.unsearched_ns = 0  # files that were rotated since then are not found yet: they were renamed all the time
        self.unread: tuple[tuple[str, str], ...] = ()  # rotated files that cannot be opened, each with the reason
        self.problem = ""  # why the name cannot be opened now
        self.file_problem = ""  # why one of its files cannot be read now
        self.behind_since = 0.0  # Unix time
        self._truncated: tuple[tuple[float, OverwrittenSource], ...] = ()  # truncations without a copy, and their times

    def follow_for(self, wanted: InputRules) -> None:
        """Follow the name for this input from now on; if its settings differ, decide again how lines are rendered."""
        if wanted.settings != self.input.settings:
            for file in (*self.files, *self.resting):
                file.rendering_decided_for = file.format_choice = None
        self.input = wanted

    # --- the order of its files ---------------------------------------------------------------------------------------

    @property
    def newest(self) -> FollowedFile | None:
        """The file that has the name, or had it last."""
        return self.files[-1] if self.files else None

    def add(self, file: FollowedFile, *, before: FollowedFile | None = None) -> None:
        """Queue a file to be read after all others, or just before one of them."""
        self.files.insert(len(self.files) if before is None else self.files.index(before), file)

    def remove(self, file: FollowedFile) -> None:
        """Stop reading and checking a file."""
        if file.standing is Standing.RESTING:
            self.resting = tuple(other for other in self.resting if other is not file)
        else:
            self.files.remove(file)

    def make_newest(self, file: FollowedFile, now: float) -> None:
        """Make one of the older files the newest: the name leads to it again."""
        self.remove(file)
        file.become(Standing.NAMED)
        file.quiet_since = now
        self.files.append(file)

    def rest(self, file: FollowedFile) -> FollowedFile | None:
        """Only check a file for late writes from now on; return the file that must be released in exchange, if any."""
        self.remove(file)
        file.become(Standing.RESTING)
        self.resting = (*self.resting, file)
        return self.resting[0] if len(self.resting) > _MAX_RESTING else None

    def revive(self, file: FollowedFile, now: float) -> None:
        """Read a finished file again: something was written to it, or some of it must be read again."""
        if file.standing is Standing.RESTING:
            self.remove(file)
            file.become(Standing.SUPERSEDED)
            self.files.insert(0, file)
        file.quiet_since = now

    # --- what its files hold ------------------------------------------------------------------------------------------

    @property
    def is_scanning(self) -> bool:
        """Whether the end of a long line is being searched for."""
        return any(file.is_scanning for file in self.files)

    @property
    def held(self) -> list[FollowedFile]:
        """The files that lost the name and are not acked to their end."""
        return [file for file in self.files if file.unacked and file.identity != self.holder]

    @property
    def may_change_by_time(self) -> bool:
        """Whether something may become readable or finished although no file changes."""
        return bool(
            len(self.files) > 1
            or self.file_problem
            or self.unsearched_ns
            or any(file.is_pending or file.is_suspect or file.is_superseded for file in self.files)
        )

    def begins_with(self, file: FollowedFile) -> bool:
        """Whether the newest file of the name begins with all bytes of another file; True if that is unknown now."""
        newest = self.newest
        if newest is None or newest is file:
            return False
        try:
            return file.is_beginning_of(newest)
        except OSError:
            return True

    def note_truncated(self, overwritten: OverwrittenSource, now: float) -> None:
        """Remember what was read of a truncated file that has no copy yet."""
        self._truncated = (*self._truncated, (now, overwritten))[-_MAX_TRUNCATED:]

    def truncated_lately(self, now: float) -> list[OverwrittenSource]:
        """Return the truncations that are so recent that a copy may still appear."""
        return [overwritten for since, overwritten in self._truncated if since > now - _COPY_EXPECTED_S]

    def note_backlog(self) -> None:
        """Note since when its files have unacked bytes."""
        is_behind = any(file.unacked for file in self.files)
        if not is_behind:
            self.behind_since = 0.0
        elif not self.behind_since:
            self.behind_since = time.time()

    def note_unread(self, path: str, reason: str) -> bool:
        """Note why a rotated file cannot be opened; "" says that it can be. Return whether the reason is new."""
        if (path, reason) in self.unread:
            return False
        others = tuple(entry for entry in self.unread if entry[0] != path)
        self.unread = (*others, (path, reason))[-_MAX_UNREAD:] if reason else others
        return bool(reason)

    def reports(self) -> list[FileReport]:
        """Return how far each file is read and acked. Safe in any thread."""
        files = list(self.files)
        unread = [FileReport(self.path, path, state="unreadable", problem=reason) for path, reason in self.unread]
        if not files:
            return [FileReport(self.path, state="unreadable", problem=self.problem), *unread]
        problem = self.file_problem or self.problem
        reports = [
            file.report(behind_since=self.behind_since, problem=problem or (_SUSPECTED if file.is_suspect else ""))
            for file in files
        ]
        return reports + unread
