"""The seam where chunks come from: readers that read files once, follow files, or read a pipe.

Owns the `Reader` protocol; every reader passes one contract suite, tests/client/readers/test_reader_contract.py. A
reader must never wait: `read` returns what is available now, and the descriptors in `wake_fds` signal when to retry.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from logferry.client.files.lines.line_reader import SourceFile
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source


class Reader(Protocol):
    """Where chunks come from.

    One thread constructs a reader, polls, reads and closes it. Any thread may call `stop`, `duplicate` and `report`,
    and read `revision`. The engine, which delivers the chunks, writes `committed` of their sources.
    """

    @property
    def is_finished(self) -> bool:
        """Whether everything was read; only `rewind` can make a finished reader return another chunk."""

    @property
    def is_busy(self) -> bool:
        """Whether `read` should be called again immediately although it returned None."""

    @property
    def revision(self) -> int:
        """A number that grows whenever the files in `report`, the state of one of them, or a problem changes."""

    @property
    def wake_fds(self) -> Sequence[int]:
        """File descriptors that become readable when there may be something to read, and stay so until `poll`."""

    @property
    def patience_s(self) -> float:
        """For how many seconds `poll` need not be called while none of `wake_fds` is readable.

        0 where only `poll` finds changes, or where time alone may cause one: then `poll` is called every poll interval.
        """

    @property
    def problems(self) -> Sequence[str]:
        """What could not be read and never will be: one message each."""

    @property
    def is_draining(self) -> bool:
        """Whether, after `stop`, the run must go on delivering because some data exists nowhere else."""

    def stop(self) -> None:
        """Take in nothing more. Safe in any thread."""

    def poll(self) -> None:
        """Look for changes, and release what is acked. Raises SourceError for what waiting cannot cure."""

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk of at most `max_lines` lines, or None when there is none now.

        The chunks of a source are in order, without gaps other than the losses. Raises SourceError.
        """

    def take_losses(self) -> list[Loss]:
        """Return the losses found since the last call, in the order in which they were found."""

    def rewind(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """Read a source again from `offset`, the beginning of a line; one line per chunk up to `one_by_one_until`.

        With an `offset` of None, the file is read from its beginning as a new source. Bytes that cannot be read again
        become a loss.
        """

    def duplicate(self, source: Source) -> SourceFile | None:
        """Open a source's file a second time, with a position of its own; None if the file is closed.

        Safe in any thread; the caller closes the duplicate.
        """

    def close(self) -> None:
        """Release all files."""

    def report(self) -> Iterable[FileReport]:
        """Return how far each file is read and acked, perhaps piece by piece. Safe in any thread."""


def losses_if_unreachable(source: Source, offset: int | None) -> list[Loss]:
    """Return what is lost when a source cannot be read again: its file is closed, or holds other content by now."""
    start, end = offset or 0, source.read_until
    why = source.sent_back_because
    reason = f"{why}; the file is gone" if why else "gone when it was to be read again"
    return losses_between(source, start, end, reason)


def losses_between(source: Source, start: int, end: int, reason: str) -> list[Loss]:
    """Return what is lost of a range that cannot be read again: all of it but what other stores have."""
    losses = []
    for first, last in (*source.elsewhere, (end, end)):
        if start < min(first, end):
            losses.append(Loss(source, start, min(first, end), reason))
        start = max(start, last)
    return losses
