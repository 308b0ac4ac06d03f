"""Replacing a file so that a crash leaves the old content or the new, never a mixture.

Both ends keep records beside their data; what they may assume after a crash is said here once.
"""

import contextlib
import os
from pathlib import Path


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
