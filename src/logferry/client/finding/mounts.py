"""Which file systems tell of every change: those that no other machine writes to.

A change that another host makes on a network file system, or the host of a virtual machine in a shared folder, is not
seen by this kernel, so it cannot tell of it. A file system that is not known here counts as one of those: looking is
always right, it only takes longer.
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
    """The mounts that there are at one moment."""

    def __init__(self) -> None:
        self._mountinfo = _read_mountinfo()
        self._points = mount_points(self._mountinfo)

    def is_local(self, folder: str) -> bool:
        """Whether this kernel sees every change in a folder; False also when that cannot be found out."""
        try:
            fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
            try:
                fdinfo = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
            finally:
                os.close(fd)
        except (OSError, AttributeError):  # AttributeError: there is no O_PATH here, so this is not Linux
            return False
        return file_system(self._mountinfo, mount_id(fdinfo)) in _LOCAL

    def is_point(self, path: str) -> bool:
        """Whether something is mounted just there. A file that is belongs to another folder, which is told of it."""
        return path in self._points


def _read_mountinfo() -> str:
    try:
        return Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def mount_id(fdinfo: str) -> str:
    """Return the number of the mount that an open file is on, "" if it is not said (proc_pid_fdinfo(5))."""
    fields = dict(line.split(":", 1) for line in fdinfo.splitlines() if ":" in line)
    return fields.get("mnt_id", "").strip()


def mount_points(mountinfo: str) -> frozenset[str]:
    """Return the paths on which something is mounted; what is written as `\\040` and the like is one character."""
    fields = (line.split(" ", 5) for line in mountinfo.splitlines())
    return frozenset(_ESCAPE.sub(lambda code: chr(int(code[1], 8)), place[4]) for place in fields if len(place) > 5)


def file_system(mountinfo: str, mount: str) -> str:
    r"""Return the type of the file system of a mount, "" if it is not listed (proc_pid_mountinfo(5)).

    A line is `ID parent device root mount-point options [tags...] - type source options`. Spaces in paths are written
    as `\040`, so they do not disturb; and since the mount is known by its number, no path has to be compared, and none
    is mistaken that another mount has covered.
    """
    for line in mountinfo.splitlines():
        place, _, what = line.partition(" - ")
        if place.split(" ", 1)[0] == mount:
            return what.split(" ", 1)[0]
    return ""
