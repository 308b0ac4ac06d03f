"""Receives the kernel's notifications of changes in folders: inotify(7), through ctypes.

Owns the watches of one inotify instance. It watches folders, not files: one watch covers thousands of files, and the
names that appear later.

A notification is a hint, not a guarantee: the kernel reports a change made on another host, or through a memory
mapping, late or never, and it does not report that a parent folder was renamed. Callers must never rely on
notifications alone: they also check the files themselves from time to time.
"""

import errno
import logging
import os
import struct
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final, Self

from logferry.client.finding.short_lived import EntryEvent, Event
from logferry.errors import cause_of
from logferry.printable import printable
from logferry.telemetry.log_limits import LAST_INTERVAL_S, RepeatLimit

logger = logging.getLogger(__name__)

# From <sys/inotify.h>; the same on every architecture of Linux.
_MODIFY: Final = 0x2
_ATTRIB: Final = 0x4
_CLOSE_WRITE: Final = 0x8
_MOVED_FROM: Final = 0x40
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_DELETE: Final = 0x200
_DELETE_SELF: Final = 0x400
_MOVE_SELF: Final = 0x800
_OVERFLOW: Final = 0x4000
_IGNORED: Final = 0x8000
_ONLYDIR: Final = 0x1000000

# A file written through a mapping raises no IN_MODIFY, but closing it raises IN_CLOSE_WRITE. IN_ATTRIB is raised when a
# file, or a folder, has become readable.
_GROWN: Final = _MODIFY | _CLOSE_WRITE
_RENAMED: Final = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO | _ATTRIB
_MASK: Final = _GROWN | _RENAMED | _DELETE_SELF | _MOVE_SELF | _ONLYDIR

# struct inotify_event: wd, mask, cookie, len; `len` bytes of name follow, NULs at their end included.
_EVENT: Final = struct.Struct("=iIII")
_MASK_AND_NAME_BYTES: Final = struct.Struct("=4xI4xI").unpack_from

# These are kept in their order, with their number.
_ENTRY_EVENTS: Final = {
    _CREATE: Event.CREATED,
    _MODIFY: Event.WRITTEN,
    _MOVED_FROM: Event.MOVED_AWAY,
    _MOVED_TO: Event.MOVED_HERE,
    _DELETE: Event.DELETED,
}
_MOVED: Final = _CREATE | _MOVED_FROM | _MOVED_TO | _DELETE

# One read takes at most this much, which is more than 2000 events. This many reads empty the longest queue that
# the kernel keeps by default (16,384 events), and are bounded even if events arrive faster than they are read.
_READ_BYTES: Final = 64 * 1024
_READS: Final = 128

_HINTS: Final = {
    errno.ENOSPC: " (the limit is fs.inotify.max_user_watches)",
    errno.EMFILE: " (the limits are fs.inotify.max_user_instances and the number of open files)",
}


@dataclass(slots=True)
class Changes:
    """The changes since the last read.

    `paths` are files whose content may have grown. In `folders`, names appeared, vanished, moved or changed their
    permissions, or the folder itself is gone (then it is no longer watched). After an `overflow`, events are missing:
    the caller must check everything. `entry_events` are what happened to files, in order.
    """

    paths: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    overflow: bool = False
    entry_events: list[EntryEvent] = field(default_factory=list, compare=False)


class FolderWatcher:
    """Watches folders for changes of their entries and files. For one thread."""

    def __init__(self, inotify: "_Inotify") -> None:
        """Use `create`."""
        self._inotify = inotify
        self._wds: dict[str, int] = {}
        self._folders: dict[int, set[str]] = {}  # a folder with two names has one watch
        self._failures = RepeatLimit(logger, interval_s=LAST_INTERVAL_S)  # by errno

    @classmethod
    def create(cls) -> Self | None:
        """Return a watcher; if inotify is missing or its instances are used up, log why and return None."""
        try:
            return cls(_Inotify())
        except (ImportError, AttributeError, TypeError) as error:  # ctypes is missing, or libc lacks inotify
            logger.debug("inotify is not available: %s", error)
        except OSError as error:
            logger.warning("cannot watch for changes, polling instead: %s", _explained(error))
        return None

    @property
    def watched(self) -> Set[str]:
        """The watched folders, under the names given to `watch`."""
        return self._wds.keys()

    def fileno(self) -> int:
        """Return the descriptor that is readable while `read` has something to return."""
        return self._inotify.fd

    def watch(self, folder: str) -> bool:
        """Watch the folder that `folder` leads to now; return False when that fails. Log each kind of failure once.

        Watching a folder again is cheap, and repairs the watch of a name that now leads to another folder.
        """
        try:
            wd = self._inotify.add_watch(folder, _MASK)
        except OSError as error:
            self._log_failure(folder, error)
            self.unwatch(folder)
            return False
        if self._wds.get(folder, wd) != wd:
            self.unwatch(folder)
        self._wds[folder] = wd
        self._folders.setdefault(wd, set()).add(folder)
        return True

    def unwatch(self, folder: str) -> None:
        """Stop watching a folder, if it is watched. Its queued events are dropped."""
        wd = self._wds.pop(folder, None)
        if wd is None:
            return
        self._folders[wd].discard(folder)
        if not self._folders[wd]:
            del self._folders[wd]
            self._inotify.rm_watch(wd)

    def read(self) -> Changes:
        """Return the changes since the last read, each once. Never waits."""
        events: list[bytes] = []
        recent: set[bytes] = set()
        for _ in range(_READS):
            try:
                _collect(os.read(self._inotify.fd, _READ_BYTES), events, recent)
            except BlockingIOError:
                break
        changes = Changes()
        for event in events:
            self._add_event(event, changes)
        if changes.overflow:
            self._start_over(changes)
        return changes

    def close(self) -> None:
        """Close the descriptor, which ends all watches."""
        os.close(self._inotify.fd)
        self._wds.clear()
        self._folders.clear()

    def _add_event(self, event: bytes, changes: Changes) -> None:
        """Add one event to `changes`.

        Events of a removed watch are ignored. Its number cannot belong to a newer watch yet: the kernel counts to
        INT_MAX before it reuses numbers (inotify(7), section BUGS).
        """
        wd, mask, cookie, _ = _EVENT.unpack_from(event)
        changes.overflow |= bool(mask & _OVERFLOW)
        folders = self._folders.get(wd, set())
        if mask & (_GROWN | _MOVED):
            name = os.fsdecode(event[_EVENT.size :].rstrip(b"\0"))
            paths = [os.path.join(folder, name) for folder in folders]
            kind = _ENTRY_EVENTS.get(mask)  # None for a folder, whose mask has another bit
            if kind is not None:
                changes.entry_events += [EntryEvent(kind, path, cookie) for path in paths]
            if mask & _GROWN:
                changes.paths.update(paths)
                return
        changes.folders.update(folders)
        if mask & _IGNORED:  # the kernel removed the watch: the folder was deleted, or unmounted
            self._forget(wd)
        elif mask & _MOVE_SELF:  # the watch followed the folder to a name that is not wanted
            for folder in list(folders):
                self.unwatch(folder)

    def _forget(self, wd: int) -> None:
        for folder in self._folders.pop(wd, ()):
            del self._wds[folder]

    def _start_over(self, changes: Changes) -> None:
        """Renew all watches: the lost events may include the end of a watch."""
        changes.folders.update(folder for folder in list(self._wds) if not self.watch(folder))

    def _log_failure(self, folder: str, error: OSError) -> None:
        level = logging.DEBUG if error.errno == errno.ENOENT else logging.WARNING  # a missing folder is normal
        self._failures.log(
            *(level, error.errno, "cannot watch %s for changes, polling it instead: %s"),
            *(printable(folder), _explained(error)),
        )


class _Inotify:
    """The three system calls of inotify. They raise OSError when they fail."""

    def __init__(self) -> None:
        """Raise ImportError, AttributeError or TypeError where inotify does not exist."""
        import ctypes  # not available everywhere, and not needed for polling

        libc = ctypes.CDLL(None, use_errno=True)
        libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
        libc.inotify_rm_watch.argtypes = [ctypes.c_int, ctypes.c_int]
        self._libc = libc
        self._errno = ctypes.get_errno
        self.fd: Final = self._checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))  # as IN_NONBLOCK, IN_CLOEXEC

    def add_watch(self, folder: str, mask: int) -> int:
        """Return the number of the new or existing watch of a folder."""
        return self._checked(self._libc.inotify_add_watch(self.fd, os.fsencode(folder), mask))

    def rm_watch(self, wd: int) -> None:
        """Remove a watch. Ignores errors: the watch of a deleted folder no longer exists."""
        self._libc.inotify_rm_watch(self.fd, wd)

    def _checked(self, result: int) -> int:
        if result < 0:
            number = self._errno()
            raise OSError(number, os.strerror(number))
        return result


def _explained(error: OSError) -> str:
    return f"{cause_of(error)}{_HINTS.get(error.errno or 0, '')}"


def _collect(data: bytes, events: list[bytes], recent: set[bytes]) -> None:
    """Add the events in `data` to `events`, before they are interpreted.

    Equal events count once until an entry comes or goes; `recent` are the events since then. A burst of 16,384 events
    takes 8 ms here, and as long in the kernel. A file that grows fast causes one event: the kernel merges equal
    consecutive events.
    """
    offset, size = 0, len(data)
    while offset < size:
        mask, name_bytes = _MASK_AND_NAME_BYTES(data, offset)
        end = offset + _EVENT.size + name_bytes
        event = data[offset:end]
        if mask & _MOVED:
            recent.clear()
        if event not in recent:
            recent.add(event)
            events.append(event)
        offset = end
