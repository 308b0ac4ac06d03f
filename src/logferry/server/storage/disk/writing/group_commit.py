"""Group commit: puts one group of deliveries on the disk, the segments first, then the ledger.

Admission judges the group (admission.py). The store appends its lines segment by segment, and syncs each segment once;
small writes to many segments are synced later (deferred_sync.py). Then one transaction of the ledger records the whole
group. So all deliveries of a group share the cost of its syncs, and no interval or batch size has to be tuned.

A crash may leave any part of the group that was being written. None of that part was acked, and none of it is in the
ledger; recovery moves it aside (recovery.py).
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from logferry.protocol.messages.requests import BatchRequest
from logferry.server.storage.admission import GroupChanges, SourceTable
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.disk.journals.journals import Journals
from logferry.server.storage.disk.journals.recorded_group import RecordedGroup
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.tables.times import TimesRow
from logferry.server.storage.disk.segments.deferred_sync import DeferredSync
from logferry.server.storage.disk.segments.held_back import log_of
from logferry.server.storage.disk.segments.segments import Payload, Segments
from logferry.server.storage.disk.writing.time_index import TimeIndex
from logferry.server.storage.log_names import MAX_NAMES, LogName, log_of_source
from logferry.server.storage.records import Placement
from logferry.server.storage.store import StoreCounters

CrashPoint = Callable[[str], None]

# Of a log: its folders, and a segment.
_MOST_NAMES: Final = MAX_NAMES + 1


def no_crash(_: str) -> None:
    """Do nothing at a crash point; tests end the process there instead."""


@dataclass(frozen=True, slots=True)
class WrittenGroup:
    """A group whose lines are in the segments, and the changes that the ledger must record."""

    stored: Sequence[Delivery]
    changes: GroupChanges
    times: Sequence[TimesRow]


class GroupCommit:
    """Stores one group after the other: `write`, `record`, `finish`. Only the writer thread calls these.

    The writer thread replaces `counters` as a whole; any thread may read it.
    """

    def __init__(
        self,
        ledger: Ledger,
        segments: Segments,
        *,
        deferred_sync: DeferredSync | None,
        journals: Journals,
        times: TimeIndex,
        check_space: Callable[[], object] = lambda: None,
        crash_point: CrashPoint = no_crash,
    ) -> None:
        """`check_space` raises OSError while the disk has too little room for anything new."""
        self._check_space = check_space
        self._ledger = ledger
        self._segments = segments
        self._sources = SourceTable(ledger)
        self._deferred_sync = deferred_sync
        self._journals = journals
        self._times = times
        self._crash_point = crash_point
        self.counters = StoreCounters()

    def write(self, group: Sequence[Delivery]) -> WrittenGroup:
        """Judge, append and sync a group. Raises OSError; then nothing of it is kept, and the caller may try again.

        Raises NamesRefusedError if only some of the group cannot be stored; nothing of it is kept then, either.

        After a failed sync the system may have dropped the written pages, and would report success the next time. So a
        retry always writes the group again from memory, and never only repeats the sync.
        """
        try:
            self._segments.undo_if_needed()
            if any(delivery.size for delivery in group):
                self._check_space()
            changes = self._sources.begin_group()
            stored = [delivery for delivery in group if _must_be_stored(delivery, changes)]
            self._crash_point("before append")
            placements = self._append(stored, changes)
            self._crash_point("after append")
            syncs = self._segments.sync()
            self._crash_point("after fsync")
        except OSError:
            with contextlib.suppress(OSError):  # the next attempt will undo it before writing
                self._segments.undo_if_needed()
            raise
        self.counters = replace(self.counters, syncs=self.counters.syncs + syncs)
        closed = [row.id for row in self._segments.changed_rows if row.state == "closed"]
        return WrittenGroup(stored, changes, self._times.add(stored, placements, closed))

    def record(self, written: WrittenGroup) -> None:
        """Record a group in the ledger, in one transaction. Raises OSError; then the caller tries again.

        The segments are synced already and stay as they are: after a crash, even a transaction that failed may turn out
        to be on the disk.
        """
        rows = self._segments.changed_rows
        if not rows and not written.changes.must_be_saved:
            return
        pieces = self._segments.deferred_pieces
        group = RecordedGroup(self._ledger, written.changes.noted)
        with self._ledger.transaction():
            self._ledger.set_segments(rows)
            self._ledger.set_times(written.times)
            self._ledger.add_unsynced(pieces)
            written.changes.save(group)
        self._journals.add(rows, group, self._ledger)
        if self._deferred_sync and pieces:
            self._deferred_sync.add(sum(len(data) for _, _, data in pieces))

    def finish(self, written: WrittenGroup) -> None:
        """Apply a recorded group: the next group builds on it."""
        self._segments.confirm_appended()
        self._sources.apply(written.changes)
        for delivery in written.stored:
            delivery.is_stored = True
        self.counters = self.counters.after_group(written.stored, repeats=written.changes.repeats)
        self._crash_point("after transaction")

    def end(self) -> None:
        """Record when the last lines of each segment were received. Raises OSError; then only readers look longer."""
        with self._ledger.transaction():
            self._ledger.set_times(self._times.close_all())

    def is_open(self, source: str) -> bool:
        """Whether a connection has opened a source and may move it."""
        return source in self._sources.owners

    def new_names(self, delivery: Delivery) -> int:
        """Return how many names of folders and files storing a delivery may need at most, 0 if its segment is open.

        As far as that is known before it is judged: a source that is new may have any path.
        """
        request = delivery.source_request
        opened = self._segments.opened
        if request is None:
            return opened.new_names(delivery.log)
        rows, owner = self._sources.rows, request.owner
        source = request.message.source if isinstance(request.message, BatchRequest) else ""
        row = rows.get(source) or rows.get(owner.recorded_id(source))
        if row is None:
            return _MOST_NAMES
        return opened.new_names(log_of_source(row.host, row.path, identity=owner.folder))

    def _append(self, stored: Sequence[Delivery], changes: GroupChanges) -> Sequence[Placement]:
        by_log: dict[LogName, list[int]] = {}
        for number, delivery in enumerate(stored):
            by_log.setdefault(log_of(delivery), []).append(number)
        self._segments.prepare(by_log)
        placements: dict[int, Placement] = {}
        for log, numbers in by_log.items():
            payloads = [_payload_of(stored[number]) for number in numbers]
            placements.update(zip(numbers, self._segments.append(log, payloads), strict=True))
        placed = [placements[number] for number in range(len(stored))]
        for delivery, placement in zip(stored, placed, strict=True):
            if delivery.source_request:
                changes.place(delivery.source_request, placement)
        return placed


def _must_be_stored(delivery: Delivery, changes: GroupChanges) -> bool:
    return changes.decide(delivery.source_request) if delivery.source_request else bool(delivery.pieces)


def _payload_of(delivery: Delivery) -> Payload:
    message = delivery.source_request and delivery.source_request.message
    return Payload(delivery.pieces, delivery.lines, message.crc32 if isinstance(message, BatchRequest) else None)
