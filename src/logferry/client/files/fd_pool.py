"""Reading more files than a process may have open: the files that were used last are open, others are reopened on use.

Owns the descriptors, and how many there may be. A file that is closed can only be found by its path: when that leads to
nothing, or to another file, its finder looks for the path that it has now. A file without a name is never closed. Must
never decide what a file is: its finder does.
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

from logferry.client.files.content import FileContent, open_regular
from logferry.client.files.identity import FileIdentity, identity_of
from logferry.errors import SourceError
from logferry.telemetry.log_limits import LAST_INTERVAL_S, RepeatLimit

logger = logging.getLogger(__name__)

# Descriptors for everything else: sockets, the state folder, libraries.
_RESERVE: Final = 64
_LEAST: Final = 8

# How many files to try to close before exceeding the limit by one.
_TRIED: Final = 32

# How often to look again for a file that is renamed in the very moment when it is reopened.
_SEARCHES: Final = 10


class FileGone(FileNotFoundError):
    """A file that was closed cannot be opened again: it was deleted, or moved out of reach."""


class DescriptorPool:
    """Lends descriptors of files, and closes those that were used least recently.

    At most `limit` are open, unless too few can be closed. For several threads: `lock` is held while a descriptor is in
    use, so that no other thread can close it.
    """

    def __init__(self, limit: int | None = None, *, is_quiet: bool = False) -> None:
        """Without `limit`, use what the process may have after raising its soft limit to its hard limit.

        `is_quiet` says that files taking turns are not worth a warning.
        """
        self.limit = limit or max(_LEAST, _raise_limit() - _RESERVE)
        self._open: OrderedDict[PooledContent, int] = OrderedDict()  # the one that was used last is at the end
        self._limit_log = None if is_quiet else RepeatLimit(logger, interval_s=LAST_INTERVAL_S)
        self.lock = threading.RLock()  # held while a descriptor is in use: another thread could lend it to another file

    def __len__(self) -> int:
        return len(self._open)

    def lend(self, content: "PooledContent") -> int:
        """Return a descriptor of a file, to be used under the lock.

        Raises FileGone when it was closed and is no more, another OSError when it cannot be opened now.
        """
        fd = self._open.get(content)
        if fd is None:
            fd = self._open_file(content)
        self._open.move_to_end(content)
        return fd

    def is_open(self, content: "PooledContent") -> bool:
        """Whether a file is open now."""
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
        """Open a file, if need be with fewer descriptors for the others from now on."""
        self._make_room()
        try:
            return open_regular(path)
        except SourceError as error:
            if getattr(error.__cause__, "errno", 0) not in (errno.EMFILE, errno.ENFILE) or not self._open:
                raise
        self.limit = max(_LEAST, len(self._open) - 1)  # others in this process, or on this machine, need some too
        self._make_room()
        return open_regular(path)

    def _make_room(self) -> None:
        """Close the files that were not used for longest, until one more may be opened."""
        if len(self._open) < self.limit:
            return
        if self._limit_log:
            self._limit_log.log(
                *(logging.WARNING, "full", "%d files are open, as many as this process may have: files take turns"),
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
    """Knows a file well enough to tell it from others, and to find it after a rename."""

    def seek(self) -> None:
        """Set the content's `path` to where the file is now, if it can be found."""

    def is_expected(self) -> bool:
        """Whether a file that was reopened is the one that was closed."""

    def is_recognisable(self) -> bool:
        """Whether the file may be closed: whether `is_expected` can be answered afterwards."""


class PooledContent:
    """The bytes of a file (see Content) that is open only while its turn lasts."""

    __slots__ = ("_descriptors", "finder", "identity", "is_pinned", "path")

    is_stream = False
    problems: Sequence[str] = ()

    def __init__(self, path: Path, descriptors: DescriptorPool) -> None:
        """Open `path`. Raises as FileContent.open does."""
        self.path = path
        self.identity: FileIdentity | None = None
        self.finder: FileFinder | None = None  # without one, whatever `path` leads to is the file
        self.is_pinned = False  # without a name it could not be reopened: only `close` closes it
        self._descriptors = descriptors
        with descriptors.lock:
            descriptors.lend(self)

    @property
    def is_open(self) -> bool:
        """Whether it has a descriptor now."""
        return self._descriptors.is_open(self)

    def seek(self) -> None:
        """Let the finder update `path` when that does not lead to the file any more."""
        if self.finder:
            self.finder.seek()

    def is_expected(self) -> bool:
        """Whether what was opened again may be taken for it."""
        return self.finder is None or self.finder.is_expected()

    def may_be_closed(self) -> bool:
        """Whether it can be opened again, and known for what it is."""
        is_recognisable = self.finder is None or self.finder.is_recognisable()
        return not self.is_pinned and is_recognisable and self.has_its_name()

    def has_its_name(self) -> bool:
        """Whether `path` still leads to it."""
        try:
            return identity_of(os.stat(self.path)) == self.identity
        except OSError:
            return False

    def pread(self, size: int, offset: int) -> bytes:
        """See Content."""
        with self._descriptors.lock:
            return os.pread(self._descriptors.lend(self), size, offset)

    def size(self) -> int:
        """See Content."""
        return self.status().st_size

    def status(self) -> os.stat_result:
        """See Content. A file that is not open is asked by its name."""
        with self._descriptors.lock:
            if self.identity is not None and not self.is_open:
                with contextlib.suppress(OSError):
                    status = os.stat(self.path)
                    if identity_of(status) == self.identity:
                        return status
            return os.fstat(self._descriptors.lend(self))

    def has_writer(self) -> bool | None:
        """Whether some process has the file open for writing; None when that cannot be found out.

        A read lease is only given for a file that nobody has open for writing (fcntl(2), F_SETLEASE). It is given back
        at once; a process that opens the file in that moment waits for these few microseconds.
        """
        with self._descriptors.lock:
            try:
                fd = self._descriptors.lend(self)
                # The kernel announces a broken lease by SIGIO, which ends a process; SIGURG is ignored by default.
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
    """Let the process have as many descriptors as it may ask for; return how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return soft
    return hard if hard != resource.RLIM_INFINITY else 1024 * 1024
