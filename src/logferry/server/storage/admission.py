"""Admission: which batches of a source are stored. The one place that decides about offsets, in the writer thread.

Owns the positions and owners of open sources, and the changes that a group of deliveries makes to them.
Changes that could not be written are discarded and the group is judged again, so a retry begins where the first
attempt began. Recorded changes are applied, and the next group is judged by the result. Never writes a file.

Implements docs/protocol.md, rules E4, E5, E8 to E13, E20, E27, E28, E36 and E37.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from logferry import checksum
from logferry.protocol.messages.answers import BatchRefused, Position, WindowRecorded
from logferry.protocol.messages.repairs import EXTENT_BYTES
from logferry.protocol.messages.requests import BatchRequest, Note, Open, Skip, Window
from logferry.protocol.messages.writing import FOREIGN
from logferry.server.storage.deliveries import ReleaseSources, SourceRequest
from logferry.server.storage.log_names import log_of_source
from logferry.server.storage.loss_limits import LossCounts, LossLimits
from logferry.server.storage.owners import Owner
from logferry.server.storage.records import ExtentRow, LossRow, Placement, SourceRecords, SourceRow, WindowRow

# Positions kept in memory, 20 MB of them. Beyond that, the older half must be read from the records again.
MAX_ROWS: Final = 20_000


class SourceTable:
    """The owners of all open sources, and the positions of some; `records` has all positions.

    An open source takes about 200 bytes of memory, or a kilobyte while its position is here. Only the writer thread
    uses the table.
    """

    def __init__(self, records: SourceRecords) -> None:
        self._records = records
        self.rows: dict[str, SourceRow] = {}
        self.owners: dict[str, int] = {}  # sources to the numbers of connections
        self.loss_counts = LossCounts()

    def row(self, source: str) -> SourceRow | None:
        """Return the position of a source as recorded. Raises OSError."""
        return self.rows.get(source) or self._records.source(source)

    def begin_group(self) -> "GroupChanges":
        """Begin to judge a group."""
        return GroupChanges(self)

    def apply(self, changes: "GroupChanges") -> None:
        """Apply changes that have been recorded."""
        self.loss_counts.update(changes.loss_counts)
        self.rows.update(changes.rows)
        if len(self.rows) > MAX_ROWS:
            self.rows = dict(islice(self.rows.items(), len(self.rows) - MAX_ROWS // 2, None))
        for source, owner in changes.owners.items():
            if owner is None:
                self.owners.pop(source, None)
                self.rows.pop(source, None)
            else:
                self.owners[source] = owner


class GroupChanges:
    """What a group changes. `decide` each request, `place` each batch that was written, then `save`."""

    def __init__(self, table: SourceTable) -> None:
        self._table = table
        self._new: set[str] = set()
        self._adopted: set[str] = set()  # sources that had no owner
        self._moved: set[str] = set()
        self._extents: dict[tuple[str, int], ExtentRow] = {}
        self._losses: list[tuple[SourceRequest, SourceRow]] = []
        self._windows: list[tuple[SourceRequest, SourceRow]] = []
        self.rows: dict[str, SourceRow] = {}
        self.owners: dict[str, int | None] = {}
        self.loss_counts = LossCounts()
        self.repeats = 0

    @property
    def must_be_saved(self) -> bool:
        """Whether `save` has anything to record."""
        return bool(self._new or self._adopted or self._moved or self._losses or self._windows)

    @property
    def noted(self) -> dict[str, SourceRow]:
        """The sources that have lost something, as they were before this group moved them."""
        return {row.id: row for _, row in (*self._losses, *self._windows)}

    def decide(self, request: SourceRequest) -> bool:
        """Judge a request; return whether the payload of its batch is to be stored. Raises OSError."""
        message = request.message
        request.outcome = request.log = request.path = None
        if isinstance(message, ReleaseSources):
            self._release(request, message.sources)
        elif isinstance(message, Open):
            request.source = self._id_to_open(request.owner, message.source)
            request.outcome = self._open(request, message)
        else:
            request.source = self._opened_id(request, message.source)
            return self._decide_opened(request, message)
        return False

    def _decide_opened(self, request: SourceRequest, message: BatchRequest | Skip | Note | Window) -> bool:
        if not self._is_owner(request, request.source):
            if not isinstance(message, Note):
                request.outcome = self._refused(request, "another connection has opened this source since")
        elif isinstance(message, Window):
            self._add_window(request, self._row(request.source))
        elif isinstance(message, Note):
            self._add_loss(request, self._row(request.source))
        else:
            return self._move(request, message)
        return False

    def _id_to_open(self, owner: Owner, source: str) -> str:
        """Return the id under which the source is recorded, or will be, that an owner calls `source`."""
        if not owner.is_identity:
            return source
        row, own = self._row(source), owner.recorded_id(source)
        is_taken = row is not None and row.is_closed_to(owner)
        return own if is_taken or (row is None and self._row(own)) else source

    def _opened_id(self, request: SourceRequest, source: str) -> str:
        if request.owner.is_identity and self._is_owner(request, own := request.owner.recorded_id(source)):
            return own
        return source

    def place(self, request: SourceRequest, placement: Placement) -> None:
        """Note where the batch of a request was written. Must be called in the order of the requests."""
        batch = request.message
        assert isinstance(batch, BatchRequest)
        row = self.rows[request.source]
        size = len(batch.payload)
        extent = ExtentRow(batch.start, batch.end, batch.lines, batch.crc32, *placement, size)
        if row.last and not batch.split and _lies_back_to_back(row.last, extent):
            extent = _joined(row.last, extent, batch.payload)
        self._extents[request.source, extent.start] = extent
        self.rows[request.source] = row.extended(extent)

    def save(self, records: SourceRecords) -> None:
        """Record everything, within a transaction."""
        records.add_sources(self.rows[source] for source in self._new)
        records.set_owners(self.rows[source] for source in self._adopted - self._new)
        records.set_sources(self.rows[source] for source in self._moved - self._new)
        records.set_extents((source, extent) for (source, _), extent in self._extents.items())
        limits = LossLimits(records, self._table.loss_counts)
        for request, row in self._losses:
            message = request.message
            assert isinstance(message, Skip | Note)
            loss = LossRow(request.source, message.start, message.end, message.reason, _is_lost(message))
            request.path = row.path if limits.add_loss(loss) else None
        for request, row in self._windows:
            window = request.message
            assert isinstance(window, Window)
            values = (request.source, window.start, window.last_look, window.noticed, window.reason)
            request.path = row.path if limits.add_window(WindowRow(*values)) else None
        limits.finish()
        self.loss_counts = limits.counts

    def _open(self, request: SourceRequest, message: Open) -> Position | BatchRefused:
        row = self._row(request.source)
        if row is None:
            row = SourceRow(request.source, request.host, message.path, owner=request.owner.name)
            self._new.add(row.id)
        elif row.is_closed_to(request.owner):
            return BatchRefused(message.source, 0, FOREIGN, is_final=True)
        elif row.committed > message.known:
            self.repeats += 1  # the client will resend bytes that are already stored
        if not row.owner:
            row = row._replace(owner=request.owner.name)
            self._adopted.add(row.id)
        self.rows[row.id] = row
        self.owners[row.id] = request.connection
        return _position(message.source, row, is_answer_to_open=True)

    def _add_loss(self, request: SourceRequest, row: SourceRow | None) -> None:
        assert row  # it has an owner
        assert isinstance(request.message, Skip | Note)
        if request.message.start <= row.committed:  # else the batch of a note is refused, and comes again with its note
            self._losses.append((request, row))

    def _add_window(self, request: SourceRequest, row: SourceRow | None) -> None:
        assert row  # it has an owner
        self._windows.append((request, row))
        assert isinstance(request.message, Window)
        request.outcome = WindowRecorded(request.message.source)

    def _release(self, request: SourceRequest, sources: Iterable[str]) -> None:
        for source in sources:
            opened = self._opened_id(request, source)
            if self._is_owner(request, opened):
                self.owners[opened] = None

    def _move(self, request: SourceRequest, message: BatchRequest | Skip) -> bool:
        row = self._row(request.source)
        assert row  # it has an owner
        is_stored = False
        if message.end <= row.committed:
            self.repeats += isinstance(message, BatchRequest)
        elif message.start != row.committed:
            request.outcome = self._refused(request, f"it is stored up to {row.committed}, not {message.start}")
            return False
        elif isinstance(message, Skip):
            self._add_loss(request, row)
            row = row.moved(message.end, row.lines, row.crc32)
            self._moved.add(row.id)
        elif message.refusal:
            request.outcome = BatchRefused(message.source, row.committed, message.refusal, is_final=True)
            return False
        else:
            crc32 = checksum.extended(row.crc32, message.payload, message.crc32)
            row = row.moved(message.end, row.lines + message.lines, crc32)
            self._moved.add(row.id)
            is_stored = bool(message.payload)
            request.log = log_of_source(row.host, row.path, identity=request.owner.folder)
        self.rows[row.id] = row
        request.outcome = _position(message.source, row, is_answer_to_open=False)
        return is_stored

    def _row(self, source: str) -> SourceRow | None:
        return self.rows.get(source) or self._table.row(source)

    def _is_owner(self, request: SourceRequest, source: str) -> bool:
        owner = self.owners[source] if source in self.owners else self._table.owners.get(source)
        return owner == request.connection

    def _refused(self, request: SourceRequest, reason: str) -> BatchRefused:
        assert not isinstance(request.message, ReleaseSources)
        row = self._row(request.source)
        return BatchRefused(request.message.source, row.committed if row else 0, reason, is_final=False)


def _is_lost(message: Skip | Note) -> bool:
    return not isinstance(message, Skip) or message.lost


def _position(source: str, row: SourceRow, *, is_answer_to_open: bool) -> Position:
    """Return the position of a source that the client calls `source`."""
    return Position(source, row.committed, row.lines, row.crc32, is_answer_to_open)


def _lies_back_to_back(last: ExtentRow, new: ExtentRow) -> bool:
    return (
        last.bytes < EXTENT_BYTES
        and (last.segment, last.position + last.bytes) == (new.segment, new.position)
        and last.end == new.start
    )


def _joined(last: ExtentRow, new: ExtentRow, payload: bytes) -> ExtentRow:
    crc32 = checksum.extended(last.crc32, payload, new.crc32)
    place = last.segment, last.position, last.bytes + new.bytes
    return ExtentRow(last.start, new.end, last.lines + new.lines, crc32, *place)
