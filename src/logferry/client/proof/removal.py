"""Removes a name from a folder, or moves it to another, if it is still the name of the file that was examined.

Between a look at a path and its removal, the owner of the folder can exchange the file, or the folder, for a link to
something else. So folders are held open, names are looked up in them without following links, and the file is compared
right before each step. As root, it refuses folders that somebody else may change, as logrotate does. Must never decide
whether a file may go.
"""

import contextlib
import errno
import grp
import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from logferry.client.finding.foreign_links import open_folder

CHANGED: Final = "it changed while it was verified"

# Another device, a file system without links, or a kernel that protects them.
_NO_LINKS: Final = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

FileState = tuple[int, ...]
"""Device, inode, size and time of the last change of the content."""


class NamedFile:
    """A regular file under a name, in a folder that is held open. For one `with`."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if the folder cannot be opened."""
        self._name = path.name
        self._folder = open_folder(path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)

    def state(self) -> FileState:
        """Return values that change when the name is given to another file, or the content changes. Raises OSError."""
        status = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a link, or another thing than a file: give the name of the file itself")
        return _state_of(status)

    def why_not_removable(self) -> str:
        """Return why root must not remove anything from the folder, or ""."""
        return _why_unsafe(self._folder, "its folder")

    def delete(self, expected: FileState) -> str:
        """Remove the name; return why not, or "". Raises OSError."""
        if self.state() != expected:
            return CHANGED
        os.unlink(self._name, dir_fd=self._folder)
        return ""

    def move(self, expected: FileState, target: Path) -> str:
        """Give the file the same name in another folder, which is created if it is missing; return why not, or "".

        Never replaces a file. Raises OSError.
        """
        with _made(target) as folder:
            if reason := _why_unsafe(folder, "the folder to move it to"):
                return reason
            try:
                if not self._link_to(folder):
                    self._copy_to(folder, expected)
                elif _state_of(os.stat(self._name, dir_fd=folder, follow_symlinks=False)) != expected:
                    os.unlink(self._name, dir_fd=folder)
                    return CHANGED
            except FileExistsError:
                return f"{target / self._name} already exists"
            with contextlib.suppress(FileNotFoundError):
                if self.state() == expected:
                    os.unlink(self._name, dir_fd=self._folder)
        return ""

    def _link_to(self, folder: int) -> bool:
        """Have the file in another folder too, as a hard link: that fails if the name is taken. Whether it can be done.

        Raises FileExistsError, or another OSError.
        """
        try:
            os.link(self._name, self._name, src_dir_fd=self._folder, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise
        return True

    def _copy_to(self, folder: int, expected: FileState) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _opened(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, self._folder) as source:
            status = os.fstat(source)
            copy = os.open(self._name, flags, 0o600, dir_fd=folder)
            try:
                with open(source, "rb", closefd=False) as reader, open(copy, "wb") as writer:
                    shutil.copyfileobj(reader, writer)
                    writer.flush()
                    with contextlib.suppress(PermissionError):
                        os.fchown(copy, status.st_uid, status.st_gid)
                    os.fchmod(copy, stat.S_IMODE(status.st_mode))
                    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
                    os.fsync(copy)
                if expected != _state_of(os.fstat(source)):
                    raise OSError(errno.EBUSY, CHANGED)
            except BaseException:
                os.unlink(self._name, dir_fd=folder)
                raise


def folders_left_alone(paths: Iterable[Path]) -> list[str]:
    """Return a sentence for each folder of these files from which root must not remove anything."""
    found = []
    for path in sorted({path.parent for path in paths}):
        with contextlib.suppress(OSError):  # the removal reports it
            with _folder_opened(path) as folder:
                reason = _why_unsafe(folder, "it")
            if reason:
                found.append(f"nothing in {path} will be deleted or moved: {reason}")
    return found


@contextlib.contextmanager
def _folder_opened(path: Path) -> Iterator[int]:
    folder = open_folder(path)
    try:
        yield folder
    finally:
        os.close(folder)


def _state_of(status: os.stat_result) -> FileState:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _why_unsafe(folder: int, what: str) -> str:
    """Return who, other than root, may change a folder, if this process is root's; "" if nobody may."""
    if os.geteuid():
        return ""
    status = os.fstat(folder)
    is_sticky = status.st_mode & stat.S_ISVTX
    if status.st_uid:
        who, advice = f"user {_user(status.st_uid)}", "run this client as that user, or give the folder to root"
    elif status.st_mode & stat.S_IWOTH and not is_sticky:
        who, advice = "everybody", "protect the folder (`chmod o-w` or `chmod +t`)"
    elif status.st_mode & stat.S_IWGRP and status.st_gid and not is_sticky:
        who = f"group {_group(status.st_gid)}"
        advice = "run this client as a user of that group, or protect the folder (`chmod g-w` or `chmod +t`)"
    else:
        return ""
    return (
        f"{who} may change {what} and exchange the file for another one meanwhile, so root does not touch it: {advice}"
    )


def _user(number: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def _group(number: int) -> str:
    with contextlib.suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)


@contextlib.contextmanager
def _made(path: Path) -> Iterator[int]:
    folder = _make(path)
    try:
        yield folder
    finally:
        os.close(folder)


def _make(path: Path) -> int:
    """Open a folder, and create it and those above it if they are missing. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return open_folder(path)
    with _made(path.parent) as parent:
        if reason := _why_unsafe(parent, f"{path.parent}"):
            raise PermissionError(errno.EACCES, reason)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path.name, dir_fd=parent)
        return os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)


@contextlib.contextmanager
def _opened(name: str, flags: int, folder: int) -> Iterator[int]:
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
