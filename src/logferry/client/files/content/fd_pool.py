"""Reads more files than a process may have open: recently used files stay open, and others are reopened on use.

Owns the descriptors and their limit. A closed file can only be found by its path: when the path is missing or leads to
another file, the content's finder looks for the current path. A file without a name is never closed. Must never decide
whether a reopened file is the right one: the finder does.
"""

import contextlib
import errno
import fcntl
import logging
import os
import resource
import signal
import threading
from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from logferry.client.files.content.content import FileContent, next_data, open_regular
from logferry.client.files.identity import FileIdentity, identity_of
from logferry.errors import SourceError
from logferry.telemetry.log_limits import LAST_INTERVAL_S, RepeatLimit

logger = logging.getLogger(__name__)

# Descriptors for everything else: sockets, the state folder, libraries.
_RESERVE: Final = 64
_LEAST: Final = 8

# The number of files that the pool tries to close before it exceeds the limit by one.
_TRIED: Final = 32

# The number of searches for a file that is renamed while the pool reopens it.
_SEARCHES: Final = 10


class FileGone(FileNotFoundError):
    """A closed file cannot be reopened: it was deleted, or moved out of reach."""


class DescriptorPool:
    """Lends descriptors of files, and closes the least recently used ones.

    At most `limit` files are open, unless too few of them can be closed. Thread-safe: a thread holds `lock` while it
    uses a descriptor, so that no other thread can close the descriptor.
    """

    def __init__(self, limit: int | None = None, *, is_quiet: bool = False) -> None:
        """Without `limit`, raise the soft limit of the process to its hard limit and use that, minus a reserve.

        `is_quiet` suppresses the warning that the limit was reached.
        """
        self.limit = limit or max(_LEAST, _raise_limit() - _RESERVE)
        self._open: OrderedDict[PooledContent, int] = OrderedDict()  # the most recently used one is last
        self._limit_log = None if is_quiet else RepeatLimit(logger, interval_s=LAST_INTERVAL_S)
        # Held while a descriptor is in use: after a close, another file may get the same number.
        self.lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._open)

    def lend(self, content: "PooledContent") -> int:
        """Return a descriptor of a file. The caller holds the lock while using the descriptor.

        Raises FileGone when the file was closed and no longer exists, another OSError when it cannot be opened now.
        """
        fd = self._open.get(content)
        if fd is None:
            fd = self._open_file(content)
        self._open.move_to_end(content)
        return fd

    def is_open(self, content: "PooledContent") -> bool:
        """Whether a file is open."""
        return content in self._open

    def release(self, content: "PooledContent") -> None:
        """Close a file, if it is open."""
        fd = self._open.pop(content, None)
        if fd is not None:
            os.close(fd)

    def _open_file(self, content: "PooledContent") -> int:
        if content.identity is not None:
            return self._open_again(content)
        fd = self._open_path(content.path)
        content.identity = identity_of(os.fstat(fd))
        self._open[content] = fd
        return fd

    def _open_again(self, content: "PooledContent") -> int:
        for _ in range(_SEARCHES):
            if not content.has_its_name():
                content.seek()
            if not content.has_its_name():
                raise FileGone(errno.ENOENT, "it was deleted", str(content.path))
            try:
                fd = self._open_path(content.path)
            except FileNotFoundError:
                continue
            except SourceError as error:
                cause = error.__cause__
                raise OSError(getattr(cause, "errno", errno.EIO), error.reason, str(content.path)) from error
            if identity_of(os.fstat(fd)) == content.identity:
                break
            os.close(fd)
        else:
            raise OSError(errno.EBUSY, "it is renamed all the time", str(content.path))
        self._open[content] = fd
        if not content.is_expected():
            self.release(content)
            raise FileGone(errno.ENOENT, "another file has its inode now", str(content.path))
        return fd

    def _open_path(self, path: Path) -> int:
        """Open a file. If the system is out of descriptors, lower the limit and try again."""
        self._make_room()
        try:
            return open_regular(path)
        except SourceError as error:
            if getattr(error.__cause__, "errno", 0) not in (errno.EMFILE, errno.ENFILE) or not self._open:
                raise
        self.limit = max(_LEAST, len(self._open) - 1)  # the rest of the process, or of the machine, needs some too
        self._make_room()
        return open_regular(path)

    def _make_room(self) -> None:
        """Close the least recently used files until one more file may be opened."""
        if len(self._open) < self.limit:
            return
        if self._limit_log:
            self._limit_log.log(
                *(logging.WARNING, "full", "%d files are open, the most that this process may open: files take turns"),
                len(self._open),
            )
        for content in list(islice(self._open, _TRIED)):
            if content.may_be_closed():
                self.release(content)
                if len(self._open) < self.limit:
                    return
            else:
                self._open.move_to_end(content)


class FileFinder(Protocol):
    """Knows a file well enough to recognise it, and to find it after a rename."""

    def seek(self) -> None:
        """Set the content's `path` to the file's current path, if it can be found."""

    def is_expected(self) -> bool:
        """Whether the reopened file is the one that was closed."""

    def is_recognisable(self) -> bool:
        """Whether the file may be closed: `is_expected` could recognise it afterwards."""


class PooledContent:
    """The bytes of a file (see Content) that the pool closes and reopens as needed."""

    __slots__ = ("_descriptors", "finder", "identity", "is_pinned", "path")

    is_stream = False
    problems: Sequence[str] = ()
    cut_ends: Sequence[int] = ()

    def __init__(self, path: Path, descriptors: DescriptorPool) -> None:
        """Open `path`. Raises as FileContent.open does."""
        self.path = path
        self.identity: FileIdentity | None = None
        self.finder: FileFinder | None = None  # None: any file at `path` is taken for the right one
        self.is_pinned = False  # without a name the file could not be reopened: only `close` closes it
        self._descriptors = descriptors
        with descriptors.lock:
            descriptors.lend(self)

    @property
    def is_open(self) -> bool:
        """Whether the file has a descriptor."""
        return self._descriptors.is_open(self)

    def seek(self) -> None:
        """Let the finder update `path`, which no longer leads to the file."""
        if self.finder:
            self.finder.seek()

    def is_expected(self) -> bool:
        """Whether the finder accepts the reopened file."""
        return self.finder is None or self.finder.is_expected()

    def may_be_closed(self) -> bool:
        """Whether the file could be reopened and recognised."""
        is_recognisable = self.finder is None or self.finder.is_recognisable()
        return not self.is_pinned and is_recognisable and self.has_its_name()

    def has_its_name(self) -> bool:
        """Whether `path` still leads to the file."""
        try:
            return identity_of(os.stat(self.path)) == self.identity
        except OSError:
            return False

    def pread(self, size: int, offset: int) -> bytes:
        """See Content."""
        with self._descriptors.lock:
            return os.pread(self._descriptors.lend(self), size, offset)

    def next_data(self, offset: int) -> int:
        """See Content."""
        with self._descriptors.lock:
            return next_data(self._descriptors.lend(self), offset)

    def size(self) -> int:
        """See Content."""
        return self.status().st_size

    def status(self) -> os.stat_result:
        """See Content. A closed file is looked up by its path."""
        with self._descriptors.lock:
            if self.identity is not None and not self.is_open:
                with contextlib.suppress(OSError):
                    status = os.stat(self.path)
                    if identity_of(status) == self.identity:
                        return status
            return os.fstat(self._descriptors.lend(self))

    def has_writer(self) -> bool | None:
        """Whether some process has the file open for writing; None when that is unknown.

        The kernel grants a read lease only for a file that no process has open for writing (fcntl(2), F_SETLEASE). The
        lease is released immediately; a process that opens the file meanwhile waits for these few microseconds.
        """
        with self._descriptors.lock:
            try:
                fd = self._descriptors.lend(self)
                # By default, the kernel signals a broken lease with SIGIO, which kills the process; SIGURG is ignored.
                fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            except OSError as error:
                return True if error.errno == errno.EAGAIN else None
            return False

    def duplicate(self) -> FileContent:
        """See Content. The duplicate has a descriptor of its own."""
        with self._descriptors.lock:
            return FileContent(os.dup(self._descriptors.lend(self)))

    def close(self) -> None:
        """See Content."""
        with self._descriptors.lock:
            self._descriptors.release(self)


def _raise_limit() -> int:
    """Raise the soft limit on open files to the hard limit; return the limit that is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard if hard != resource.RLIM_INFINITY else 1024 * 1024
