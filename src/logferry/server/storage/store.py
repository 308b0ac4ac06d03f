"""The seam between the server and what keeps the lines: `Store`, and the values that a store reports.

A connection submits deliveries (deliveries.py); the store decides about them in the order in which they were submitted,
keeps the lines, and calls back when they are as safe as its durability promises. Connections and sessions use only
what is declared here. Implementations: `DiskStore` (segments and a ledger on this machine) and `MemoryStore` (tests).
Every implementation passes tests/server/storage/test_store_contract.py.

Not part of the seam yet: an id that survives the move of a store (the ledger has no room for it in its present
version), and the repair of damaged extents (nothing asks for it).
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

from logferry.protocol.delivery_answers import Position
from logferry.protocol.delivery_reports import ReportPage
from logferry.server.storage.deliveries import AnyDelivery, Delivery, OnStored

OnFailure = Callable[[], None]


class StoreState(enum.Enum):
    """What a store does now; store_state.py has the table of changes."""

    NEW = "not opened yet"
    STORING = "storing"
    STALLED = "cannot store now, and tries again"
    CLOSING = "storing what was submitted, then closing"
    FAILED = "will store nothing any more"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """The largest batch that the store takes, in bytes of NDJSON; None: a store without a limit of its own.

    A replicated log has one (its largest message); the server announces the smaller of this and its own.
    """

    max_batch_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class StoreCounters:
    """What a store has done since it was opened."""

    lines_stored: int = 0
    bytes_stored: int = 0
    repeats: int = 0  # batches that were stored before: recognised, and not stored again
    groups: int = 0  # deliveries that were stored together
    syncs: int = 0  # files that were synced with their group
    recovered_bytes: int = 0  # cut off, because nobody ever got an ack for them

    def after_group(self, stored: Sequence[Delivery], *, repeats: int) -> Self:
        """Return the counters after one more group, of which the deliveries `stored` were kept."""
        return replace(
            self,
            repeats=self.repeats + repeats,
            groups=self.groups + bool(stored),
            lines_stored=self.lines_stored + sum(delivery.lines for delivery in stored),
            bytes_stored=self.bytes_stored + sum(delivery.size for delivery in stored),
        )


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The state of a store, why it is in that state if it is STALLED or FAILED, and its counters."""

    state: StoreState
    reason: str = ""
    counters: StoreCounters = field(default_factory=StoreCounters)


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What a store found when it was opened, and what it did about that. All zero after a clean stop.

    Bytes and segments that nobody ever got an ack for are no loss; `segments_too_short` is damage (`logferry fsck`).
    """

    segments: int = 0  # that the store has
    bytes_cut: int = 0  # written, but never acknowledged
    segments_cut: int = 0
    segments_rewritten: int = 0  # written again, because their last lines may not have been synced
    segments_too_short: int = 0  # hold less than was acknowledged: closed, and left as they are
    segments_adopted: int = 0  # of a version without a ledger
    segments_deleted: int = 0  # by retention, which a crash had interrupted
    segments_unknown: int = 0  # files that the ledger does not have: left alone


class Store(Protocol):
    """Keeps deliveries in the order in which they are submitted, and reports when they are safe.

    All methods may be called from any thread. Only `open`, `close`, `position` and `report` wait for the disk or the
    network; call those from a thread that may wait.
    """

    @property
    def durability(self) -> str:
        """What `on_stored` promises: "fsync" (on the disk), "os" (handed to the kernel) or "none"; see --durability.

        Known once the store is open: a replicated log says only then how it syncs.
        """

    @property
    def limits(self) -> StoreLimits:
        """What the store cannot take; known once it is open."""

    def open(self, on_failure: OnFailure) -> RecoveryReport:
        """Make what is stored consistent, and begin to store. Raises StoreError; the store is then as it was before.

        `on_failure` is called once, in a thread of the store, if the store changes to FAILED.
        """

    def submit(self, delivery: AnyDelivery, on_stored: OnStored[AnyDelivery]) -> None:
        """Queue a delivery. Never waits, never raises.

        `on_stored` is called with the deliveries that have become safe together, with `is_stored` and the `outcome` of
        their requests set. Deliveries with the same `on_stored` are reported in the order in which they were
        submitted, an empty delivery too: it stores nothing and keeps its place. `on_stored` is called in a thread of
        the store, or before `submit` returns; it must be quick, and must not raise. While the store is STALLED, and
        once it is FAILED or CLOSED, nothing is reported.

        The queue has no limit of its own: whoever submits must stop at some amount of bytes that are not stored yet.
        """

    def position(self, source: str) -> Position | None:
        """Return how far a source is stored; None if the store does not know it. Raises StoreError or OSError."""

    def report(self, source: str, after: int) -> ReportPage:
        """Compare the records of a source with the lines that are kept, from its offset `after` on; one page of it.

        Raises StoreError or OSError when the records cannot be read.
        """

    def health(self) -> StoreHealth:
        """Return a snapshot. Cheap: never waits for the disk or the network."""

    def close(self, timeout_s: float) -> int:
        """Store what was submitted, within `timeout_s`, then close; return how many lines were not stored in time.

        Nobody got an ack for those lines. A second call does nothing and returns 0.
        """
