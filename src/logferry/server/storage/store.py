"""The seam between the server and what keeps the lines: `Store`, and the values that a store reports.

A connection submits deliveries (deliveries.py). The store judges those of each sender in their order, keeps
the lines, and calls back when the lines are as safe as its durability promises. Connections and sessions use only what
is declared here. Implementations: `DiskStore` (segments and a ledger on this machine) and `MemoryStore` (tests).
Every implementation passes tests/server/storage/test_store_contract.py.
"""

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from logferry.protocol.messages.answers import Position
from logferry.protocol.messages.repairs import DamagePage, RepairOutcome, StoredContent
from logferry.protocol.messages.reports import LossPage, ReportPage, SourcesPage
from logferry.protocol.messages.requests import Content, Losses, Repair, SourcesOf
from logferry.server.storage.deliveries import AnyDelivery, Delivery, OnStored
from logferry.server.storage.owners import Owner
from logferry.server.storage.records import Compression
from logferry.telemetry.server_table import StoringCounters

OnFailure = Callable[[], None]

OnDamage = Callable[[Mapping[str, Sequence[str]]], None]
"""Called with sources that turned out to be damaged, by the id of the client that shipped them."""


OnHeld = Callable[[Sequence[Any]], None]
"""Called with deliveries that have to wait while others are stored, once with each, before it is called back."""


def no_notices(_: Mapping[str, Sequence[str]] | Sequence[Any]) -> None:
    """Ignore damage, and what has to wait: the OnDamage and the OnHeld of a caller that has nobody to notify."""


class StoreState(enum.Enum):
    """What a store is doing; store_state.py has the table of transitions."""

    NEW = "not opened yet"
    STORING = "storing"
    STALLED = "cannot store now, and tries again"
    CLOSING = "storing what was submitted, then closing"
    FAILED = "will store nothing any more"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """The largest batch that the store accepts, in bytes of NDJSON; None means that the store sets no limit.

    A replicated log has a limit: its largest message. The server announces the smaller of the store's limit and its
    own.
    """

    max_batch_bytes: int | None = None


@dataclass(kw_only=True)
class StoreCounters(StoringCounters):
    """What a store has done since it was opened. A store replaces them as a whole, so any thread may read them."""

    def after_group(self, stored: Sequence[Delivery], *, repeats: int) -> Self:
        """Return the counters after one more group, with the deliveries that were stored."""
        return replace(
            self,
            repeats=self.repeats + repeats,
            groups=self.groups + bool(stored),
            lines_stored=self.lines_stored + sum(delivery.lines for delivery in stored),
            bytes_stored=self.bytes_stored + sum(delivery.size for delivery in stored),
        )


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The state of a store, why it is in that state if it is STALLED or FAILED, and its counters.

    `damaged_extents` is how many extents are known to be damaged now, `damaged_bytes` what is kept of repaired ones.
    `since` is when the state began, in Unix time. `free_bytes` and `disk_bytes` are the room on the disk and its size,
    both 0 if that is not known; below `min_free_bytes` nothing new is stored, and `shortage` says so.
    """

    state: StoreState
    reason: str = ""
    counters: StoreCounters = field(default_factory=StoreCounters)
    damaged_extents: int = 0
    since: float = 0.0
    damaged_bytes: int = 0
    free_bytes: int = 0
    disk_bytes: int = 0
    min_free_bytes: int = 0
    shortage: str = ""


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What a store found when it was opened, and what it did. After a clean stop, everything but `segments` is zero.

    Bytes that were moved aside are kept; usually they were never acked. `segments_too_short` is damage (see `fsck`).
    """

    segments: int = 0  # in the store
    bytes_moved: int = 0  # moved aside: the segments held them, and the records did not have them
    segments_moved: int = 0
    segments_rewritten: int = 0  # their last lines, which may not have been synced, were written again
    segments_too_short: int = 0  # hold less than was acked: closed, and left as they are
    segments_adopted: int = 0  # the records had lost something of them, which was entered again from their journals
    segments_deleted: int = 0  # expired before, and not deleted yet: there was a crash, or there were many
    segments_unknown: int = 0  # files that are not in the ledger: left as they are


class Store(Protocol):
    """Keeps the deliveries of each sender in the order in which they are submitted, and reports when they are safe.

    Any thread may call any method. Only `submit`, `health`, `damaged_sources` and the properties never wait for the
    disk or the network; call the others from a thread that may block.
    """

    @property
    def id(self) -> str:
        """The id of the store: 1 to 64 letters, digits, `-` or `_`, random, and the same in every copy of the store.

        Known once the store is open. Clients remember by it what a store has, and notice that they have another store
        before them, or an earlier copy of the same one.
        """

    @property
    def place(self) -> str:
        """Where the store keeps lines, for the log: a folder, or servers."""

    @property
    def durability(self) -> str:
        """What `on_stored` promises: "fsync" (on the disk), "os" (handed to the kernel) or "none"; see --durability.

        A replicated log promises "fsync" if it is on the disks of a majority, else "replicated": on several machines.

        Known once the store is open: a replicated log learns only then how its servers sync.
        """

    @property
    def limits(self) -> StoreLimits:
        """The limits of what the store accepts; known once it is open."""

    def open(
        self, on_failure: OnFailure, on_damage: OnDamage = no_notices, on_held: OnHeld = no_notices
    ) -> RecoveryReport:
        """Recover, then begin to store. Raises StoreError; the store is then as it was before.

        The store calls `on_failure` once, in a thread of its own, if it changes to FAILED. It calls `on_damage`, in any
        thread, when it finds stored bytes that have changed, and `on_held` in the thread that calls `on_stored`.
        """

    def change_limits(
        self, *, segment_bytes: int, retention_bytes: int, retention_days: int, compression: Compression | None = None
    ) -> None:
        """Change how large segments get, and how much and how long the store keeps, as far as it has such limits.

        With `compression`, also how it compresses what is closed from now on; "" for not at all.
        Only while the store is open.
        """

    def submit(self, delivery: AnyDelivery, on_stored: OnStored[AnyDelivery]) -> None:
        """Queue a delivery. Never waits, never raises.

        The store calls `on_stored` with the deliveries that became safe together, after setting their `is_stored` and
        the `outcome` of their requests. It reports what has the same `on_stored` and the same sender in the order in
        which it was submitted; senders take turns, so that nobody waits for all that others have submitted. An
        empty delivery stores nothing, but keeps its place in that order. The store calls `on_stored` in a
        thread of its own, or before `submit` returns; `on_stored` must be quick and must not raise. While the store is
        STALLED, and once it is FAILED or CLOSED, it reports nothing.

        The queue has no limit: the caller must limit the bytes that it has submitted and that are not stored yet.
        """

    def give_up(self, deliveries: Collection[Delivery]) -> None:
        """Store these no more, if they still have to wait while others are stored. Never waits, never raises.

        The store calls `on_stored` with them, after setting `is_given_up`.
        """

    def sources_of(self, question: SourcesOf, owner: Owner | None = None) -> SourcesPage:
        """Return a page of the sources that had a path; with an `owner`, of those open to it, by the ids it knows.

        Raises StoreError or OSError if the records cannot be read.
        """

    def positions(self, sources: Sequence[str]) -> list[Position]:
        """Return how far each of these sources is stored, without those that the store does not know.

        What was reported as stored is part of it. Raises StoreError or OSError.
        """

    def report(self, source: str, after: int) -> ReportPage:
        """Compare the records of a source with its stored lines, from offset `after` on; return one page.

        Raises StoreError or OSError when the records cannot be read.
        """

    def losses(self, question: Losses) -> LossPage:
        """Return a page of what of a source is not stored as it was. Raises StoreError or OSError."""

    def owners_of(self, sources: Sequence[str]) -> dict[str, str]:
        """Return who owns those of the sources that the store has, by id; "" if nobody does yet.

        Whether a request is its owner's is for the caller to check, before `content` and `repair`. Raises StoreError or
        OSError.
        """

    def content(self, request: Content) -> StoredContent:
        """Return stored bytes of an extent as they are now, damaged or not. Raises StoreError or OSError."""

    def damaged(self, source: str, after: int) -> DamagePage:
        """Return a page of the extents of a source that are known to be damaged. Raises StoreError or OSError."""

    def damaged_sources(self, owner: str) -> Sequence[str]:
        """Return some of the sources of an owner that are known to be damaged. Never waits."""

    def repair(self, request: Repair) -> RepairOutcome:
        """Store a damaged extent anew.

        The store accepts only the lines that it stored before, and only if it finds itself that it does not have them
        any more. What it has instead, it keeps apart. Raises StoreError or OSError; then the extent is still damaged.
        """

    def health(self) -> StoreHealth:
        """Return a snapshot, without waiting for the disk or the network."""

    def close(self, timeout_s: float) -> int:
        """Store what was submitted, for at most `timeout_s`, then close; return how many lines were not stored.

        Those lines were never acked. A second call does nothing and returns 0.
        """
