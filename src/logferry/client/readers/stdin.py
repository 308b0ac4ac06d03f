"""The reader of standard input, which is one source: what another program writes is shipped as it comes, until it ends.

Owns when reading ends. Nothing is read before there is room for it, so a full window, or a server that is away, makes
the producer wait. What was read exists nowhere else: it stays in memory until it is acked, and is delivered even when
the run is asked to stop. A later run cannot go on with it.
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
from logferry.client.files.line_reader import SourceFile
from logferry.client.readers.base import losses_if_unreachable
from logferry.client.readers.input_rules import InputRules
from logferry.client.readers.stdin_content import NAME, StdinContent
from logferry.config import InputSettings
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source

logger = logging.getLogger(__name__)

# Ctrl-C ends the producer as well as the client: what the producer still writes, and its end, come within this time.
_PRODUCER_END_S: Final = 0.5


class StdinReader:
    """Reads lines from a descriptor until it ends.

    The reading thread writes, except that `stop` may be called from any thread and only sets the time to end at.
    """

    def __init__(
        self, settings: InputSettings, fd: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Read from `fd`, standard input unless another one is given. Raises SourceError when it cannot be read."""
        self._fd = _standard_input() if fd is None else fd
        _reject_unreadable(self._fd)
        self._clock = clock
        self._input = InputRules(settings)
        self._content = StdinContent(self._fd, max_line_bytes=settings.max_line_bytes)
        self._file = SourceFile(Path(NAME), max_line_bytes=settings.max_line_bytes, content=self._content)
        self._file.identity = (0, 0)  # not a file: a later one that happens to have a pipe's inode is another source
        self._file.read_again(None)
        self._lost: list[Loss] = []
        self._kept_from = 0  # the beginning of the first line that can be read again
        self._grown_at = clock()
        self._stop_at: float | None = None
        self._is_cut = False  # it was stopped before its end
        self.revision = 0

    @property
    def is_finished(self) -> bool:
        """Whether the input has ended, and everything was read."""
        return self._is_read and not self._is_cut

    @property
    def is_draining(self) -> bool:
        """See Reader: until it is acked, what was read may have to be read again from memory."""
        return not self._is_read or self._file.source.committed < self._file.offset

    @property
    def is_busy(self) -> bool:
        """Whether the end of a long line is being searched for, or the input has ended but for its last line."""
        return self._file.is_scanning or (self._content.is_ended and not self._is_read)

    @property
    def wake_fds(self) -> Sequence[int]:
        """See Reader. A file is always readable, so its descriptor is only given while there is room to read."""
        return (self._fd,) if self._content.has_room and not self._content.is_ended else ()

    @property
    def patience_s(self) -> float:
        """See Reader: acked bytes are freed, and events are completed by time."""
        return 0.0

    @property
    def problems(self) -> Sequence[str]:
        """See Reader."""
        return self._content.problems

    @property
    def _is_read(self) -> bool:
        return self._content.is_ended and self._file.offset >= self._content.size()

    def poll(self) -> None:
        """See Reader: free the memory of what is acked."""
        self._kept_from = self._file.source.committed
        self._content.trim(self._kept_from - TAIL_BYTES)

    def stop(self) -> None:
        """See Reader. Whatever stops the client may stop the producer too: wait a moment for what it still writes."""
        self._stop_at = self._clock() + _PRODUCER_END_S

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """See Reader. A last line without a newline is a line."""
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

    def rewind(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """See Reader. What was acked is not in memory any more: the server should have it."""
        file, start = self._file, offset or 0
        if source is not file.source:
            self._lost += losses_if_unreachable(source, offset)
            return
        file.read_again(offset, one_by_one_until=one_by_one_until)
        if start < self._kept_from:
            self._lost.append(Loss(file.source, start, self._kept_from, "acked before, and gone when it was asked for"))
            file.read_again(self._kept_from, one_by_one_until=one_by_one_until)

    def duplicate(self, source: Source) -> SourceFile | None:
        """See Reader. Only what is not acked can be read from the duplicate."""
        return self._file.twin() if source is self._file.source else None

    def close(self) -> None:
        """See Reader. The source ends with this run; the descriptor stays open."""
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
