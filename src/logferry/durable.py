"""Replaces files so that a crash leaves the old content or the new, never a mixture.

Owns what client and server may assume after a crash about a record that they keep beside their data. Must never
interpret the content.
"""

import contextlib
import os
from pathlib import Path
from typing import Self


def replace_file(path: Path, content: bytes, *, mode: int = 0o600, is_synced: bool = True) -> None:
    """Replace (or create) a file so that a crash at any moment leaves the old content or the new, never a mixture.

    Without `is_synced`, this holds only for a crash of the process; a crash of the machine may leave any content or an
    empty file. Raises OSError; then the old file is unchanged (or replaced, if only syncing the folder failed), and the
    temporary file is removed.
    """
    with Replacement(path, mode=mode, is_synced=is_synced) as replacement:
        replacement.write(content)
        replacement.commit()


class Replacement:
    """What takes the place of a file, as `replace_file` does, written piece by piece. Its methods raise OSError.

    Leaving the `with` without a commit removes what was written, and leaves the old file.
    """

    def __init__(self, path: Path, *, mode: int = 0o600, is_synced: bool = True) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}.new")
        self._is_synced = is_synced
        self._is_done = False
        self.size = 0
        # A new file: one that a crash left, or that somebody else put there, may have other permissions.
        self._temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self._temporary, flags, mode), "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_done:
            return
        with contextlib.suppress(OSError):
            self._file.close()  # flushes, which may fail as the last write did
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        self._file.write(piece)
        self.size += len(piece)

    def commit(self) -> None:
        """Put what was written in the place of the file."""
        self._file.flush()
        if self._is_synced:
            os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self._path)
        self._is_done = True
        if self._is_synced:
            sync_folder(self._path.parent)


def sync_folder(path: Path) -> None:
    """Sync the names of the files in a folder to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
