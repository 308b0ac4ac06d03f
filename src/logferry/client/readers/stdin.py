"""The reader of standard input or a FIFO, which is one source: it ships what others write, until the input ends.

Owns when reading ends. It reads nothing before there is room for it, so a full window or an unreachable server makes
the producer wait (backpressure). What was read exists nowhere else: the reader keeps it in memory until it is acked,
and the client delivers it even after a request to stop. A later run cannot resume it.
"""

import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.identity import TAIL_BYTES
from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.readers.base import losses_between, losses_if_unreachable
from logferry.client.readers.input_rules import InputRules
from logferry.client.readers.stdin_content import NAME, StdinContent
from logferry.config import InputSettings
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source
from logferry.rendering.encodings import bytes_in_file

logger = logging.getLogger(__name__)

# Ctrl-C ends the producer as well as the client: this is how long to wait for its last output and its end.
_PRODUCER_END_S: Final = 0.5


class StdinReader:
    """Reads lines from a descriptor until it ends.

    Only the reading thread writes, except that any thread may call `stop`, which only sets the time to stop at.
    """

    def __init__(
        self,
        settings: InputSettings,
        fd: int | None = None,
        *,
        name: str = NAME,
        closes_fd: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read from `fd`, by default standard input. Raises SourceError if it cannot be read."""
        self._fd = _standard_input() if fd is None else fd
        _reject_unreadable(self._fd)
        self._name = name
        self._closes_fd = closes_fd
        self._clock = clock
        self._input = InputRules(settings)
        limit = settings.max_line_bytes
        self._content = StdinContent(self._fd, max_line_bytes=bytes_in_file(limit), name=name)
        self._file = SourceFile(Path(name), max_line_bytes=limit, content=self._content)
        self._file.identity = (0, 0)  # not a file: a later file that happens to have the pipe's inode is another source
        self._file.rewind(None)
        self._lost: list[Loss] = []
        self._kept_from = 0  # the beginning of the first line that can be read again
        self._grown_at = clock()
        self._stop_at: float | None = None
        self._is_cut = False  # reading stopped before the end of the input
        self.revision = 0

    @property
    def is_finished(self) -> bool:
        """Whether the input has ended, and everything was read."""
        return self._is_read and not self._is_cut

    @property
    def is_draining(self) -> bool:
        """See Reader: until everything is acked, it may have to be read again from memory."""
        return not self._is_read or self._file.source.committed < self._file.offset

    @property
    def is_busy(self) -> bool:
        """See Reader: the end of a long line is being searched for, or the input has ended but is not fully read."""
        return self._file.is_scanning or (self._content.is_ended and not self._is_read)

    @property
    def wake_fds(self) -> Sequence[int]:
        """See Reader. A file is always readable, so its descriptor is only given while there is room to read."""
        return (self._fd,) if self._content.has_room and not self._content.is_ended else ()

    @property
    def patience_s(self) -> float:
        """See Reader: acked bytes must be freed, and time alone may complete an event."""
        return 0.0

    @property
    def problems(self) -> Sequence[str]:
        """See Reader."""
        return self._content.problems

    @property
    def _is_read(self) -> bool:
        return self._content.is_ended and self._file.offset >= self._content.size()

    def poll(self) -> None:
        """See Reader: free the memory of acked bytes."""
        self._kept_from = self._file.source.committed
        self._content.trim(self._kept_from - TAIL_BYTES)

    def stop(self) -> None:
        """See Reader. What stops the client may stop the producer too: wait a moment for its last output."""
        self._stop_at = self._clock() + _PRODUCER_END_S

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """See Reader. A last line without a newline counts as a line."""
        self.poll()
        now = self._clock()
        if self._stop_at is not None and now >= self._stop_at and not self._content.is_ended:
            self._is_cut = True
            self._content.cut()
        is_final = self._content.is_ended  # as of before this read: what it takes in may be half a line
        is_settled = now - self._grown_at >= self._input.settings.multiline_timeout
        before = self._content.size()
        self._input.prepare(self._file, ends=is_final)
        chunk = self._file.read(max_lines=max_lines, is_final=is_final, is_settled=is_settled)
        if self._content.size() > before:
            self._grown_at = now
        return chunk

    def take_losses(self) -> list[Loss]:
        """See Reader."""
        lost, self._lost = self._lost, []
        return lost

    def rewind(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """See Reader. Acked bytes are no longer in memory: the server should have them."""
        file, start = self._file, offset or 0
        if source is not file.source:
            self._lost += losses_if_unreachable(source, offset)
            return
        file.rewind(offset, one_by_one_until=one_by_one_until)
        if start < self._kept_from:
            gone = "acked before, and gone when it was asked for"
            self._lost += losses_between(file.source, start, self._kept_from, gone)
            file.rewind(self._kept_from, one_by_one_until=one_by_one_until)

    def unacked(self) -> list[str]:
        """Return a sentence if not all that was read is acked."""
        committed, read = self._file.source.committed, self._file.offset
        return [f"{self._name} is acked only up to byte {committed} of {read}"] if committed < read else []

    def duplicate(self, source: Source) -> SourceFile | None:
        """See Reader. The duplicate holds only unacked bytes."""
        return self._file.duplicate() if source is self._file.source else None

    def close(self) -> None:
        """See Reader. The source ends with this run; standard input stays open."""
        self._file.source.is_finished = True
        if self._closes_fd:
            os.close(self._fd)
            self._closes_fd = False

    def report(self) -> list[FileReport]:
        """See Reader."""
        file, source = self._file, self._file.source
        return [
            FileReport(
                self._name,
                self._name,
                source.id,
                size=self._content.size(),
                offset=file.offset,
                committed=source.committed,
                problem=next(iter(self.problems), ""),
                format=file.rendering.format,
            )
        ]


def _standard_input() -> int:
    """Return the descriptor of standard input. Raises SourceError if there is none: 0 may be another file then."""
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
