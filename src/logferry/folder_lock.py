"""Locks a folder for one process: the folder and `folder/lock` are locked with flock(2); the file has the process id.

Client and server lock the folder of their records. The kernel releases the lock when the process ends, even after a
crash. A process that only reads must never take the lock; it calls `lock_holder`.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

# `lock_holder` takes a shared lock for a moment to check whether a folder is locked. So `lock_folder` tries this many
# times, with this pause in between.
_LOCK_ATTEMPTS: Final = 10
_LOCK_PAUSE_S: Final = 0.01


class FolderInUse(Exception):
    """Another process has locked the folder; `holder` is its process id, as text."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"in use by process {holder}")
        self.holder = holder


class FolderLock:
    """A locked folder; `close` releases it, as the end of the process does."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = list(descriptors)

    def close(self) -> None:
        """Release the lock; a second time does nothing."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def lock_folder(folder: Path, *, mode: int = 0o600) -> FolderLock:
    """Lock a folder for this process, and write its id into `folder/lock`; return the lock.

    The folder itself is locked, too: a removed file does not remove the lock. Everybody who may open the file can
    lock it; a new file gets `mode`. The kernel releases the lock when the process ends. Raises FolderInUse, or
    OSError.
    """
    with contextlib.ExitStack() as opened:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        opened.callback(os.close, descriptor)
        itself = _open_folder(folder)
        opened.callback(os.close, itself)
        try:
            _lock(descriptor)
            with _if_it_can_be_locked():
                _lock(itself)
        except BlockingIOError:
            raise FolderInUse(_read_holder(descriptor)) from None
        with contextlib.suppress(OSError):  # a full disk has no room for the process id; the lock holds without it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        opened.pop_all()
    return FolderLock([descriptor, itself])


def lock_holder(folder: Path) -> str | None:
    """Return the id of the process that has locked `folder`, as text ("unknown" if not recorded); None if not locked.

    Raises OSError when the lock cannot be checked.
    """
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if _is_locked(descriptor):
                return _read_holder(descriptor)
        finally:
            os.close(descriptor)
    with contextlib.suppress(FileNotFoundError):
        itself = _open_folder(folder)
        try:
            with _if_it_can_be_locked():
                return "unknown" if _is_locked(itself) else None
        finally:
            os.close(itself)
    return None


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextlib.contextmanager
def _if_it_can_be_locked() -> Iterator[None]:
    """Ignore that a file system, such as NFS, has no locks of folders: the lock of the file must do there."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.EOPNOTSUPP):
            raise


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _lock(descriptor: int) -> None:
    for _ in range(_LOCK_ATTEMPTS - 1):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_LOCK_PAUSE_S)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_holder(descriptor: int) -> str:
    return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
