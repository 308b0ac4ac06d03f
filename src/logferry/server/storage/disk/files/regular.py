"""Opens the files of a store, and only files: never a link, a named pipe or whatever else has the name of a segment.

Anybody who may write into the data folder can put such things there. Opening a pipe waits for its other end, and a link
leads elsewhere; so no file below `segments` is opened in any other way.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

# Nothing has the name of a file: it is gone, or something that is not a folder has the name of a folder above it. Such
# a name concerns the segments below it, and must not stop anything else.
GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

# Flags of an open that neither waits nor follows a link.
_CAREFUL: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}


def is_folder(path: Path | str) -> bool:
    """Whether a path is a folder, or a link to one.

    For root, a link counts only if it belongs to root or to the owner of what it leads to: the owner of a data folder
    must not have root write into the folders of others.
    """
    try:
        status = os.stat(path)
        owner = os.lstat(path).st_uid
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and (os.geteuid() != 0 or owner in (0, status.st_uid))


def kind_of(mode: int) -> str:
    """Return what a file of this mode is if it is not a file: "a named pipe"; "" for a file."""
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")


def open_file(path: Path, flags: int = os.O_RDONLY, mode: int = 0o640) -> int:
    """Open a file and return the descriptor. Raises OSError; with EBADMSG if something else has its name.

    EBADMSG, because the name is there and the bytes of the file are not.
    """
    return open_sized(path, flags, mode)[0]


def open_sized(path: Path | str, flags: int, mode: int = 0o640) -> tuple[int, int]:
    """Open a file as `open_file` does; return the descriptor and the size of the file."""
    try:
        descriptor = os.open(path, flags | _CAREFUL, mode)
    except OSError as error:
        if kind := _kind_at(path):
            raise _not_a_file(path, kind) from error
        raise
    status = os.fstat(descriptor)
    if kind := kind_of(status.st_mode):
        os.close(descriptor)
        raise _not_a_file(path, kind)
    return descriptor, status.st_size


def size_of(path: Path) -> int:
    """Return the size of a file. Raises OSError, as `open_file` does."""
    status = path.lstat()
    if kind := kind_of(status.st_mode):
        raise _not_a_file(path, kind)
    return status.st_size


def _kind_at(path: Path | str) -> str:
    try:
        return kind_of(os.lstat(path).st_mode)
    except OSError:
        return ""


def _not_a_file(path: Path | str, kind: str) -> OSError:
    return OSError(errno.EBADMSG, f"it is {kind}, not a file", str(path))
