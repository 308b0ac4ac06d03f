"""Where chunks come from: what a run asks of any reader, whether it reads files once, follows them, or reads a pipe.

Owns the `Reader` protocol; every reader passes one contract suite, tests/client/readers/test_reader_contract.py. A
reader must never wait: `read` returns what is there now, and the descriptors in `wake_fds` say when to ask again.
"""

from collections.abc import Sequence
from typing import Protocol

from logferry.client.files.line_reader import SourceFile
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source


class Reader(Protocol):
    """Where chunks come from.

    One thread constructs a reader, polls, reads and closes it. Any thread may call `stop`, `duplicate`, `report` and
    read `revision`. Whoever delivers the chunks writes `committed` of their sources.
    """

    @property
    def is_finished(self) -> bool:
        """Whether everything was read; only `rewind` can make a finished reader give another chunk."""

    @property
    def is_busy(self) -> bool:
        """Whether `read` should be called again at once although it returned None."""

    @property
    def revision(self) -> int:
        """A number that grows whenever `report` would name other files, another state of one, or another problem."""

    @property
    def wake_fds(self) -> Sequence[int]:
        """File descriptors that become readable when there may be something to read, and stay so until `poll`."""

    @property
    def patience_s(self) -> float:
        """For how many seconds `poll` need not be called as long as none of `wake_fds` is readable.

        0 where changes are only found by looking, or may come by time alone: then `poll` is called every poll interval.
        """

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read and never will be, one sentence each."""

    @property
    def is_draining(self) -> bool:
        """Whether, after `stop`, something must still be delivered because it exists nowhere else."""

    def stop(self) -> None:
        """Take in nothing more. Safe in any thread."""

    def poll(self) -> None:
        """Look for changes, and let go of what is acked. Raises SourceError for what waiting cannot mend."""

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk of at most `max_lines` lines, or None when there is nothing now.

        The chunks of a source are in order, without gaps other than the losses. Raises SourceError.
        """

    def take_losses(self) -> list[Loss]:
        """Return the losses that were found since the last call, in the order in which they were found."""

    def rewind(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """Read a source again from `offset`, the beginning of a line; from there to `one_by_one_until` line by line.

        With None its file is read from the beginning, as another source. What cannot be read again becomes a loss.
        """

    def duplicate(self, source: Source) -> SourceFile | None:
        """Open a source's file a second time, with a position of its own; None when the file is closed.

        Any thread may call this; the caller closes what it gets.
        """

    def close(self) -> None:
        """Release all files."""

    def report(self) -> list[FileReport]:
        """Return how far each file is. Safe in any thread."""


def losses_if_unreachable(source: Source, offset: int | None) -> list[Loss]:
    """Return what is lost when a source cannot be read again: its file is closed, or holds something else by now."""
    start, end = offset or 0, source.read_until
    return [Loss(source, start, end, "gone when it was to be read again")] if start < end else []
