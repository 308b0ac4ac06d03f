"""The lock of a data folder: by one process that writes, a server or a rebuild.

Two files, and the folder. Another user can lock the folder and is ignored, so the second file is what still excludes
others if somebody removes the first one.
"""

from pathlib import Path
from typing import Final

from logferry.folder_lock import LOCK_FILES, FolderLock, lock_folder, lock_holder

LOCK_NAMES: Final = (*LOCK_FILES, ".lock")


def lock_data_folder(data_dir: Path) -> FolderLock:
    """Lock a data folder for this process. Raises FolderInUse, or OSError."""
    return lock_folder(data_dir, files=LOCK_NAMES)


def holder_of(data_dir: Path) -> str | None:
    """Return the id of the process that has locked a data folder, as `lock_holder` does."""
    return lock_holder(data_dir, files=LOCK_NAMES)
