"""Standard input as one source: what another program writes is shipped as it comes, until it ends.

Nothing is read before somebody has room for it, so a full window, or a server that is away, makes the producer wait.
What was read exists nowhere else: it stays in memory until it is acked, and is delivered also when the run is asked to
stop. A later run cannot go on with it.
"""

import contextlib
import fcntl
import logging
import os
import select
import stat
import sys
import termios
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.identity import TAIL_BYTES
from logferry.client.files.line_reader import SourceFile
from logferry.client.files.replay_buffer import BLOCK_BYTES, Spool
from logferry.client.readers.base import out_of_reach
from logferry.client.readers.input_rules import Input
from logferry.config import InputSettings
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source

logger = logging.getLogger(__name__)

# The name under which it is stored and told of.
NAME: Final = "stdin"

# More than a window and a queue full of rendered lines were made of. Only lines that are not shipped (blank, or
# excluded) can fill it.
_SPOOL_BYTES: Final = 32 * 1024 * 1024

# A pipe has room for 64 KiB by default, so its writer would wait while its reader looks elsewhere for a moment.
_PIPE_BYTES: Final = 1024 * 1024

# Ctrl-C ends the producer as well as us: what it still writes, and its end, come within this time.
_LAST_WORDS_S: Final = 0.5


class StdinContent:
    """The bytes (see Content) that come from a pipe, a terminal or a file, as far as they are not given up yet."""

    is_stream = True

    def __init__(self, fd: int, *, max_line_bytes: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        with contextlib.suppress(OSError):  # it is no pipe, or the user has too many large ones
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._spool = Spool(max_line_bytes=max_line_bytes)
        self._max_bytes = _SPOOL_BYTES + 2 * max_line_bytes
        self._lock = threading.Lock()
        self.is_ended = False  # no more will come
        self.problems: list[str] = []

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return self._spool.kept_bytes < self._max_bytes

    def pread(self, size: int, offset: int) -> bytes:
        """See Content. Takes what is there, and never waits for more."""
        with self._lock:
            while self._spool.end < offset + size and self.has_room and self._take(offset + size - self._spool.end):
                pass
            return self._spool.read(size, offset)

    def kept(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset`, of those that were read before. For any thread."""
        with self._lock:
            return self._spool.read(size, offset)

    def size(self) -> int:
        """See Content: how much was read so far."""
        return self._spool.end

    def status(self) -> os.stat_result:
        """See Content."""
        return os.fstat(self._fd)

    def twin(self) -> "_Kept":
        """See Content. What the twin is asked for must have been read."""
        return _Kept(self)

    def close(self) -> None:
        """See Content. The descriptor is not ours."""

    def trim(self, offset: int) -> None:
        """Nobody will ask for what is before `offset`."""
        with self._lock:
            self._spool.trim(offset)

    def cut(self) -> None:
        """Take no more. What is in the pipe already is lost when nobody else reads it, and is a problem."""
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


class _Kept:
    """What was read from standard input, as another thread may look at it."""

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

    def twin(self) -> "_Kept":
        """See Content."""
        return self

    def close(self) -> None:
        """See Content."""


class StdinReader:
    """Reads lines from a descriptor until it ends."""

    def __init__(
        self, settings: InputSettings, fd: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read from `fd`, standard input unless another one is given. Raises SourceError when it cannot be read."""
        self._fd = _standard_input() if fd is None else fd
        _reject_unreadable(self._fd)
        self._clock = clock
        self._input = Input(settings)
        self._content = StdinContent(self._fd, max_line_bytes=settings.max_line_bytes)
        self._file = SourceFile(Path(NAME), max_line_bytes=settings.max_line_bytes, content=self._content)
        self._file.identity = (0, 0)  # no file: a later one that happens to have a pipe's inode is another source
        self._file.read_again(None)
        self._lost: list[Loss] = []
        self._kept_from = 0  # the beginning of the first line that can be read again
        self._grown_at = clock()
        self._stop_at: float | None = None
        self._is_cut = False  # it was stopped before its end
        self.revision = 0

    @property
    def is_finished(self) -> bool:
        """Whether its end has come, and everything was read."""
        return self._is_read and not self._is_cut

    @property
    def is_draining(self) -> bool:
        """See Reader: until it is acked, what was read may have to be read again from memory."""
        return not self._is_read or self._file.source.committed < self._file.offset

    @property
    def is_busy(self) -> bool:
        """Whether the end of a long line is being searched, or the end has come and the last line has not."""
        return self._file.is_scanning or (self._content.is_ended and not self._is_read)

    @property
    def wake_fds(self) -> Sequence[int]:
        """See Reader. A file is always readable, so wait for this only if something may be read."""
        return (self._fd,) if self._content.has_room and not self._content.is_ended else ()

    @property
    def patience_s(self) -> float:
        """See Reader: what is acked is given up, and lines that wait for others end by time."""
        return 0.0

    @property
    def problems(self) -> Sequence[str]:
        """See Reader."""
        return self._content.problems

    @property
    def _is_read(self) -> bool:
        return self._content.is_ended and self._file.offset >= self._content.size()

    def poll(self) -> None:
        """See Reader: give up what is acked."""
        self._kept_from = self._file.source.committed
        self._content.trim(self._kept_from - TAIL_BYTES)

    def stop(self) -> None:
        """See Reader. Whatever stops us may have stopped the producer too: its last words are waited for."""
        self._stop_at = self._clock() + _LAST_WORDS_S

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk; a last line without newline is a line."""
        self.poll()
        now = self._clock()
        if self._stop_at is not None and now >= self._stop_at and not self._content.is_ended:
            self._is_cut = True
            self._content.cut()
        is_final = self._content.is_ended  # asked for before, or a line could be ended by what is read in between
        is_settled = now - self._grown_at >= self._input.settings.multiline_timeout
        before = self._content.size()
        self._input.prepare(self._file)
        chunk = self._file.read(max_lines=max_lines, is_final=is_final, is_settled=is_settled)
        if self._content.size() > before:
            self._grown_at = now
        return chunk

    def take_losses(self) -> list[Loss]:
        """See Reader."""
        lost, self._lost = self._lost, []
        return lost

    def send_back(self, source: Source, offset: int | None, one_by_one_until: int) -> None:
        """See Reader. What was acked once is gone: the server should have it."""
        file, start = self._file, offset or 0
        if source is not file.source:
            self._lost += out_of_reach(source, offset)
            return
        file.read_again(offset, one_by_one_until=one_by_one_until)
        if start < self._kept_from:
            self._lost.append(Loss(file.source, start, self._kept_from, "acked before, and gone when it was asked for"))
            file.read_again(self._kept_from, one_by_one_until=one_by_one_until)

    def duplicate(self, source: Source) -> SourceFile | None:
        """See Reader. Only what is not acked can be read from it."""
        return self._file.twin() if source is self._file.source else None

    def close(self) -> None:
        """The source ends with this run, the descriptor does not."""
        self._file.source.is_finished = True

    def report(self) -> list[FileReport]:
        """See Reader."""
        file, source = self._file, self._file.source
        return [
            FileReport(
                NAME,
                NAME,
                source.id,
                size=self._content.size(),
                offset=file.offset,
                committed=source.committed,
                problem=next(iter(self.problems), ""),
                format=file.rendering.format,
            )
        ]


def _standard_input() -> int:
    """Return the number of standard input, unless the process has none: then something else may have its number."""
    if sys.stdin is None:
        raise SourceError(NAME, "it is closed")
    return 0


def _reject_unreadable(fd: int) -> None:
    try:
        status = os.fstat(fd)
    except OSError as error:
        raise SourceError(NAME, cause_of(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(NAME, "is a directory")
