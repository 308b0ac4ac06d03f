"""Checks a followed name: which file has it now, and what happened to the files that had it before.

Owns what was last seen of a name, so that checking an unchanged name costs one `stat`. Must never read lines.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from logferry.client.files.identity import FileIdentity, identity_of
from logferry.client.finding.compressed import is_compressed
from logferry.client.finding.foreign_links import place_reached
from logferry.client.readers.follow.abandonment import Abandonment
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.opening import RACY_NS, FileOpener
from logferry.client.readers.follow.truncation import Truncations
from logferry.client.readers.follow.windows import UnknownWindows
from logferry.errors import SourceError, cause_of

logger = logging.getLogger(__name__)

# A name that leads to another file in the middle of a check is looked up again, at most this often in a row.
_LOOKS: Final = 3


class NameChecker:
    """Checks names, one at a time. Used by the reading thread only."""

    def __init__(
        self,
        registry: Registry,
        opener: FileOpener,
        truncations: Truncations,
        abandonment: Abandonment,
        windows: UnknownWindows,
        clock: Callable[[], float],
    ) -> None:
        self._windows = windows
        self._registry = registry
        self._opener = opener
        self._truncations = truncations
        self._abandonment = abandonment
        self._clock = clock
        self.on_vanished: Callable[[str, int], None] = lambda path, size: None

    def check(self, name: FollowedName) -> bool:
        """Check which file has the name now; return whether there may be something to read."""
        before, had_attention, now_ns = name.seen, name in self._registry.attention, time.time_ns()
        is_clear = any(self._look_at_name(name, now_ns) for _ in range(_LOOKS))
        self._look_at_files(name)
        self._abandonment.check_resting(name)
        if is_clear:
            name.looked_ns = now_ns
        needs_attention = self._registry.note_attention(name)
        return name.seen is None or name.seen != before or needs_attention or had_attention

    def _look_at_name(self, name: FollowedName, now_ns: int) -> bool:
        """Find out which file has the name; return False if the name led to another file in the middle of that."""
        holder_before, name.holder, size = name.holder, None, 0
        try:
            status = os.stat(name.path)
            size = status.st_size
            name.holder = identity_of(status)
            name.seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if abs(now_ns - status.st_mtime_ns) < RACY_NS:
                name.seen = None
            is_new = name.holder != holder_before
            self._registry.note_problem(name, self._attend_to_holder(name, name.holder, is_new=is_new))
        except FileNotFoundError:
            has_moved, name.holder, name.seen = name.holder is not None, None, None
            if has_moved:
                self.on_vanished(name.path, size)
                return False
            self._registry.note_problem(name, "waiting for it to appear" if name.is_literal else "gone")
        except SourceError as error:
            self._registry.note_problem(name, error.reason)
            name.seen = None  # it may become readable without a change that `stat` shows
        except OSError as error:
            self._registry.note_problem(name, cause_of(error))
            name.seen = None
        return True

    def _attend_to_holder(self, name: FollowedName, identity: FileIdentity, *, is_new: bool) -> str:
        """Make the file that has the name now the newest one; return why it is not followed, or an empty string."""
        file = self._registry.find(identity)
        if file is None:
            return self._open_holder(name, identity)
        if file.followed_path != name.path:
            return ""  # it had another name before, and is read under that name until it is finished
        if not file.content.has_its_name():
            file.content.path, file.content.is_pinned = Path(place_reached(name.path, identity)), False
        if is_new:
            self._open_what_link_led_to(name, file)
        if file is not name.newest:
            name.make_newest(file, self._clock())  # it got its name back
        return ""

    def _open_what_link_led_to(self, name: FollowedName, file: FollowedFile) -> None:
        """If the name leads to another place by now, where `file` is, open what it led to since the last check."""
        place = place_reached(name.path, file.identity)
        if name.newest is None or name.place == place:
            return
        if identity_of(os.stat(place)) != file.identity:
            raise FileNotFoundError(f"{name.path} leads elsewhere now")
        self._open_rotated_meanwhile(name, name.newest, place)
        self._registry.move(name, place)
        file.note_place(place)

    def _open_holder(self, name: FollowedName, identity: FileIdentity) -> str:
        if is_compressed(name.path, or_unfinished=True):
            return "compressed: it is not followed"
        place = place_reached(name.path, identity) if name.files or name.newest else ""
        if name.files:
            logger.info("%s is a new file now; reading the old one to its end first", name.path)
            self._take_stock(name)  # saves what is known, so that an archive of it is recognised
        before = name.newest
        if before is not None:
            self._open_rotated_meanwhile(name, before, place)
            self._registry.find_name(before)
            self._windows.note_replaced(name, before)
        elif self._windows.misses(name):  # its folder may have been away
            self._opener.open_rotated_since_last_run(name)
        file = self._opener.open(name, name.path, identity)
        if file is not None:
            self._registry.move(name, file.place)
        return ""

    def _open_rotated_meanwhile(self, name: FollowedName, newest: FollowedFile, place: str) -> None:
        """Open the files that had the name after the newest known file, and lost it before the client checked."""
        looked_ns = name.looked_ns - RACY_NS
        try:
            written_ns = newest.modified_ns()
        except OSError as error:
            written_ns = looked_ns
            self._registry.note_failure(newest, error)
        self._opener.open_rotated_since(
            name, min(written_ns, looked_ns), place=place, certain_ns=max(written_ns, looked_ns)
        )

    def _look_at_files(self, name: FollowedName) -> None:
        self._take_stock(name)
        now = self._clock()
        for file in list(name.files):
            is_newest = file is name.newest
            file.note_superseded(now, is_superseded=not is_newest or file.content.is_pinned)
            if not is_newest or len(name.files) == 1:
                self._registry.find_name(file)
            if not file.has_name:
                self._settle(file)
        if name.newest is not None and name.holder is None:
            self._hand_over(name.newest)
        name.note_backlog()

    def _settle(self, file: FollowedFile) -> None:
        try:
            self._windows.settle(file)
        except OSError as error:
            self._registry.note_failure(file, error)

    def _take_stock(self, name: FollowedName) -> None:
        """Check what the files hold now."""
        newest = name.newest
        was_blank = newest is not None and not newest.has_been_seen
        for file in list(name.files):
            self._measure(name, file)
        if was_blank and newest is not None and newest.has_known_content:
            self._opener.suspect(newest)
        self._truncations.act(name)
        self._truncations.decide_on_suspects(name)
        self._opener.remember_files(name)
        if newest is not None and newest is name.newest and (was_blank or name.unsearched_ns):
            self._opener.open_copies_of_unseen(name, newest)

    def _measure(self, name: FollowedName, file: FollowedFile) -> None:
        """Check how large a file is now, and whether it has started over."""
        file.note_name(has_it=file.identity == name.holder)
        before = file.seen_size
        try:
            size = file.size()
            if size != before:
                file.quiet_since = self._clock()
            if not before < size == file.seen_size:  # else `size` has found the file unchanged and longer
                file.detect_rewrite()
            if file.unacked and file.source.is_settled:
                self._windows.settle(file)  # it was not finished after all
        except OSError as error:
            self._registry.note_failure(file, error)

    def _hand_over(self, file: FollowedFile) -> None:
        """Read a renamed file, whose old name leads to nothing, under its new name if that is followed too."""
        if (heir := self._registry.heir(file)) is not None:
            self._registry.hand_over(file, heir)
