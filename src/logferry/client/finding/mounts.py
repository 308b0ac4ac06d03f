"""Decides which file systems report every change to inotify: those that only this machine writes to.

Owns the list of local file systems. The kernel cannot report changes that another host makes on a network file system,
or that the host of a virtual machine makes in a shared folder. A file system that is not in the list is treated as
such: polling is always correct, only slower.
"""

import os
import re
from pathlib import Path
from typing import Final

_LOCAL: Final = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs", "nilfs2", "reiserfs", "ubifs"),
        *("tmpfs", "ramfs", "rootfs", "devtmpfs", "overlay", "aufs"),
        *("vfat", "msdos", "exfat", "ntfs3", "hfsplus", "udf", "ecryptfs"),
    )
)

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


class Mounts:
    """A snapshot of the mounts of this machine."""

    def __init__(self) -> None:
        self._mountinfo = _read_mountinfo()
        self._points = mount_points(self._mountinfo)

    def is_local(self, folder: str) -> bool:
        """Whether this kernel sees every change in a folder; False when it does not, or when that is unknown."""
        try:
            fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
            try:
                fdinfo = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
            finally:
                os.close(fd)
        except (OSError, AttributeError):  # AttributeError: without O_PATH this is not Linux
            return False
        return file_system(self._mountinfo, mount_id(fdinfo)) in _LOCAL

    def is_point(self, path: str) -> bool:
        """Whether `path` is a mount point. A file that is a mount point is reported to the watch of another folder."""
        return path in self._points


def _read_mountinfo() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def mount_id(fdinfo: str) -> str:
    """Return the id of the mount of an open file, "" if the kernel does not report it (proc_pid_fdinfo(5))."""
    fields = dict(line.split(":", 1) for line in fdinfo.splitlines() if ":" in line)
    return fields.get("mnt_id", "").strip()


def mount_points(mountinfo: str) -> frozenset[str]:
    """Return the mount points, with `\\040` and other octal escapes decoded."""
    fields = (line.split(" ", 5) for line in mountinfo.splitlines())
    return frozenset(_ESCAPE.sub(lambda code: chr(int(code[1], 8)), place[4]) for place in fields if len(place) > 5)


def file_system(mountinfo: str, mount: str) -> str:
    r"""Return the type of the file system of a mount, "" if it is not listed (proc_pid_mountinfo(5)).

    A line is `ID parent device root mount-point options [tags...] - type source options`. Spaces in paths are written
    as `\040`, so splitting at spaces is safe. The mount is looked up by its id: paths would be ambiguous where one
    mount covers another.
    """
    for line in mountinfo.splitlines():
        place, _, what = line.partition(" - ")
        if place.split(" ", 1)[0] == mount:
            return what.split(" ", 1)[0]
    return ""
