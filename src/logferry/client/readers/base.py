"""Where chunks come from: what the delivery engine asks of a reader, and what a reader says of its files."""

from collections.abc import Sequence
from typing import Protocol

from logferry.client.files.line_reader import SourceFile
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source


class Reader(Protocol):
    """Where chunks come from."""

    @property
    def is_finished(self) -> bool:
        """Whether there will never be another chunk."""

    @property
    def is_busy(self) -> bool:
        """Whether `read` should be called again at once although it returned None."""

    @property
    def revision(self) -> int:
        """A number that grows whenever `report` would name other files, another state of one, or another problem."""

    @property
    def wake_fds(self) -> Sequence[int]:
        """File descriptors that become readable when there may be something to read; `poll` takes the news."""

    @property
    def patience_s(self) -> float:
        """For how many seconds `poll` need not be called as long as none of `wake_fds` is readable.

        0 where only looking tells, or where time alone may change something: then it is called every poll interval.
        """

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read and will not come, a sentence each."""

    @property
    def is_draining(self) -> bool:
        """Whether, after `stop`, something has still to be delivered because it exists nowhere else."""

    def stop(self) -> None:
        """Take no more from where it comes. Safe in any thread."""

    def poll(self) -> None:
        """Look at the file system. Raises SourceError for what waiting cannot mend."""

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk of at most `max_lines` lines, or None when there is nothing now."""

    def take_losses(self) -> list[Loss]:
        """Return what was found out since the last call not to be deliverable, in the order of its finding."""

    def send_back(self, source: Source, offset: int | None, one_by_one_until: int) -> None:
        """Read a source again (see BatchProducer), if its file is still open."""

    def duplicate(self, source: Source) -> SourceFile | None:
        """Open a source's file a second time, with a position of its own; None when the file is closed.

        Any thread may call this; the caller closes what it gets.
        """

    def close(self) -> None:
        """Release all files."""

    def report(self) -> list[FileReport]:
        """Say how far each file is, from any thread."""


def out_of_reach(source: Source, offset: int | None) -> list[Loss]:
    """Say what is lost when a source is to be read again whose file holds something else by now, or is closed."""
    start, end = offset or 0, source.read_until
    return [Loss(source, start, end, "gone when it was to be read again")] if start < end else []
