"""Files that survive: replacing one at once, appending lines to one, and locking a folder for one process.

Both ends keep records beside their data; what either may assume after a crash is said here once.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

# Whoever asks whether a folder is locked (`lock_holder`) holds a lock himself for a moment: one that is refused is
# asked for again, so many times with such a pause.
_LOCK_ATTEMPTS: Final = 10
_LOCK_PAUSE_S: Final = 0.01

# A journal is read whole. With two million lines in it, a file that is larger was written by something else.
_MAX_JOURNAL_BYTES: Final = 1024 * 1024 * 1024


class FolderInUse(Exception):
    """Another process has locked the folder; `holder` is its process id, as text."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"in use by process {holder}")
        self.holder = holder


def replace_file(path: Path, content: bytes, *, mode: int = 0o600, is_synced: bool = True) -> None:
    """Replace (or create) a file so that a crash at any moment leaves the old content or the new, never a mixture.

    Without `is_synced` that holds for a crash of the process; one of the machine may leave anything, also nothing.
    Raises OSError; the old file is there then (the new one, if only its folder could not be synced), and no temporary
    one.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if is_synced:
                os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if is_synced:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Return when the names of the files in a folder are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Journal:
    """A file of lines that one process appends to, and replaces when it has grown too long; others may read it.

    Only whole lines count. What a crash, or a full disk, leaves of an append are some of its lines and perhaps the
    beginning of another one: that is passed over by whoever reads, and cut off by the next append.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._size: int | None = None  # of the whole lines; None when nobody knows what is in the file
        self._inode = 0

    def read(self) -> bytes:
        """Return what is there now; behind the last newline nothing counts. Raises OSError, ValueError if too large."""
        with open(self.path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size > _MAX_JOURNAL_BYTES:
                raise ValueError(f"it has more than {_MAX_JOURNAL_BYTES} bytes")
            content = file.read(status.st_size)
        self._inode = status.st_ino
        self.lines, self._size = content.count(b"\n"), content.rfind(b"\n") + 1
        return content

    @property
    def can_be_appended_to(self) -> bool:
        """Whether the file is the one that was read or written last, and what was written is known to be in it."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return self._size is not None and status.st_ino == self._inode and status.st_size >= self._size

    def append(self, lines: bytes) -> None:
        """Add lines, each with its newline; they are on the disk on return. Only if `can_be_appended_to`.

        Raises OSError; then some of the lines may be there until the next append or replacement.
        """
        size = self._size
        if size is None:
            raise ValueError("nobody knows where its lines end")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size > size:
                os.ftruncate(descriptor, size)
            _write_all(descriptor, lines, size)
            self._size = None  # when this fails, the kernel may take for written what is not
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._size = size + len(lines)
        self.lines += lines.count(b"\n")

    def replace(self, lines: bytes) -> None:
        """Let the file hold these lines only. Raises OSError as `replace_file` does."""
        self._size = None
        replace_file(self.path, lines)
        self._inode = self.path.stat().st_ino
        self._size, self.lines = len(lines), lines.count(b"\n")


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    """Write all of it; more than one system call is needed only on a disk that is just getting full."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def lock_folder(folder: Path) -> int:
    """Lock `folder/lock` for this process and write its id into it; return the descriptor that holds the lock.

    The lock ends with the process, however it ends. Raises FolderInUse, or OSError.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        _lock(descriptor)
    except BlockingIOError:
        holder = _read_holder(descriptor)
        os.close(descriptor)
        raise FolderInUse(holder) from None
    except OSError:
        os.close(descriptor)
        raise
    with contextlib.suppress(OSError):  # a full disk takes no process id; the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def lock_holder(folder: Path) -> str | None:
    """Return the id of the process that has locked `folder`, as text ("unknown" if it could not say); None if none has.

    Raises OSError when the lock cannot be looked at.
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
