"""The bytes of standard input: taken from a descriptor without waiting, and kept in memory until they are acked.

Owns the memory of what was read, since nothing else has it, and the limit of that memory. Must never wait for the
producer, and never take more than there is room for: then the producer waits.
"""

import contextlib
import fcntl
import logging
import os
import select
import termios
import threading
from array import array
from collections.abc import Sequence
from typing import Final

from logferry.client.files.replay_buffer import BLOCK_BYTES, ReplayBuffer
from logferry.errors import cause_of

logger = logging.getLogger(__name__)

# The name under which standard input is stored and reported.
NAME: Final = "stdin"

# More than a window and a queue full of rendered lines were made of. Only lines that are not shipped (blank, or
# excluded) can fill it.
_MAX_KEPT_BYTES: Final = 32 * 1024 * 1024

# A pipe has room for 64 KiB by default, so its writer would wait while its reader is busy for a moment.
_PIPE_BYTES: Final = 1024 * 1024


class StdinContent:
    """The bytes (see Content) that come from a pipe, a terminal or a file, until they are trimmed.

    The reading thread takes them in and trims them; `kept`, and what `twin` returns, are for any thread.
    """

    is_stream = True

    def __init__(self, fd: int, *, max_line_bytes: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        with contextlib.suppress(OSError):  # it is not a pipe, or the user has too many large ones
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._spool = ReplayBuffer(max_line_bytes=max_line_bytes)
        self._max_bytes = _MAX_KEPT_BYTES + 2 * max_line_bytes
        self._lock = threading.Lock()
        self.is_ended = False  # no more will come
        self.problems: list[str] = []

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return self._spool.kept_bytes < self._max_bytes

    def pread(self, size: int, offset: int) -> bytes:
        """See Content. Take in what is there, and never wait for more."""
        with self._lock:
            while self._spool.end < offset + size and self.has_room and self._take(offset + size - self._spool.end):
                pass
            return self._spool.read(size, offset)

    def kept(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset` of those that were read before. Safe in any thread."""
        with self._lock:
            return self._spool.read(size, offset)

    def size(self) -> int:
        """See Content: how many bytes were read so far."""
        return self._spool.end

    def status(self) -> os.stat_result:
        """See Content."""
        return os.fstat(self._fd)

    def twin(self) -> "_ReadBytes":
        """See Content. The twin only has bytes that were read before."""
        return _ReadBytes(self)

    def close(self) -> None:
        """See Content. The descriptor belongs to the caller."""

    def trim(self, offset: int) -> None:
        """Free the memory of what is before `offset`."""
        with self._lock:
            self._spool.trim(offset)

    def cut(self) -> None:
        """Take in nothing more. What is in the pipe already is lost unless somebody else reads it, and is a problem."""
        self.is_ended = True
        left = array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.FIONREAD, left)
        if left[0]:
            self.problems.append(f"{left[0]} bytes of {NAME} were there and were not read any more")
            logger.error("%s", self.problems[-1])

    def _take(self, size: int) -> bool:
        """Read once, if that can be done without waiting; return whether something came.

        A descriptor that does not block would do as well, but the producer, or the shell, may share it with us. (If
        another program reads the same pipe it may take what was announced; then this waits for what comes next.)
        """
        if self.is_ended or not self._poll.poll(0):
            return False
        try:
            data = os.read(self._fd, min(size, BLOCK_BYTES))
        except BlockingIOError:
            return False
        except OSError as error:
            self.problems.append(f"cannot read all of {NAME}: {cause_of(error)}")
            logger.error("%s", self.problems[-1])
            data = b""
        self.is_ended = not data
        self._spool.append(data)
        return bool(data)


class _ReadBytes:
    """The bytes that were read from standard input, for another thread."""

    is_stream = True
    problems: Sequence[str] = ()

    def __init__(self, content: StdinContent) -> None:
        self._content = content

    def pread(self, size: int, offset: int) -> bytes:
        """See Content."""
        return self._content.kept(size, offset)

    def size(self) -> int:
        """See Content."""
        return self._content.size()

    def status(self) -> os.stat_result:
        """See Content."""
        return self._content.status()

    def twin(self) -> "_ReadBytes":
        """See Content."""
        return self

    def close(self) -> None:
        """See Content."""
