"""The operating system's file calls that the store makes, in one place, so that tests can put failing ones there."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from logferry import durable

# Linux takes 1024 pieces in one writev; every system that Python runs on takes at least 16.
IOV_MAX: Final = os.sysconf("SC_IOV_MAX") if os.sysconf("SC_IOV_MAX") > 0 else 16


class Files:
    """The operating system's file calls that the store makes. Tests put failing ones in its place."""

    def make_folder(self, path: Path) -> None:
        """Create one folder if it is missing."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o750)

    def open_for_append(self, path: Path) -> int:
        """Open a file at its end, creating it if it is missing; return the descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
        """Append some of `pieces` (at most IOV_MAX of them); return how many bytes were taken."""
        return os.writev(descriptor, pieces)

    def sync(self, descriptor: int) -> None:
        """Return when the file's content and length are on the disk."""
        getattr(os, "fdatasync", os.fsync)(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Return when the names of the files in a folder are on the disk."""
        durable.sync_folder(path)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file back to `size` bytes."""
        os.truncate(path, size)

    def delete(self, path: Path) -> None:
        """Remove a file; it may be gone already."""
        path.unlink(missing_ok=True)


def write_all(files: Files, descriptor: int, pieces: Sequence[bytes]) -> None:
    """Append all of `pieces`, however little the system takes at a time. Raises OSError."""
    for start in range(0, len(pieces), IOV_MAX):
        _write_some(files, descriptor, list(pieces[start : start + IOV_MAX]))


def _write_some(files: Files, descriptor: int, pieces: list[bytes | memoryview]) -> None:
    remaining = sum(map(len, pieces))
    while True:
        written = files.write(descriptor, pieces)
        remaining -= written
        if not remaining:
            return
        while written >= len(pieces[0]):
            written -= len(pieces.pop(0))
        pieces[0] = memoryview(pieces[0])[written:]


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError say which file it is about."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
