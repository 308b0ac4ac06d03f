"""Replaces files so that a crash leaves the old content or the new, never a mixture.

Owns what client and server may assume after a crash about a record that they keep beside their data. Must never
interpret the content.
"""

import contextlib
import os
from pathlib import Path


def replace_file(path: Path, content: bytes, *, mode: int = 0o600, is_synced: bool = True) -> None:
    """Replace (or create) a file so that a crash at any moment leaves the old content or the new, never a mixture.

    Without `is_synced`, this holds only for a crash of the process; a crash of the machine may leave any content or an
    empty file. Raises OSError; then the old file is unchanged (or replaced, if only syncing the folder failed), and the
    temporary file is removed.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        # A new file: one that a crash left, or that somebody else put there, may have other permissions.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
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
    """Sync the names of the files in a folder to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
