"""Every metric of the server, declared as those of the client are (table.py)."""

from dataclasses import dataclass
from typing import Final

from logferry.telemetry.table import Kind, Metric, counter, gauge, information, metrics_of


@dataclass(kw_only=True)
class ReceivingCounters:
    """What a server counts of clients. Those that count derive from this: no name stands twice."""

    connections_total: int = counter("connections", "Connections accepted.", exposed="connections")
    connections_silent: int = counter(
        "connections",
        "Connections closed without having sent anything, such as health probes.",
        report="{} connections sent nothing",
    )
    connections_refused: int = counter(
        "connections", "Connections refused because too many were open.", report="{} refused"
    )
    connections_denied: int = counter(
        "connections", "Connections closed because the client may not ship here.", report="{} denied"
    )
    connections_strange: int = counter(
        "connections",
        "Connections closed because something other than a log client had opened them.",
        report="{} not from log clients",
    )
    losses_reported: int = counter(
        "ranges", "Ranges of files that clients reported as not delivered unchanged.", report="{} losses reported"
    )
    windows_reported: int = counter(
        "windows",
        "Unknown windows that clients reported: files that may have lost bytes that nobody saw.",
        report="{} unknown windows reported",
    )
    tls_reload_failures: int = counter(
        "changes",
        "Times that changed files of TLS could not be used, so that the old ones stayed in force.",
        report="could not use {} changes of the TLS files",
    )
    clients_reload_failures: int = counter(
        "changes",
        "Times that a changed clients file could not be used, so that the old clients stayed in force.",
        report="could not use {} changes of the clients file",
    )
    clients_dropped: int = counter(
        "connections",
        "Connections closed because the client broke a rule or stalled.",
        report="{} clients dropped",
    )
    lines_rejected: int = counter("lines", "Lines, frames or batches that the server did not accept.")


@dataclass(kw_only=True)
class StoringCounters:
    """What a store counts, as above."""

    lines_stored: int = counter("lines", "Lines stored.")
    bytes_stored: int = counter("bytes", "Bytes of lines stored.", exposed="stored_bytes")
    repeats: int = counter("batches", "Batches recognised as already stored, and not stored again.", exposed="repeats")
    recovered_bytes: int = counter(
        "bytes", "Bytes moved aside because the ledger does not record them.", report="moved {} bytes aside in recovery"
    )
    extents_damaged: int = counter(
        "extents", "Stored pieces of files found damaged on the disk.", report="found {} damaged extents"
    )
    extents_repaired: int = counter(
        "extents", "Damaged pieces of files that clients have repaired.", report="repaired {} extents"
    )
    bytes_scrubbed: int = counter(
        "bytes", "Bytes compared with the ledger in the background.", exposed="scrubbed_bytes"
    )
    bytes_compressed: int = counter(
        "bytes", "Bytes of lines in closed segments that were compressed.", exposed="compressed_bytes"
    )
    compressed_to_bytes: int = counter("bytes", "Bytes of the files that these segments were compressed to.")
    groups: int = counter("groups", "Groups of deliveries written together.", exposed="write_groups")
    syncs: int = counter("syncs", "Syncs of segments.", exposed="segment_syncs")


@dataclass(kw_only=True)
class ServerCounters(StoringCounters, ReceivingCounters):
    """The counters of a server since its start."""


@dataclass(kw_only=True)
class ServerGauges:
    """The gauges of a server."""

    connections: int = gauge("connections", "Open connections.", exposed="open_connections")
    bytes_in_memory: int = gauge("bytes", "Bytes received but not stored yet.", exposed="memory_bytes")
    damaged_extents: int = gauge("extents", "Stored pieces of files that are damaged now, as far as is known.")
    damaged_bytes: int = gauge(
        "bytes", "Damaged bytes that were repaired and are kept in `damaged`.", exposed="damaged_kept_bytes"
    )
    disk_is_failing: int = gauge(
        "boolean", "1 while the disk refuses writes, or has too little room.", exposed="disk_failing"
    )
    free_bytes: int = gauge("bytes", "Free bytes on the disk of the data folder.", exposed="disk_free_bytes")
    disk_bytes: int = gauge("bytes", "Size of the disk of the data folder.", exposed="disk_size_bytes")
    min_free_bytes: int = gauge(
        "bytes", "Below this many free bytes, the server takes no new lines.", exposed="disk_min_free_bytes"
    )
    max_connections: int = gauge(
        "connections", "How many connections may be open at the same time.", exposed="open_connections_limit"
    )
    memory_limit: int = gauge("bytes", "How many unstored bytes may be in memory.", exposed="memory_limit_bytes")
    hosts_reporting: int = gauge("hosts", "Hosts whose clients have said in the last five minutes how they are.")
    hosts_unread_bytes: int = gauge("bytes", "Bytes of log files that these clients have not read, as they say.")
    hosts_unacked_bytes: int = gauge("bytes", "Bytes that these clients have read and not got an ack for, as they say.")
    files_not_proven: int = gauge("files", "Files on which the last `verify` found anything but all there, once.")
    is_ready: int = gauge("boolean", "1 while the server stores what it is sent, as /readyz says.", exposed="ready")
    tls_expires_at: int = gauge(
        "seconds",
        "When the first certificate of the server's own chain expires, in Unix time; only with TLS.",
        exposed="tls_certificate_expiry_time_seconds",
        is_optional=True,
    )
    started_at: float = gauge("seconds", "When the server started, in Unix time.", exposed="start_time_seconds")


SERVER_COUNTERS: Final = tuple(metrics_of(ServerCounters, prefix="logferry_server"))
SERVER_GAUGES: Final = tuple(metrics_of(ServerGauges, prefix="logferry_server"))
LOGINS_REFUSED: Final = Metric(
    name="logins_refused",
    kind=Kind.COUNTER,
    unit="logins",
    help="Clients that were not admitted, by reason.",
    exposed_as="logferry_server_logins_refused_total",
    label="reason",
)
TLS_HANDSHAKES_FAILED: Final = Metric(
    name="tls_handshakes_failed",
    kind=Kind.COUNTER,
    unit="handshakes",
    help="TLS handshakes that failed, by reason.",
    exposed_as="logferry_server_tls_handshakes_failed_total",
    label="reason",
)
SERVER: Final = (*SERVER_COUNTERS, LOGINS_REFUSED, TLS_HANDSHAKES_FAILED, *SERVER_GAUGES, information("server"))
