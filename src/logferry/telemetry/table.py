"""Every number that a client or a server counts, declared once: its name, kind, unit and meaning.

The counters, the report line, the summary, status.json, and what exporters and documentation show are made from these
declarations. To add a metric, add a field here, and count it where it happens. Names in the code (and in status.json)
are those of the fields; `exposed_as` follows the conventions of Prometheus: base units, `_total` for counters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Final, Literal

_DECLARATION: Final = "metric"


class Kind(Enum):
    """How a number behaves."""

    COUNTER = "counter"  # never falls while the process lives
    GAUGE = "gauge"  # is as it is now
    HISTOGRAM = "histogram"  # how many events took how long


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One declared number. Texts with `{}` take its value, and are shown only when it is not 0."""

    name: str
    kind: Kind
    unit: str
    help: str
    exposed_as: str
    report: str = ""  # in the report line
    summary: str = ""  # in the summary at the end of a run
    shortcoming: str = ""  # a sentence, when it means that something was not delivered as it was


def counter(
    unit: str, help_text: str, *, exposed: str = "", report: str = "", summary: str = "", shortcoming: str = ""
) -> int:
    """Declare a counter as a field of a dataclass. `exposed` is the middle of its exposed name, if not its own."""
    value: int = _declared(
        Kind.COUNTER, unit, help_text, exposed, report=report, summary=summary, shortcoming=shortcoming
    )
    return value


def gauge(unit: str, help_text: str, *, exposed: str = "") -> int:
    """Declare a gauge, likewise."""
    value: int = _declared(Kind.GAUGE, unit, help_text, exposed)
    return value


def _declared(kind: Kind, unit: str, help_text: str, exposed: str, **texts: str) -> Any:
    parts = {"kind": kind, "unit": unit, "help": help_text, "exposed": exposed, **texts}
    return field(default=0, metadata={_DECLARATION: parts})


@dataclass(slots=True)
class Counters:
    """What a client has done, since its start or in an interval."""

    lines_read: int = counter("lines", "Lines read from log files, blank and filtered ones included.")
    lines_shipped: int = counter("lines", "Lines handed to the network, each once.")
    lines_acked: int = counter("lines", "Lines that the server has acknowledged.")
    lines_rejected: int = counter(
        "lines",
        "Lines that the server will never store.",
        shortcoming="{} lines were refused by the server",
    )
    lines_retried: int = counter("lines", "Lines handed to the network again.")
    lines_blank: int = counter("lines", "Blank lines, which are not shipped.")
    lines_cut: int = counter(
        "lines",
        "Lines that were too long and were shipped truncated.",
        shortcoming="{} lines were too long and were cut",
    )
    lines_undecodable: int = counter("lines", "Lines with bytes that are not UTF-8.")
    lines_joined: int = counter(
        "lines", "Lines joined to the line before, with which they are one event.", report="joined {} lines"
    )
    lines_filtered: int = counter(
        "lines",
        "Lines left out because the configuration asks for it.",
        report="filtered {} lines",
        summary="{} filtered",
    )
    redactions: int = counter(
        "redactions",
        "Pieces of lines replaced by the redaction.",
        report="redacted {}",
        summary="{} redacted",
    )
    bytes_read: int = counter("bytes", "Bytes read from log files.", exposed="read_bytes")
    bytes_wire: int = counter("bytes", "Bytes given to the network, after compression.", exposed="wire_bytes")
    bytes_lost: int = counter(
        "bytes",
        "Bytes of log files that were gone before they were read.",
        exposed="lost_bytes",
        report="lost {} bytes",
        shortcoming="{} bytes of the file were gone before they were read",
    )
    bytes_given_up: int = counter(
        "bytes",
        "Unread bytes of rotated or deleted files that were dropped because they exceeded --max-held-bytes.",
        exposed="given_up_bytes",
        report="gave up {} bytes of held files",
        shortcoming="{} bytes of held files were given up (--max-held-bytes)",
    )
    batches: int = counter("batches", "Batches handed to the network.")
    reconnects: int = counter("connections", "Connections, or attempts at one, that failed.")


@dataclass(slots=True)
class Gauges:
    """How a client is now."""

    queue_lines: int = gauge("lines", "Lines that wait between reading and sending.")
    held_files: int = gauge("files", "Rotated or deleted files that are kept open until all of them is acknowledged.")
    held_bytes: int = gauge("bytes", "Bytes of those files that are not acknowledged.")


@dataclass(frozen=True, kw_only=True)
class ServerCounters:
    """What a server has done since its start."""

    connections_total: int = counter("connections", "Connections accepted.", exposed="connections")
    connections_silent: int = counter(
        "connections",
        "Connections that were closed without having sent anything, as those of health probes.",
        report="{} connections sent nothing",
    )
    connections_refused: int = counter(
        "connections", "Connections refused because there was no room for more.", report="{} refused"
    )
    connections_denied: int = counter(
        "connections", "Connections closed because the client may not ship here.", report="{} denied"
    )
    losses_reported: int = counter(
        "ranges", "Ranges of files that clients could not deliver as they were.", report="{} losses reported"
    )
    clients_dropped: int = counter(
        "connections",
        "Connections closed because the client broke a rule or stalled.",
        report="{} clients dropped",
    )
    lines_stored: int = counter("lines", "Lines stored.")
    bytes_stored: int = counter("bytes", "Bytes of lines stored.", exposed="stored_bytes")
    lines_rejected: int = counter("lines", "Lines, frames or batches that were not accepted.")
    repeats: int = counter("batches", "Batches recognised as stored before, and not stored again.", exposed="repeats")
    recovered_bytes: int = counter(
        "bytes", "Unacknowledged bytes cut off segments after a crash.", report="cut {} bytes in recovery"
    )
    groups: int = counter("groups", "Groups of deliveries written together.", exposed="write_groups")
    syncs: int = counter("syncs", "Syncs of segments.", exposed="segment_syncs")


@dataclass(frozen=True, kw_only=True)
class ServerGauges:
    """How a server is now."""

    connections: int = gauge("connections", "Connections that are open.", exposed="open_connections")
    bytes_in_memory: int = gauge("bytes", "Bytes received and not yet stored.", exposed="memory_bytes")
    disk_is_failing: int = gauge("boolean", "1 while the disk refuses writes.", exposed="disk_failing")


def metrics_of(declaration: type, *, prefix: str) -> Iterator[Metric]:
    """Yield the metrics that the fields of a dataclass declare, in their order."""
    for each in fields(declaration):
        texts = dict(each.metadata[_DECLARATION])
        middle = texts.pop("exposed") or each.name
        suffix = "_total" if texts["kind"] is Kind.COUNTER else ""
        yield Metric(name=each.name, exposed_as=f"{prefix}_{middle}{suffix}", **texts)


ACK_LATENCY: Final = Metric(
    name="ack_latency",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    help="Time from handing lines to the network to their acknowledgement.",
    exposed_as="logferry_client_ack_latency_seconds",
)

CLIENT_COUNTERS: Final = tuple(metrics_of(Counters, prefix="logferry_client"))
CLIENT_GAUGES: Final = tuple(metrics_of(Gauges, prefix="logferry_client"))
CLIENT: Final = (*CLIENT_COUNTERS, *CLIENT_GAUGES, ACK_LATENCY)

SERVER_COUNTERS: Final = tuple(metrics_of(ServerCounters, prefix="logferry_server"))
SERVER_GAUGES: Final = tuple(metrics_of(ServerGauges, prefix="logferry_server"))
SERVER: Final = (*SERVER_COUNTERS, *SERVER_GAUGES)


View = Literal["report", "summary", "shortcoming"]


def phrases(table: Iterable[Metric], numbers: object, view: View) -> Iterator[str]:
    """Yield what a table says in one of its views about those of its `numbers` that are not 0."""
    for metric in table:
        text: str = getattr(metric, view)
        if text and (value := getattr(numbers, metric.name)):
            yield text.format(value)
