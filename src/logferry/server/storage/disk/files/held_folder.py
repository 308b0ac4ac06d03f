"""Folders that are held open, so that what is done in them is done there, whatever takes their names meanwhile.

Root rebuilds in folders of other users, who can exchange a folder for a link between the check of it and its use. A
held folder is checked on its descriptor, and everything below it is reached through that. Follows the same links as the
rest of the store (regular.py). Never writes.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# Where the system leads from a descriptor to what is open there, and not to what has its name now. Without it (not
# Linux, or no /proc), a rebuild works by the names.
_DESCRIPTORS: Final = Path("/proc/self/fd")


# A flag to open a link itself; only Linux has it.
_HOLD_LINK: Final[int | None] = getattr(os, "O_PATH", None)


class HeldFolder:
    """A folder by its descriptor, which belongs to the caller. `name` is for messages."""

    def __init__(self, descriptor: int, name: Path) -> None:
        self.descriptor = descriptor
        self.name = name

    @property
    def path(self) -> Path:
        """A path that leads into the held folder."""
        return _DESCRIPTORS / str(self.descriptor) if _DESCRIPTORS.is_dir() else self.name

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return identity_of(os.fstat(self.descriptor))

    @contextlib.contextmanager
    def below(self, relative: str) -> Iterator["HeldFolder"]:
        """Hold a folder below this one. Raises OSError, also for a link that may not be followed."""
        descriptor = os.dup(self.descriptor)
        try:
            for name in relative.split("/"):
                inner = _opened(name, descriptor)
                os.close(descriptor)
                descriptor = inner
            yield HeldFolder(descriptor, self.name / relative)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """Give the files in an OSError the names that people know."""
        try:
            yield
        except OSError as error:
            held = f"{self.path}/"
            if isinstance(error.filename, str) and error.filename.startswith(held):
                error.filename = str(self.name / error.filename.removeprefix(held))
            raise


def identity_of(status: os.stat_result) -> tuple[int, int]:
    """Return device and inode."""
    return status.st_dev, status.st_ino


def _opened(name: str, parent: int) -> int:
    try:
        return os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        if not stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise
        if os.geteuid() != 0:
            return os.open(name, _FLAGS, dir_fd=parent)
        if _HOLD_LINK is None:  # nobody can say whose link it was that was followed
            raise
        return _followed_for_root(name, parent, error)


def _followed_for_root(name: str, parent: int, error: OSError) -> int:
    """Open the folder that a link leads to, if root may follow it.

    The link itself is held open, and where it leads is read from there: another link may have its name by now.
    """
    assert _HOLD_LINK is not None
    link = os.open(name, _HOLD_LINK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        status = os.fstat(link)
        if not stat.S_ISLNK(status.st_mode):
            raise error
        descriptor = os.open(os.readlink("", dir_fd=link), _FLAGS, dir_fd=parent)
    finally:
        os.close(link)
    if status.st_uid not in (0, os.fstat(descriptor).st_uid):
        os.close(descriptor)
        raise OSError(errno.ELOOP, "it is a link to a folder of another user", name) from error
    return descriptor
