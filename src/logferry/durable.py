"""Files that survive: replacing one at once, and locking a folder for one process.

Both ends keep records beside their data; what either may assume after a crash is said here once.
"""

import contextlib
import fcntl
import os
from pathlib import Path


class FolderInUse(Exception):
    """Another process has locked the folder; `holder` is its process id, as text."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"in use by process {holder}")
        self.holder = holder


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace (or create) a file so that a crash at any moment leaves the old content or the new, never a mixture.

    Raises OSError; the old file is there then (the new one, if only its folder could not be synced), and no temporary
    one.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Return when the names of the files in a folder are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_folder(folder: Path) -> int:
    """Lock `folder/lock` for this process and write its id into it; return the descriptor that holds the lock.

    The lock ends with the process, however it ends. Raises FolderInUse, or OSError.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise FolderInUse(holder) from None
    except OSError:
        os.close(descriptor)
        raise
    with contextlib.suppress(OSError):  # a full disk takes no process id; the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
