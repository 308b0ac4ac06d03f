"""What a store records besides the lines, as values: positions of sources, extents, losses, and segments.

Owns the rows that the disk store's ledger and the memory store keep, and `SourceRecords`, the part of both that
admission uses. Only values: never reads or writes a file. Rows are named tuples because the commands that look at
stored lines import them: dataclasses would make each of these commands begin 20 ms later.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from logferry.server.storage.log_names import LogName
from logferry.server.storage.owners import Owner

SegmentState = Literal["open", "closed", "expired"]
"""open: the store appends to it. closed: complete, never written again. expired: retention deletes its file."""

Compression = Literal["", "gzip", "zstd"]
"""How the file of a segment is compressed; "" if it is not."""


class ExtentRow(NamedTuple):
    """Bytes `[start, end)` of a source: `lines` lines, `bytes` bytes of NDJSON, at `position` in a segment."""

    start: int
    end: int
    lines: int
    crc32: int
    segment: int
    position: int
    bytes: int


class SourceRow(NamedTuple):
    """How far a source is stored, and its last extent, which the next batch may extend.

    `owner` is the name of who created it (see `Owner`), "" if the records do not say: then the next who opens it owns
    it.
    """

    id: str
    host: str
    path: str
    committed: int = 0
    lines: int = 0
    crc32: int = 0
    last: ExtentRow | None = None
    owner: str = ""

    def is_closed_to(self, owner: Owner) -> bool:
        """Whether the source belongs to somebody else than `owner`."""
        return not owner.may_use(self.owner)

    # For each batch: `_replace` takes longer than a call.

    def moved(self, committed: int, lines: int, crc32: int) -> "SourceRow":
        """Return the row once the source is stored up to `committed`."""
        return SourceRow(self.id, self.host, self.path, committed, lines, crc32, self.last, self.owner)

    def extended(self, last: ExtentRow) -> "SourceRow":
        """Return the row with another last extent."""
        return SourceRow(self.id, self.host, self.path, self.committed, self.lines, self.crc32, last, self.owner)


class SegmentRow(NamedTuple):
    """What a segment must hold: its length, lines and CRC-32. `path` is that of the plain file, relative to `segments`.

    `log` is None for segments from before the ledger recorded logs. `stored_bytes` is the size of a compressed file.
    """

    id: int
    path: str
    bytes: int = 0
    lines: int = 0
    crc32: int = 0
    state: SegmentState = "open"
    log: int | None = None
    compression: Compression = ""
    stored_bytes: int = 0


class LogRow(NamedTuple):
    """The folder of a log below `segments`, and what it has lines of.

    `identity` is the identity's folder, "" for the common tree. `host` and `path` are as the client gave them; lines of
    the plain protocol have no path.
    """

    id: int
    folder: str
    identity: str
    host: str
    path: str

    @property
    def name(self) -> LogName:
        """The log."""
        return LogName(self.host, self.path, self.identity)


class UnsyncedRow(NamedTuple):
    """Bytes at `position` of a segment; a row with a higher `id` was added later."""

    id: int
    segment: int
    position: int
    data: bytes


class LossRow(NamedTuple):
    """Bytes `[start, end)` of a source are not stored as they were."""

    source: str
    start: int
    end: int
    reason: str
    is_lost: bool = True  # False: nobody asked for them, or they are stored elsewhere
    number: int = 0  # in the ledger; known once it is read from there

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LossRow) and self[:-1] == other[:-1]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:-1])


class WindowRow(NamedTuple):
    """Bytes from `start` on may have been written between two times, in milliseconds of Unix time, and are gone."""

    source: str
    start: int
    last_look: int
    noticed: int
    reason: str


class DamageRow(NamedTuple):
    """The extent of a source that begins at `start`, and lies in a segment, has other bytes than were stored.

    A source of "" stands for lines without a source: `start` is then the number of the segment.
    """

    source: str
    start: int
    segment: int


class Placement(NamedTuple):
    """Where lines were written: the number of the segment, and the byte in it where they begin."""

    segment: int
    position: int


class SourceRecords(Protocol):
    """Where a store records positions, extents and losses: the ledger, or memory."""

    def source(self, source_id: str, /) -> SourceRow | None:
        """Return the position of a source, and its last extent. Raises OSError."""

    def add_sources(self, rows: Iterable[SourceRow], /) -> None:
        """Record new sources."""

    def set_owners(self, rows: Iterable[SourceRow], /) -> None:
        """Record the owners of sources that had none."""

    def set_sources(self, rows: Iterable[SourceRow], /) -> None:
        """Record new positions of sources."""

    def set_extents(self, extents: Iterable[tuple[str, ExtentRow]], /) -> None:
        """Record extents, each with the id of its source; one with the same start is replaced."""

    def add_loss(self, loss: LossRow, /) -> bool:
        """Record bytes that are not stored as they were; return whether they were not recorded before."""

    def add_window(self, window: WindowRow, /) -> bool:
        """Record an unknown window; return whether it was not recorded before."""

    def count_losses(self, source_id: str, most: int, /) -> int:
        """Return how many losses of a source are recorded, at most `most`."""

    def count_windows(self, source_id: str, most: int, /) -> int:
        """Return how many unknown windows of a source are recorded, at most `most`."""

    def has_loss(self, loss: LossRow, /) -> bool:
        """Whether a loss is recorded by itself."""

    def join_loss(self, loss: LossRow, /) -> bool:
        """Record a row that stands for several losses (loss_limits.py); join it with such a row if there is one.

        Returns whether what is recorded has changed.
        """

    def join_window(self, window: WindowRow, /) -> bool:
        """Record a row that stands for several unknown windows, as above."""
