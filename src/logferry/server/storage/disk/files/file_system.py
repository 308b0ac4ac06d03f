"""The store's file calls, in one place, so that tests can replace them with calls that fail.

Also what the store needs around these calls: complete writes of many pieces, concurrent syncs, and errors that name
their file.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from logferry import durable
from logferry.server.storage.disk.files.regular import open_file

# Linux accepts 1024 pieces in one writev; every system that Python runs on accepts at least 16.
IOV_MAX: Final = os.sysconf("SC_IOV_MAX") if os.sysconf("SC_IOV_MAX") > 0 else 16


# A thread costs more than it saves for fewer items than this, and more threads than this save nothing.
_MIN_ITEMS_PER_THREAD: Final = 8
_MAX_THREADS: Final = 16

Item = TypeVar("Item")


class FileSystem:
    """The operating system's file calls. No state: several threads call `sync` and `sync_folder` at the same time."""

    def make_folder(self, path: Path) -> None:
        """Create one folder if it is missing."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o750)

    def open_for_append(self, path: Path) -> int:
        """Open a file at its end, creating it if it is missing; return the descriptor."""
        return open_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def open_for_rewriting(self, path: Path) -> int:
        """Open a file to write anywhere in it, creating it if it is missing; return the descriptor."""
        return open_file(path, os.O_WRONLY | os.O_CREAT)

    def write_at(self, descriptor: int, data: bytes, position: int) -> None:
        """Write all of `data` at `position`."""
        while data:
            written = os.pwrite(descriptor, data, position)
            data, position = data[written:], position + written

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
        """Append some of `pieces` (at most IOV_MAX of them); return how many bytes were written."""
        return os.writev(descriptor, pieces)

    def sync(self, descriptor: int) -> None:
        """Return when the file's content and length are on the disk."""
        getattr(os, "fdatasync", os.fsync)(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Return when the names of the files in a folder are on the disk."""
        durable.sync_folder(path)

    def space(self, folder: Path) -> tuple[int, int]:
        """Return how many bytes are free for this process on the disk of a folder, and how many the disk has."""
        status = os.statvfs(folder)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    def truncate(self, path: Path | int, size: int) -> None:
        """Cut a file, which may be given by its descriptor, back to `size` bytes."""
        os.truncate(path, size)

    def delete(self, path: Path) -> None:
        """Remove a file; it may be gone already."""
        path.unlink(missing_ok=True)


def write_all(files: FileSystem, descriptor: int, pieces: Sequence[bytes]) -> None:
    """Append all of `pieces`, even if the system writes only part of them at a time. Raises OSError."""
    for start in range(0, len(pieces), IOV_MAX):
        _write_some(files, descriptor, list(pieces[start : start + IOV_MAX]))


def _write_some(files: FileSystem, descriptor: int, pieces: list[bytes | memoryview]) -> None:
    remaining = sum(map(len, pieces))
    while True:
        written = files.write(descriptor, pieces)
        remaining -= written
        if not remaining:
            return
        while written >= len(pieces[0]):
            written -= len(pieces.pop(0))
        pieces[0] = memoryview(pieces[0])[written:]


def for_each(action: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Call `action`, which waits for the disk, with each of `items`, in several threads if there are many items.

    A file system combines syncs that run at the same time (1000 small files on ext4: 0.1 s instead of 1 to 3 s). Raises
    the first error, after all threads have ended; some items are done then.
    """
    if len(items) <= _MIN_ITEMS_PER_THREAD:
        for item in items:
            action(item)
        return
    errors: list[Exception] = []

    def do_part(part: Sequence[Item]) -> None:
        try:
            for item in part:
                action(item)
        except Exception as error:  # the top of a worker: raised again below
            errors.append(error)

    # Daemons: a disk that never answers must not keep the process from ending.
    count = min(_MAX_THREADS, len(items) // _MIN_ITEMS_PER_THREAD)
    threads = [threading.Thread(target=do_part, args=(items[n::count],), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to an OSError that does not name its file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
