"""Locks a folder for one process: `folder/lock` is locked with flock(2) and holds the id of the process.

Client and server lock the folder of their records. The kernel releases the lock when the process ends, even after a
crash. A process that only reads must never take the lock; it calls `lock_holder`.
"""

import contextlib
import fcntl
import os
import time
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


def lock_folder(folder: Path, *, mode: int = 0o600) -> int:
    """Lock `folder/lock` for this process and write its id into it; return the descriptor that holds the lock.

    Everybody who may open the file can lock it; a new file gets `mode`. The kernel releases the lock when the process
    ends. Raises FolderInUse, or OSError.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        _lock(descriptor)
    except BlockingIOError:
        holder = _read_holder(descriptor)
        os.close(descriptor)
        raise FolderInUse(holder) from None
    except OSError:
        os.close(descriptor)
        raise
    with contextlib.suppress(OSError):  # a full disk has no room for the process id; the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def lock_holder(folder: Path) -> str | None:
    """Return the id of the process that has locked `folder`, as text ("unknown" if not recorded); None if not locked.

    Raises OSError when the lock cannot be checked.
    """
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def _lock(descriptor: int) -> None:
    for _ in range(_LOCK_ATTEMPTS - 1):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(_LOCK_PAUSE_S)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_holder(descriptor: int) -> str:
    return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
