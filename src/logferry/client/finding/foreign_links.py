"""Keeps a client of root from following symbolic links that lead to files of other users (`--follow-foreign-links`).

The owner of a log folder can put a link to any file into it, and root can read every file. Therefore root follows a
link to a file only if both have the same owner, and a link to a folder only if it belongs to root or to the folder's
owner. Owns this rule and its switch, which holds for the process. Must never trust a path: the rule is checked against
an open descriptor, because a path may lead elsewhere a moment later.
"""

import errno
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry.printable import quoted

logger = logging.getLogger(__name__)

# The kernel follows at most 40 links in a row.
_MAX_LINKS: Final = 40

# How often to open a file that is renamed or replaced meanwhile.
_ATTEMPTS: Final = 5

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # opening a FIFO must not wait for a writer


@dataclass(slots=True)
class _Policy:
    """The switch. Set once, before the first file is opened."""

    follows: bool = False


_policy: Final = _Policy()


def follow_foreign_links(is_wanted: bool) -> None:
    """Follow links to files of other users from now on, or not; log once if root follows them."""
    if is_wanted and not _policy.follows and not os.geteuid():
        logger.warning("following links to files of other users (--follow-foreign-links)")
    _policy.follows = is_wanted


class ForeignLink(PermissionError):
    """A link on the way to a file leads to something of another user; `strerror` is a sentence about it."""


def open_file(path: str | Path) -> int:
    """Open a file for reading and return its descriptor. Raises ForeignLink, another OSError, or FileNotFoundError."""
    if _policy.follows or os.geteuid():
        return os.open(path, _FLAGS)
    for _ in range(_ATTEMPTS):
        fd, is_link = _open(path)
        with _closed_on_error(fd):
            if (not is_link and _is_in_its_folder(fd, path)) or _is_reached_by(path, os.fstat(fd)):
                return fd
        os.close(fd)
    raise OSError(errno.EBUSY, "it is replaced all the time", str(path))


def open_folder(path: str | Path) -> int:
    """Open a folder to look up names in it. Raises ForeignLink, or another OSError."""
    if _policy.follows or os.geteuid():
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = _walk(path)
    with _closed_on_error(fd):
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    return fd


def place_reached(path: str, identity: tuple[int, int]) -> str:
    """Return the real path of the file that `path` leads to, which has this device and inode.

    Opening a file by its real path shows none of the links that led to it: they are checked here. Raises ForeignLink,
    FileNotFoundError if `path` leads to another file by now, or another OSError.
    """
    place = os.path.realpath(path)
    if place != path:
        check_reached(path, identity)
    return place


def check_reached(path: str, identity: tuple[int, int]) -> None:
    """Check that root may follow the links of `path`, and that they lead to this file; raises as `place_reached`."""
    status = status_reached(path)
    if status and (status.st_dev, status.st_ino) != identity:
        raise FileNotFoundError(errno.ENOENT, "it leads to another file now", path)


def status_reached(path: str) -> os.stat_result | None:
    """Return the status of what `path` leads to; None if any link may be followed. Raises ForeignLink, or OSError."""
    if _policy.follows or os.geteuid():
        return None
    fd = _walk(path)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def check_beside(name: str, path: str, opened: os.stat_result) -> None:
    """Check that root may read a file, opened by `path`, that is said to have had the followed `name` before.

    It is in the folder of the name, or beside what a link led to; there, the link's owner chose the folder, and root
    reads only files of that owner. Raises ForeignLink, or another OSError.
    """
    folder, base = os.path.split(name)
    if _policy.follows or os.geteuid() or folder == os.path.dirname(path):
        return
    fd = open_folder(folder or os.curdir)
    try:
        if not _is_in(fd, os.path.basename(path), opened):
            _check(base, _owner_of_link(fd, base), opened)
    finally:
        os.close(fd)


def _owner_of_link(folder: int, name: str) -> int:
    """Return who chose where the link `name` in a folder leads: of a link that is gone, the owner of the folder."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid
    except FileNotFoundError:
        return os.fstat(folder).st_uid


def foreign_link(path: str | Path) -> str:
    """Return why root does not follow `path`, or ""."""
    if _policy.follows or os.geteuid():
        return ""
    try:
        os.close(_walk(path))
    except ForeignLink as error:
        return str(error.strerror)
    except OSError:
        pass
    return ""


def _is_in(folder: int, name: str, opened: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(name, dir_fd=folder, follow_symlinks=False), opened)
    except FileNotFoundError:
        return False


def _open(path: str | Path) -> tuple[int, bool]:
    """Open a file; return the descriptor, and whether its name is a link."""
    try:
        return os.open(path, _FLAGS | os.O_NOFOLLOW), False
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return os.open(path, _FLAGS), True


def _is_in_its_folder(fd: int, path: str | Path) -> bool:
    """Whether a file, whatever its name is by now, is in the very folder that `path` names: the usual case."""
    try:
        place = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # there is no /proc
        return False
    folder = place.rpartition("/")[0]
    return folder == os.fspath(path).rpartition("/")[0] or folder == os.path.dirname(os.path.abspath(path))


def _is_reached_by(path: str | Path, opened: os.stat_result) -> bool:
    """Whether `path` leads to this file now, by links that root may follow. Raises ForeignLink."""
    try:
        fd = _walk(path)
    except FileNotFoundError:
        return False
    try:
        return os.path.samestat(os.fstat(fd), opened)
    finally:
        os.close(fd)


def _walk(path: str | Path) -> int:
    """Return a descriptor of what `path` leads to, reached name by name. Raises ForeignLink, or another OSError."""
    pending = os.fspath(path).split("/")[::-1]
    links: list[tuple[int, str, int]] = []  # how many names are left when the target is reached, the link, its owner
    fd = os.open("/" if pending[-1] == "" else ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with _closed_on_error(fd) as here:
        followed = 0
        while pending:
            name = pending.pop()
            if name not in ("", "."):
                found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here.fd)
                status = os.fstat(found)
                if stat.S_ISLNK(status.st_mode):
                    with _closed(found):
                        target = os.readlink("", dir_fd=found)
                    followed += 1
                    if followed > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                    links.append((len(pending), name, status.st_uid))
                    pending += target.split("/")[::-1]
                    if target.startswith("/"):
                        here.replace(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
                    continue
                here.replace(found)
            while links and len(pending) <= links[-1][0]:
                _check(*links.pop()[1:], os.fstat(here.fd))
    return here.fd


def _check(link: str, owner: int, target: os.stat_result) -> None:
    """Raises ForeignLink if root must not follow a link of `owner` to `target`."""
    is_folder = stat.S_ISDIR(target.st_mode)
    if owner == target.st_uid or (is_folder and not owner):
        return
    what = "folder" if is_folder else "file"
    raise ForeignLink(
        errno.EACCES,
        f"the link {quoted(link)} belongs to user {owner} and leads to a {what} of user {target.st_uid}; "
        "root follows such links only with --follow-foreign-links",
    )


class _Here:
    """The descriptor that a walk has reached."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def replace(self, fd: int) -> None:
        """Go on to another descriptor."""
        self.fd, former = fd, self.fd
        os.close(former)


@contextmanager
def _closed_on_error(fd: int) -> Iterator[_Here]:
    here = _Here(fd)
    try:
        yield here
    except BaseException:
        os.close(here.fd)
        raise


@contextmanager
def _closed(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)
