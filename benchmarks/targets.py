"""The performance targets, and whether a report meets them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.report import MB, SCALE, Report
from benchmarks.samples import FORMATS

MAX_CLIENT_MB: Final = 60
MAX_SERVER_MB: Final = 80

# The server with ten thousand clients has its own memory limit.
_MOST_CONNECTIONS: Final = "server-alone-10000"
_MAX_MB_WITH_MOST_CONNECTIONS: Final = 300

# The least ratio of the speeds of two cases.
_RATIOS: Final = (
    *(("gzip", SCALE, 5.0), ("client-alone-gzip", SCALE, 5.0), ("resilient", "batch", 0.95), ("backlog", "batch", 0.9)),
    *(("raw", SCALE, 15.0), ("server-alone-1", SCALE, 9.0), ("verify", "batch", 1.0)),
    *(("tls", "batch", 0.6), ("multiline", "batch", 0.6), ("redact", "batch", 0.6), ("include", "batch", 0.6)),
)

# How many times as fast as Fluent Bit's tail and parser, which is 2.6 times as fast as rsyslog where it cannot be had.
_FLUENT_BIT: Final = "fluent-bit"
_FLUENT_BIT_TO_SCALE: Final = 2.6
_TIMES_FLUENT_BIT: Final = (
    *(("batch", 8.0), ("client-alone", 8.0)),
    *((name, 5.0) for name in FORMATS),
    *((f"{name}-client-alone", 8.0) for name in FORMATS),
)

# CPU seconds of the client for each GB.
_MAX_CPU: Final = (("client-alone", 1.5), *((name, 3.0) for name in FORMATS))
_LEAST_MB_PER_S: Final = (("client-alone", 600), ("multiline-client-alone", 240))
_MAX_STARTUP_MS: Final = 150
_CONNECTIONS: Final = 10_000
_IDLE_S: Final = 15
_MAX_IDLE_MS: Final = 3.0
_MAX_IDLE_MB: Final = 25

# A client keeps up if it acks at least this share of the requested rate.
_KEEPS_UP: Final = 0.99


@dataclass(frozen=True, slots=True)
class Target:
    """A target, the measured value, and whether the target was met."""

    name: str
    wanted: str
    measured: str
    met: bool


def targets(report: Report) -> list[Target]:
    """Return the targets for which the report has measurements."""
    return [
        *_ratios(report),
        *_against_fluent_bit(report),
        *_clients(report),
        *_sources(report),
        *_connections(report),
        *_latencies(report),
        *_idle(report),
        *_memory(report),
        *_startup(report),
    ]


def _ratios(report: Report) -> Iterator[Target]:
    for name, other, least in _RATIOS:
        ratio = report.ratio(name, other)
        if ratio is not None:
            yield Target(f"{name}: speed", f"{least:g} x {other}", f"{ratio:.2f} x {other}", ratio >= least)


def _against_fluent_bit(report: Report) -> Iterator[Target]:
    is_there = report.row(_FLUENT_BIT) is not None
    other, factor = (_FLUENT_BIT, 1.0) if is_there else (SCALE, _FLUENT_BIT_TO_SCALE)
    for name, times in _TIMES_FLUENT_BIT:
        ratio, least = report.ratio(name, other), times * factor
        if ratio is not None:
            yield Target(f"{name}: speed", f"{least:g} x {other}", f"{ratio:.2f} x {other}", ratio >= least)


def _clients(report: Report) -> Iterator[Target]:
    for name, most in _MAX_CPU:
        row = report.row(name)
        if row and row.client_cpu_s_per_gb is not None:
            yield _at_most(f"{name}: client CPU", row.client_cpu_s_per_gb, most, "s/GB")
    for name, least in _LEAST_MB_PER_S:
        row = report.row(name)
        if row:
            found = row.source_mb_per_s
            yield Target(f"{name}: source", f"{least} MB/s", f"{found:.1f} MB/s", found >= least)


def _sources(report: Report) -> Iterator[Target]:
    found = report.latencies.get("sources-1000")
    if found:
        asked = found.rate.lines_per_s
        is_met = found.lines_per_s >= asked * _KEEPS_UP
        yield Target("sources-1000: keeps up", f"{asked:,} lines/s", f"{found.lines_per_s:,.0f} lines/s", is_met)
        yield _at_most("sources-1000: p99 of the ack", found.ack_p99_ms, 300, "ms")
        yield _at_most("sources-1000: server CPU", found.server_percent, 50, "% of a core")


def _connections(report: Report) -> Iterator[Target]:
    for found in report.connections:
        if found.connections == _CONNECTIONS:
            name = f"connections-{found.connections}"
            yield _at_most(f"{name}: server CPU", found.server_percent, 55, "% of a core")
            yield _at_most(f"{name}: p99 of the ack", found.p99_ms, 100, "ms")
            yield _at_most(f"{name}: server memory", found.server_peak_bytes / MB, 100, "MB")


def _latencies(report: Report) -> Iterator[Target]:
    slow, fast = report.latencies.get("latency-200"), report.latencies.get("latency-50000")
    if slow:
        yield _at_most("latency-200: p50", slow.p50_ms, 1, "ms")
        yield _at_most("latency-200: p99", slow.p99_ms, 5, "ms")
    if fast:
        yield _at_most("latency-50000: p99", fast.p99_ms, 50, "ms")


def _idle(report: Report) -> Iterator[Target]:
    for idle in report.idles:
        if idle.files == 1:
            milliseconds = idle.client_ms * _IDLE_S / idle.seconds
            yield _at_most(f"idle-1: client CPU in {_IDLE_S} s", milliseconds, _MAX_IDLE_MS, "ms")
            yield _at_most("idle-1: client memory", idle.client_bytes / MB, _MAX_IDLE_MB, "MB")


def _memory(report: Report) -> Iterator[Target]:
    ours = [row for row in report.rows if row.is_ours]
    clients = {row.name: row.client_peak_mb for row in ours if row.client_peak_mb}
    servers = {row.name: row.server_peak_mb for row in ours if row.server_peak_mb}
    for idle in report.idles:
        clients[f"idle-{idle.files}"] = idle.client_peak_bytes / MB
        servers[f"idle-{idle.files}"] = idle.server_peak_bytes / MB
    with_most_connections = servers.pop(_MOST_CONNECTIONS, None)
    for end, peaks, most in (("client", clients, MAX_CLIENT_MB), ("server", servers, MAX_SERVER_MB)):
        if peaks:
            worst = max(peaks, key=peaks.__getitem__)
            yield _at_most(f"{end}: peak memory in any case (most: {worst})", peaks[worst], most, "MB")
    if with_most_connections is not None:
        name = f"{_MOST_CONNECTIONS}: server memory"
        yield _at_most(name, with_most_connections, _MAX_MB_WITH_MOST_CONNECTIONS, "MB")


def _startup(report: Report) -> Iterator[Target]:
    if report.startup:
        yield _at_most("startup: first byte on the wire", report.startup.ms, _MAX_STARTUP_MS, "ms")


def _at_most(name: str, value: float, most: float, unit: str) -> Target:
    return Target(name, f"{most:g} {unit}", f"{value:.4g} {unit}", value <= most)
