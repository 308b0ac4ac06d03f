"""The bytes of standard input or a FIFO: read from a descriptor without waiting, and kept until they are acked.

Owns the memory of what was read, since it exists nowhere else, and the limit of that memory. Must never wait for the
producer, and never read more than there is room for: the producer waits instead.
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

from logferry.client.files.content.replay_buffer import BLOCK_BYTES, ReplayBuffer
from logferry.errors import cause_of

logger = logging.getLogger(__name__)

# The name under which standard input is stored and reported.
NAME: Final = "stdin"

# More than the raw lines behind a full window and a full prefetch queue. Only lines that are not shipped (blank or
# excluded) can fill it.
_MAX_KEPT_BYTES: Final = 32 * 1024 * 1024

# A pipe holds 64 KiB by default, so the producer would have to wait whenever the reader is busy for a moment.
_PIPE_BYTES: Final = 1024 * 1024


class StdinContent:
    """The bytes (see Content) of a pipe, a terminal or a file, kept until they are trimmed.

    The reading thread takes bytes in and trims them; any thread may use `kept` and what `duplicate` returns.
    """

    is_stream = True

    def __init__(self, fd: int, *, max_line_bytes: int, name: str = NAME) -> None:
        self._fd = fd
        self._name = name
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        with contextlib.suppress(OSError):  # not a pipe, or the user has too many large pipes
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._buffer = ReplayBuffer(max_line_bytes=max_line_bytes)
        self._max_bytes = _MAX_KEPT_BYTES + 2 * max_line_bytes
        self._lock = threading.Lock()
        self.is_ended = False  # nothing more will be taken in
        self.problems: list[str] = []
        self.cut_ends: list[int] = []

    @property
    def has_room(self) -> bool:
        """Whether there is room to take in more."""
        return self._buffer.kept_bytes < self._max_bytes

    def pread(self, size: int, offset: int) -> bytes:
        """See Content. Takes in what is available, and never waits for more."""
        with self._lock:
            while self._buffer.end < offset + size and self.has_room and self._take(offset + size - self._buffer.end):
                pass
            return self._buffer.read(size, offset)

    def kept(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset` from those in memory. Safe in any thread."""
        with self._lock:
            return self._buffer.read(size, offset)

    def next_data(self, offset: int) -> int:
        """See Content."""
        return offset

    def size(self) -> int:
        """See Content: how many bytes were taken in so far."""
        return self._buffer.end

    def status(self) -> os.stat_result:
        """See Content."""
        return os.fstat(self._fd)

    def duplicate(self) -> "_ReadBytes":
        """See Content. The duplicate has only bytes that were taken in before."""
        return _ReadBytes(self)

    def close(self) -> None:
        """See Content. The descriptor belongs to the caller."""

    def trim(self, offset: int) -> None:
        """Free the memory of the bytes before `offset`."""
        with self._lock:
            self._buffer.trim(offset)

    def cut(self) -> None:
        """Take in nothing more. Bytes left in the pipe are lost unless another process reads them: report a problem."""
        self.is_ended = True
        self.cut_ends.append(self._buffer.end)
        left = array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.FIONREAD, left)
        if left[0]:
            self.problems.append(f"{left[0]} bytes of {self._name} were left unread")
            logger.error("%s", self.problems[-1])

    def _take(self, size: int) -> bool:
        """Read once, if that can be done without waiting; return whether any bytes came.

        A non-blocking descriptor would do as well, but the producer or the shell may share the descriptor with us. (If
        another program reads the same pipe, it may take the announced bytes; then this call waits for the next ones.)
        """
        if self.is_ended or not self._poll.poll(0):
            return False
        try:
            data = os.read(self._fd, min(size, BLOCK_BYTES))
        except BlockingIOError:
            return False
        except OSError as error:
            self.problems.append(f"cannot read all of {self._name}: {cause_of(error)}")
            logger.error("%s", self.problems[-1])
            self.cut_ends.append(self._buffer.end)
            data = b""
        self.is_ended = not data
        self._buffer.append(data)
        return bool(data)


class _ReadBytes:
    """The bytes taken in from standard input, for another thread."""

    is_stream = True
    problems: Sequence[str] = ()

    def __init__(self, content: StdinContent) -> None:
        self._content = content

    @property
    def cut_ends(self) -> Sequence[int]:
        """See Content."""
        return self._content.cut_ends

    def pread(self, size: int, offset: int) -> bytes:
        """See Content."""
        return self._content.kept(size, offset)

    def next_data(self, offset: int) -> int:
        """See Content."""
        return offset

    def size(self) -> int:
        """See Content."""
        return self._content.size()

    def status(self) -> os.stat_result:
        """See Content."""
        return self._content.status()

    def duplicate(self) -> "_ReadBytes":
        """See Content."""
        return self

    def close(self) -> None:
        """See Content."""
