"""Decides when a file that lost its name may be closed: no process writes to it any more, and all of it is acked.

Owns the end of a file's life: how long to wait for its writer, and the resting files, which are closed but checked for
late writes. Must never give up unacked bytes: only --max-held-bytes (held.py) may do that.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Final

from logferry.client.files.content.fd_pool import FileGone
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry

logger = logging.getLogger(__name__)

# A rotated file that is read to its end stays open this long, if its writer may not have noticed the rotation yet. A
# file with unread bytes stays open for ever.
ROTATED_QUIET_S: Final = 60.0

# How long after the last change a last line without newline counts as a line, if no process has the file open for
# writing.
_UNWRITTEN_QUIET_S: Final = 2.0


class Abandonment:
    """Closes files that no process writes to any more. Used by the reading thread only."""

    def __init__(self, registry: Registry, clock: Callable[[], float], rotated_quiet_s: float) -> None:
        self._registry = registry
        self._clock = clock
        self._rotated_quiet_s = rotated_quiet_s

    def is_abandoned(self, file: FollowedFile) -> bool:
        """Whether a file lost its name, and no process will write to it any more, or late writes will be found."""
        if not file.is_superseded:
            return False
        quiet_s = self._clock() - max(file.quiet_since, file.superseded_at)
        try:
            has_writer = file.content.has_writer()
            if has_writer and file.content.is_pinned:
                return False  # without a name the file could not be reopened, and its writer can still write to it
            if has_writer is False and (file.is_deleted or quiet_s >= _UNWRITTEN_QUIET_S):
                return True
        except OSError:
            pass
        return quiet_s >= self._rotated_quiet_s

    def release_finished(self, name: FollowedName) -> None:
        """Close abandoned files that are read and acked to their end; until then they may have to be read again."""
        for file in [file for file in name.files if file.is_superseded]:
            if self.is_abandoned(file) and self._is_done(file):
                self._release(name, file)

    def _is_done(self, file: FollowedFile) -> bool:
        try:
            is_read = file.is_at_end and file.is_unchanged()  # a truncated file may seem to be at its end
        except OSError as error:
            self._registry.note_failure(file, error)
            return False
        return is_read and file.source.committed >= file.offset

    def _release(self, name: FollowedName, file: FollowedFile) -> None:
        self._registry.find_name(file)
        file.source.is_settled = True  # whatever becomes of the file: it is stored to its end, and nobody writes to it
        for problem in file.problems:
            logger.error("%s: %s", file.path, problem)
        if file.content.is_pinned or file.is_archive or not file.has_known_content:
            self._registry.forget(file)
        elif (heir := self._registry.heir(file)) is not None:
            self._registry.hand_over(file, heir)  # late writes are read under the new name
        else:
            with contextlib.suppress(OSError):
                file.rested = file.state()
            file.close()
            if (surplus := name.rest(file)) is not None:
                self._registry.forget(surplus)
        self._registry.revision += 1

    def check_resting(self, name: FollowedName) -> None:
        """Resume resting files that have been written to; forget those that are gone."""
        for file in name.resting:
            self._registry.find_name(file)
            try:
                if file.state() == file.rested:
                    continue
                is_still = file.is_still()
            except FileGone:
                is_still = False
            except OSError:
                continue  # out of reach for now
            if is_still:
                name.revive(file, self._clock())
            else:
                self._registry.forget(file)
