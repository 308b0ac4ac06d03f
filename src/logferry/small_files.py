"""Reads small files that users name or that lie in a folder of ours: whole, bounded, and only if they are files.

A FIFO would make the reader wait, a device or a forged file would have no end. Owns what counts as a changed file. Must
never interpret the content.
"""

import errno
import os
import stat
from pathlib import Path


class NotAFile(ValueError):
    """Something else than a regular file has the name."""

    def __init__(self) -> None:
        super().__init__("it is not a regular file")


def read_small_file(path: Path, *, most: int) -> bytes:
    """Return the content of a file. Raises OSError, NotAFile, or ValueError if it has more than `most` bytes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a loop of links, a socket
            raise NotAFile from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFile
    with open(descriptor, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most} bytes")
    return content


def file_stamp(path: Path) -> object:
    """Return what changes when a file is replaced, written, or appears."""
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid
