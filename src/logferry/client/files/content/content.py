"""The bytes of a source, addressed by offset: the seam between the storage of those bytes and the line reader.

Owns the protocol and its simplest implementation, an open file. Must never interpret the bytes.
"""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from logferry.client.finding.foreign_links import open_file
from logferry.errors import SourceError, cause_of


class Content(Protocol):
    """Bytes by offset. All methods raise OSError when the file system fails."""

    @property
    def is_stream(self) -> bool:
        """Whether the size is known only after all bytes have been read."""

    @property
    def problems(self) -> Sequence[str]:
        """Why bytes are missing from what has been read so far; empty if none are."""

    @property
    def cut_ends(self) -> Sequence[int]:
        """Where lines end that are known not to be whole, in order, as far as the bytes were read."""

    def pread(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset`; fewer only when no more are available now."""

    def next_data(self, offset: int) -> int:
        """Return an offset at or after `offset` up to which there are only NULs; `offset` itself if that is unknown."""

    def size(self) -> int:
        """Return the current size in bytes, as far as it is known."""

    def status(self) -> os.stat_result:
        """Return the status of the underlying file."""

    def duplicate(self) -> "Content":
        """Return the same content, read and closed independently. Also works after a rename or deletion."""

    def close(self) -> None:
        """Release the file."""


class FileContent:
    """The bytes of an open file."""

    is_stream = False
    problems: Sequence[str] = ()
    cut_ends: Sequence[int] = ()

    def __init__(self, fd: int) -> None:
        """Take over the descriptor."""
        self._fd = fd

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raise SourceError when `path` is not a readable regular file, FileNotFoundError when it is missing."""
        return cls(open_regular(path))

    def pread(self, size: int, offset: int) -> bytes:
        """See Content."""
        return os.pread(self._fd, size, offset)

    def next_data(self, offset: int) -> int:
        """See Content."""
        return next_data(self._fd, offset)

    def size(self) -> int:
        """See Content."""
        return os.fstat(self._fd).st_size

    def status(self) -> os.stat_result:
        """See Content."""
        return os.fstat(self._fd)

    def duplicate(self) -> Self:
        """See Content."""
        return type(self)(os.dup(self._fd))

    def close(self) -> None:
        """See Content."""
        os.close(self._fd)


def next_data(fd: int, offset: int) -> int:
    """Return the next offset that has a block on disk (see Content.next_data), or the size. Raises OSError."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # only a hole follows, or nothing
            return max(offset, os.fstat(fd).st_size)
        if error.errno == errno.EINVAL:  # the file system knows of no holes
            return offset
        raise


def open_regular(path: Path) -> int:
    """Open a regular file and return its descriptor. Raises SourceError, or FileNotFoundError when it is missing."""
    try:
        fd = open_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SourceError(str(path), cause_of(error)) from error
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            raise SourceError(str(path), "is a directory" if stat.S_ISDIR(mode) else "not a regular file")
    except OSError as error:
        os.close(fd)
        raise SourceError(str(path), cause_of(error)) from error
    except SourceError:
        os.close(fd)
        raise
    return fd
