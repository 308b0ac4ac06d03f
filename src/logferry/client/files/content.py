"""The bytes of a source, addressed by offset: the seam between the storage of those bytes and the line reader.

Owns the protocol and its simplest implementation, an open file. Must never interpret the bytes.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from logferry.errors import SourceError, cause_of


class Content(Protocol):
    """Bytes by offset. All methods raise OSError when the file system fails."""

    @property
    def is_stream(self) -> bool:
        """Whether the size is known only after all bytes have been read."""

    @property
    def problems(self) -> Sequence[str]:
        """Why bytes are missing from what has been read so far; empty if none are."""

    def pread(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset`; fewer only when no more are available now."""

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


def open_regular(path: Path) -> int:
    """Open a regular file and return its descriptor. Raises SourceError, or FileNotFoundError when it is missing."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer; the flag has no effect on regular files.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
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
