"""The server's status: its numbers, and whether it is storing.

Reads the client counters and the store's health. Owns nothing and changes nothing, so any thread may call it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from logferry import __version__
from logferry.server.clients.memory.flow_control import MemoryBudget
from logferry.server.clients.reporting.counters import ClientCounters
from logferry.server.storage.store import RecoveryReport, Store, StoreHealth, StoreState
from logferry.telemetry.server_table import (
    SERVER_COUNTERS,
    SERVER_GAUGES,
    TLS_HANDSHAKES_FAILED,
    ReceivingCounters,
    ServerCounters,
    ServerGauges,
    StoringCounters,
)
from logferry.telemetry.status_source import Snapshot, Verdict
from logferry.telemetry.table import phrases

# Under load, clients wait for memory again and again, for fractions of a second: that is backpressure, not a problem.
MEMORY_FULL_S: Final = 5.0

_COUNTER_NAMES: Final = tuple(metric.name for metric in SERVER_COUNTERS)
_GAUGE_NAMES: Final = tuple(metric.name for metric in SERVER_GAUGES)


@dataclass(kw_only=True)
class ServerStats(ServerCounters, ServerGauges):
    """A server's numbers at one moment: those of the metrics table, and who is connected."""

    connections_by_principal: Mapping[str, int] = field(default_factory=dict)  # open now
    handshakes_failed: Mapping[str, int] = field(default_factory=dict)  # of TLS, by kind


class ServerStatus:
    """The StatusSource of a server."""

    def __init__(
        self,
        store: Store,
        *,
        budget: MemoryBudget,
        counters: ClientCounters,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` is that of the event loop; `wall_clock` returns Unix time."""
        self._clock = clock
        self._started_at = wall_clock()
        self._store = store
        self._budget = budget
        self._clients = counters

    def snapshot(self) -> Snapshot:
        """See StatusSource."""
        health = self._store.health()
        stats = self._stats(health)
        return Snapshot(
            self._verdict(health),
            counters={name: getattr(stats, name) for name in _COUNTER_NAMES},
            gauges={name: float(getattr(stats, name)) for name in _GAUGE_NAMES if _is_known(name, stats)},
            labelled={
                "logins_refused": dict(self._clients.logins_refused),
                TLS_HANDSHAKES_FAILED.name: stats.handshakes_failed,
                "info": {__version__: 1},
            },
        )

    def stats(self) -> ServerStats:
        """Return the current numbers."""
        return self._stats(self._store.health())

    def _stats(self, health: StoreHealth) -> ServerStats:
        clients = self._clients
        return ServerStats(
            **_counted(clients, ReceivingCounters),
            **_counted(health.counters, StoringCounters),
            **clients.reports.sums(),
            connections=clients.connections,
            connections_by_principal=dict(clients.connections_by_principal),
            handshakes_failed=dict(clients.handshakes_failed),
            tls_expires_at=clients.tls_expires_at,
            damaged_extents=health.damaged_extents,
            damaged_bytes=health.damaged_bytes,
            bytes_in_memory=self._budget.total,
            disk_is_failing=health.state is StoreState.STALLED,
            free_bytes=health.free_bytes,
            disk_bytes=health.disk_bytes,
            min_free_bytes=health.min_free_bytes,
            max_connections=clients.max_connections,
            memory_limit=self._budget.limit,
            is_ready=self._verdict(health).is_ready,
            started_at=self._started_at,
        )

    def _verdict(self, health: StoreHealth) -> Verdict:
        if health.state is not StoreState.STORING:
            reason = health.reason and f": {health.reason}"
            return Verdict.not_ready(f"the store is {_STATE_NAMES[health.state]}{reason}")
        if health.shortage:
            return Verdict.not_ready(f"the store takes nothing new: {health.shortage}")
        clients = self._clients
        if clients.max_connections and clients.connections >= clients.max_connections:
            return Verdict.not_ready(f"full: {clients.connections} clients are connected (--max-connections)")
        full_since = clients.memory_full_since
        if full_since is not None and self._clock() - full_since > MEMORY_FULL_S:
            return Verdict.not_ready("full: clients wait for memory (--memory-limit-bytes)")
        return Verdict.ready()


def _counted(counters: object, declaration: type) -> dict[str, int]:
    """Return what `counters` has of the counters that the table declares there, by their names."""
    return {each.name: getattr(counters, each.name) for each in fields(declaration)}


def _is_known(gauge: str, stats: ServerStats) -> bool:
    """Whether a gauge has a value: without TLS, nothing expires."""
    return gauge != "tls_expires_at" or stats.tls_expires_at > 0


_STATE_NAMES: Final[Mapping[StoreState, str]] = {
    StoreState.NEW: "not open yet: it recovers what the last run left",
    StoreState.STALLED: "stalled",
    StoreState.CLOSING: "closing",
    StoreState.FAILED: "broken",
    StoreState.CLOSED: "closed",
}


def describe(stats: ServerStats) -> str:
    """Return one line for the log; it mentions rare events only if they have happened."""
    parts = [
        f"{stats.connections} clients connected ({stats.connections_total} connections in total)",
        f"stored {stats.lines_stored} lines ({stats.bytes_stored} bytes), rejected {stats.lines_rejected}",
        f"repeats {stats.repeats}, groups {stats.groups}, syncs {stats.syncs}",
        f"{stats.bytes_in_memory} bytes in memory",
        *phrases(SERVER_COUNTERS, stats, "report"),
        *([f"{failed} TLS handshakes failed"] if (failed := sum(stats.handshakes_failed.values())) else []),
        *([f"{stats.damaged_extents} extents are damaged (see `logferry fsck`)"] if stats.damaged_extents else []),
        *(["the store refuses writes"] if stats.disk_is_failing else []),
    ]
    return ", ".join(parts)


def describe_recovery(report: RecoveryReport) -> str:
    """Return one line for the log about what the store repaired on opening."""
    found = (
        (
            report.bytes_moved,
            f"moved {report.bytes_moved} bytes that the ledger does not record aside, "
            f"from {_segments(report.segments_moved)}",
        ),
        (report.segments_rewritten, f"rewrote {_segments(report.segments_rewritten)} that may not have been synced"),
        (report.segments_adopted, f"entered what the ledger had lost of {_segments(report.segments_adopted)}"),
        (report.segments_deleted, f"deleting {_segments(report.segments_deleted)} that had expired"),
        (report.segments_unknown, f"left {report.segments_unknown} files alone that are not in the ledger"),
        (report.segments_too_short, f"damage in {_segments(report.segments_too_short)}: run `logferry fsck`"),
    )
    actions = ", ".join(text for count, text in found if count)
    if not report.segments and not actions:
        return "nothing to recover: the data folder has no segments"
    return f"recovered {_segments(report.segments)}: {actions or 'nothing to repair'}"


def _segments(count: int) -> str:
    return f"{count} segment{'s' * (count != 1)}"
