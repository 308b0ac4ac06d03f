"""The state folder: whose it is, who may open what is in it, and which process may write there.

Owns the modes of its files and the messages to a user who cannot have the folder. Must never read a record.
"""

from pathlib import Path
from typing import Final

from logferry.errors import StateError, cause_of
from logferry.folder_lock import FolderInUse, FolderLock, lock_folder
from logferry.permissions import Privacy, advice

FILE_NAME: Final = "checkpoints.json"

# The client's id is a secret: it proves that a source is the client's.
_RECORDS: Final = (FILE_NAME, "losses.json", "acknowledged.json", "status.json", "lock", "last-look")
_PRIVACY: Final = Privacy(0o700, 0o600, lambda name: name.startswith(_RECORDS))


def lock_state_folder(folder: Path) -> FolderLock:
    """Make the folder, if there is none, and lock it: without the lock, two clients would store the same lines.

    Raises StateError when another process uses the folder or this user may not lock it; OSError when nobody can use it.
    """
    try:
        _PRIVACY.make(folder)
        return lock_folder(folder)
    except FolderInUse as error:
        raise StateError(
            f"cannot use the state folder {folder}: another logferry (process {error.holder}) is using it; "
            "give this one its own with --state-dir"
        ) from None
    except PermissionError as error:
        if not folder.is_dir():  # nobody uses it, and nothing is in it
            raise
        raise StateError(
            f"cannot lock the state folder {folder}: {cause_of(error)}{advice(folder / 'lock', error)}, or give "
            "this client its own with --state-dir"
        ) from None
