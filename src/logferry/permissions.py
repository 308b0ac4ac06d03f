"""Keeps what client and server record from other users: the folder, the files in it, and those of earlier versions.

A data folder contains lines, and everybody who can open its ledger can lock it; a state folder contains the client's
id, which proves that a source is the client's. Owns who may open them. Permissions are given when a file is created
and never widened afterwards. Must never touch the permissions of a folder that also holds what belongs to others.
"""

import contextlib
import logging
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry.errors import cause_of
from logferry.printable import quoted

logger = logging.getLogger(__name__)

_OTHERS: Final = stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Privacy:
    """Who may use a folder of records: `folder_mode` and `file_mode` are the widest permissions.

    `is_record` says whether a name in the folder belongs to the records.
    """

    folder_mode: int
    file_mode: int
    is_record: Callable[[str], bool]

    def make(self, folder: Path) -> None:
        """Create the folder if it is missing, closed to others; close one of an earlier version, and log that once.

        Nothing in the folder may be open in this process. Raises OSError if the folder cannot be created.
        """
        folder.mkdir(mode=self.folder_mode, parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # a folder that cannot be listed is reported where it is read
            names = os.listdir(folder)
            self._close(folder, [name for name in names if self.is_record(name)], is_shared=not self._owns_all(names))

    def create(self, path: Path) -> None:
        """Create an empty file if it is missing. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, flags, self.file_mode))

    def _owns_all(self, names: Sequence[str]) -> bool:
        return all(self.is_record(name) or name == "lost+found" for name in names)

    def _close(self, folder: Path, names: Sequence[str], *, is_shared: bool) -> None:
        status = folder.stat()
        is_open = bool(status.st_mode & (stat.S_IRWXG | _OTHERS) & ~self.folder_mode)
        changed = 0
        if is_open and (is_shared or status.st_mode & stat.S_ISVTX):
            if status.st_mode & _OTHERS:
                logger.warning(
                    "other users may open %s, which also holds other files; the records in it are closed to them, but "
                    "a folder of its own is safer",
                    quoted(str(folder)),
                )
        elif is_open:
            changed += self._narrow(folder, is_itself=True)
        changed += sum(self._narrow(folder / name) for name in names)
        if changed:
            logger.info("closed %s to other users, who could open it, or files in it", quoted(str(folder)))

    def _narrow(self, path: Path, *, is_itself: bool = False) -> bool:
        """Take permissions away from others; return whether there were any. Logs a failure."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_DIRECTORY if is_itself else os.O_NOFOLLOW)
        try:
            descriptor = os.open(path, flags)
        except OSError:
            return False  # a link, or a file that this user may not open: not one of this process's records
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            widest = self.folder_mode | stat.S_ISGID if is_folder else self.file_mode
            if not mode & ~widest:
                return False
            os.fchmod(descriptor, mode & widest)
        except OSError as error:
            if mode & _OTHERS:
                logger.warning(
                    "other users may open %s, and this user cannot change that: %s; change its owner or its mode",
                    *(quoted(str(path)), cause_of(error)),
                )
            return False
        finally:
            os.close(descriptor)
        return True


def give_to_owner_of(folder: Path, descriptor: int) -> None:
    """Give a new file to the owner of its data folder, if root has made it: a server must be able to open it.

    Raises OSError.
    """
    if os.geteuid() == 0:
        status = folder.stat()
        os.fchown(descriptor, status.st_uid, status.st_gid)


def is_open_to_others(path: Path) -> bool:
    """Whether users of neither the file's owner nor its group may open a file; False if that cannot be known."""
    try:
        return bool(path.stat().st_mode & _OTHERS)
    except OSError:
        return False


def advice(path: Path, error: OSError) -> str:
    """Return what somebody can do who may not open `path`: "; it belongs to ...", or "" for another error."""
    if not isinstance(error, PermissionError):
        return ""
    for place in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            owner = place.stat().st_uid
            return f"; {quoted(str(place))} belongs to {_user(owner)}: run this command as that user, or as root"
    return ""


def _user(number: int) -> str:
    import pwd  # late: only for a message

    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"the user with the number {number}"
