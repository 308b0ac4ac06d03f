"""Locks a folder for one process, with flock(2): `folder/lock`, further files where there are some, and the folder.

Client and server lock the folder of their records. The files belong to the process's user alone, so nobody else can
lock them; they have the process id. The lock of the folder keeps a removed file from admitting a second process, and
excludes earlier versions, but every user who may open the folder can take it: that of another user is ignored. The
kernel releases the locks when the process ends, even after a crash. A process that only reads must never take a lock;
it calls `lock_holder`.
"""

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from logferry.permissions import give_to_owner_of

logger = logging.getLogger(__name__)

# `lock_holder` takes a shared lock for a moment to check whether a folder is locked. So `lock_folder` tries this many
# times, with this pause in between. It also tries again this often if a file is exchanged while it is being locked.
_LOCK_ATTEMPTS: Final = 10
_LOCK_PAUSE_S: Final = 0.01

# For the owner alone: a user who may open a file can lock it.
_MODE: Final = 0o600

LOCK_FILES: Final = ("lock",)


class FolderInUse(Exception):
    """Another process has locked the folder; `holder` is its process id, as text."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"in use by process {holder}")
        self.holder = holder


class FolderLock:
    """A locked folder; `close` releases it, as the end of the process does."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self._descriptors = list(descriptors)

    @property
    def folder(self) -> int:
        """The descriptor of the folder, which is open until `close`."""
        return self._descriptors[-1]

    def close(self) -> None:
        """Release the lock; a second time does nothing."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def lock_folder(folder: Path, *, files: Sequence[str] = LOCK_FILES) -> FolderLock:
    """Lock a folder for this process, and write its id into `files`; return the lock.

    With more than one file, removing one of them admits nobody even where the system does not show who has locked the
    folder (a process in another container). Raises FolderInUse, or OSError.
    """
    with contextlib.ExitStack() as opened:
        descriptors = [_locked_file(folder / name, opened) for name in files]
        itself = _open_folder(folder)
        opened.callback(os.close, itself)
        _lock_itself(folder, itself, is_decisive=len(files) == 1)
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # a full disk has no room for the process id; the lock holds without it
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        opened.pop_all()
    return FolderLock([*descriptors, itself])


def lock_holder(folder: Path, *, files: Sequence[str] = LOCK_FILES) -> str | None:
    """Return the id of the process that has locked `folder`, as text ("unknown" if not recorded); None if not locked.

    A user who may not open the files, which are the owner's, learns it from the folder. Raises OSError when the lock
    cannot be checked.
    """
    for name in files:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                if _is_locked(descriptor):
                    return _read_holder(descriptor)
            finally:
                os.close(descriptor)
    with contextlib.suppress(FileNotFoundError):
        itself = _open_folder(folder)
        try:
            with _if_it_can_be_locked():
                return "unknown" if _is_locked(itself) else None
        finally:
            os.close(itself)
    return None


def _locked_file(path: Path, opened: contextlib.ExitStack) -> int:
    """Lock a file that still has its name then: a lock of one that was removed would exclude nobody."""
    for _ in range(_LOCK_ATTEMPTS):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, _MODE)
        with contextlib.ExitStack() as attempt:
            attempt.callback(os.close, descriptor)
            _make_private(path, descriptor)
            try:
                _lock(descriptor)
            except BlockingIOError:
                if not _is_of_strangers(descriptor):
                    raise FolderInUse(_read_holder(descriptor)) from None
                _replace(path, descriptor)
                continue
            if _has_its_name(path, descriptor):
                opened.push(attempt.pop_all())
                return descriptor
    raise OSError(errno.EAGAIN, "somebody exchanges the file while it is being locked", str(path))


def _is_of_strangers(descriptor: int) -> bool:
    """Whether only other users have locked a file: it was open to them once, under an earlier version."""
    users = _holders(os.fstat(descriptor).st_ino).values()
    return bool(users) and not any(map(_is_own, users))


def _is_own(user: int) -> bool:
    return user in (os.getuid(), os.geteuid(), 0)


def _replace(path: Path, descriptor: int) -> None:
    logger.warning("another user's process has locked %s, which was open to others before; replacing the file", path)
    if _has_its_name(path, descriptor):
        path.unlink()


def _make_private(path: Path, descriptor: int) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EBADMSG, "it is not a file", str(path))
    if not status.st_size and status.st_nlink == 1:
        give_to_owner_of(path.parent, descriptor)  # new: root has made it, and the service must be able to open it
    if status.st_mode & 0o777 & ~_MODE:
        with contextlib.suppress(OSError):  # another user's: root uses the folder, or somebody has used it as root
            os.fchmod(descriptor, status.st_mode & _MODE)


def _has_its_name(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock_itself(folder: Path, descriptor: int, *, is_decisive: bool) -> None:
    """Lock the folder, unless another user has locked it. Raises FolderInUse.

    `is_decisive` says that a lock whose holder the system does not show counts as one of this user.
    """
    try:
        with _if_it_can_be_locked():
            _lock(descriptor)
    except BlockingIOError:
        holders = _holders(os.fstat(descriptor).st_ino)
        own = [str(process) for process, user in holders.items() if _is_own(user)]
        if own or (is_decisive and not holders):
            raise FolderInUse(own[0] if own else "unknown") from None
        who = ", ".join(f"process {process} of user {user}" for process, user in holders.items())
        logger.warning("%s has locked the folder %s, and is ignored", who or "a process of another user", folder)


def _holders(inode: int) -> dict[int, int]:
    """Return the processes that the system shows as holders of an flock(2) on an inode, each with its user."""
    found: dict[int, int] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines():
            fields = line.split()
            if fields[1:2] == ["FLOCK"] and fields[5].rpartition(":")[2] == str(inode):
                with contextlib.suppress(OSError, StopIteration):
                    found[int(fields[4])] = _user_of(int(fields[4]))
    return found


def _user_of(process: int) -> int:
    """Return who has started a process: not whose rights it has, which may be those of a program that it became."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Uid:"))


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


@contextlib.contextmanager
def _if_it_can_be_locked() -> Iterator[None]:
    """Ignore that a file system, such as NFS, has no locks of folders: the lock of the file must do there."""
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.EOPNOTSUPP):
            raise


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _lock(descriptor: int) -> None:
    for _ in range(_LOCK_ATTEMPTS - 1):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOCK_PAUSE_S)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_holder(descriptor: int) -> str:
    return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
