"""Every metric of the client, declared once: its name, kind, unit and meaning; and how metrics are declared.

Those of the server are in server_table.py, because each start of a client would define them.

The counters, the report line, the summary, status.json, exporters and documentation all derive from these declarations.
To add a metric, add a field here and count it where the event happens. The code and status.json use the names of the
fields; `exposed_as` follows the conventions of Prometheus: base units, `_total` for counters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Final, Literal

_DECLARATION: Final = "metric"


class Kind(Enum):
    """How a number behaves."""

    COUNTER = "counter"  # never falls while the process lives
    GAUGE = "gauge"  # the present value
    HISTOGRAM = "histogram"  # how long events took


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One declared metric. Texts with `{}` take its value and are shown only when the value is not 0."""

    name: str
    kind: Kind
    unit: str
    help: str
    exposed_as: str
    report: str = ""  # in the report line
    summary: str = ""  # in the summary at the end of a run
    shortcoming: str = ""  # a sentence, if the metric counts what was not delivered unchanged
    label: str = ""  # a snapshot has a number for each value of the label, in `labelled`
    is_optional: bool = False  # a snapshot may lack it


def counter(
    unit: str, help_text: str, *, exposed: str = "", report: str = "", summary: str = "", shortcoming: str = ""
) -> int:
    """Declare a counter as a field of a dataclass. `exposed` is the middle of its exposed name, if not the field's."""
    value: int = _declared(
        Kind.COUNTER, unit, help_text, exposed, report=report, summary=summary, shortcoming=shortcoming
    )
    return value


def gauge(unit: str, help_text: str, *, exposed: str = "", is_optional: bool = False) -> Any:
    """Declare a gauge as a field of a dataclass, as `counter` does."""
    value: Any = _declared(Kind.GAUGE, unit, help_text, exposed, is_optional=is_optional)
    return value


def _declared(kind: Kind, unit: str, help_text: str, exposed: str, **texts: str | bool) -> Any:
    parts = {"kind": kind, "unit": unit, "help": help_text, "exposed": exposed, **texts}
    return field(default=0, metadata={_DECLARATION: parts})


@dataclass(slots=True)
class Counters:
    """The counters of a client, since its start or in an interval."""

    lines_read: int = counter("lines", "Lines read from log files, blank and filtered ones included.")
    lines_shipped: int = counter("lines", "Lines handed to the network, each counted once.")
    lines_acked: int = counter("lines", "Lines that the server has acknowledged.")
    lines_stored_before: int = counter("lines", "Lines of a batch run's files that earlier runs had stored.")
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
        shortcoming="{} lines were too long and were truncated",
    )
    lines_incomplete: int = counter(
        "lines",
        "Lines whose end is missing in a damaged or interrupted input, shipped marked truncated.",
        shortcoming="{} lines are incomplete: the input was damaged or cut off there",
    )
    lines_discarded: int = counter("lines", "Lines discarded after reading, because their source is read again.")
    lines_unaccounted: int = counter(
        "lines",
        "Lines that were read, and at the end of the run neither acked, refused nor discarded: a fault of the client.",
        shortcoming="{} lines were read, and neither acked nor refused: the accounts do not balance (the log has them)",
    )
    lines_undecodable: int = counter("lines", "Lines with bytes that are not UTF-8.")
    lines_joined: int = counter(
        "lines", "Lines joined to the line before them, as parts of one event.", report="joined {} lines"
    )
    lines_filtered: int = counter(
        "lines",
        "Lines not shipped because of --include or --exclude-line.",
        report="filtered {} lines",
        summary="{} filtered",
    )
    redactions: int = counter(
        "redactions",
        "Pieces of lines replaced by --redact.",
        report="redacted {}",
        summary="{} redacted",
    )
    bytes_read: int = counter("bytes", "Bytes read from log files.", exposed="read_bytes")
    bytes_nul: int = counter(
        "bytes",
        "NUL bytes at the beginnings of lines, which are not shipped.",
        exposed="nul_bytes",
        report="skipped {} NUL bytes",
        summary="{} NUL bytes skipped",
    )
    bytes_wire: int = counter("bytes", "Bytes given to the network, after compression.", exposed="wire_bytes")
    bytes_lost: int = counter(
        "bytes",
        "Bytes of log files that were gone before they were read.",
        exposed="lost_bytes",
        report="lost {} bytes",
        shortcoming="{} bytes were gone before they were read",
    )
    files_missed: int = counter(
        "files",
        "Files that were written and gone before they could be opened.",
        report="missed {} files",
        shortcoming="{} files were written and gone before they could be opened",
    )
    bytes_given_up: int = counter(
        "bytes",
        "Unread bytes of rotated or deleted files that were dropped because they exceeded --max-held-bytes.",
        exposed="given_up_bytes",
        report="dropped {} bytes of held files",
        shortcoming="{} bytes of rotated or deleted files were dropped (--max-held-bytes)",
    )
    unknown_windows: int = counter(
        "windows",
        "Times in which bytes may have been written to a log file that nobody saw.",
        report="{} unknown windows",
        shortcoming="{} files may have lost bytes that nobody saw (unknown windows)",
    )
    extents_repaired: int = counter(
        "extents",
        "Stored pieces of files that were damaged on the server's disk and that this client has repaired.",
        report="repaired {} extents on the server",
        summary="{} extents repaired on the server",
    )
    batches: int = counter("batches", "Batches handed to the network.")
    reconnects: int = counter("connections", "Connections, or attempts to connect, that failed.")
    tls_reload_failures: int = counter(
        "changes",
        "Times that changed files of TLS could not be used, so that the old ones stayed in force.",
        report="changed TLS files could not be used {} times",
    )


@dataclass(slots=True)
class Gauges:
    """The gauges of a client."""

    queue_lines: int = gauge("lines", "Lines waiting between reading and sending.")
    held_files: int = gauge("files", "Rotated or deleted files that are kept open until every byte is acknowledged.")
    held_bytes: int = gauge("bytes", "Bytes of held files that are not acknowledged.")
    tls_expires_at: int = gauge(
        "seconds",
        "When the client's own certificate expires, in Unix time; only with --tls-cert.",
        exposed="tls_certificate_expiry_time_seconds",
        is_optional=True,
    )


@dataclass(frozen=True, kw_only=True)
class StateGauges:
    """The gauges of a client that are found out when somebody asks."""

    files: int = gauge("files", "Files that the client follows or ships, and names without a readable file.")
    files_unreadable: int = gauge("files", "Files that the client cannot read.", exposed="unreadable_files")
    unread_bytes: int = gauge("bytes", "Bytes of log files that are not read yet.")
    unacked_bytes: int = gauge("bytes", "Bytes of log files that are read and not acknowledged yet.")
    lag_seconds: float = gauge("seconds", "For how long a file has had bytes that are not acknowledged.")
    is_connected: int = gauge("boolean", "1 while the client is connected to a server.", exposed="connected")
    is_preferred: int = gauge(
        "boolean",
        "1 while the server in use is the one that the client prefers, or its only one.",
        exposed="preferred_server_in_use",
    )
    stalled_seconds: float = gauge(
        "seconds", "For how long nothing was delivered although something should be.", exposed="output_stalled_seconds"
    )
    is_ready: int = gauge("boolean", "1 while the client delivers, as /readyz says.", exposed="ready")
    started_at: float = gauge("seconds", "When the client started, in Unix time.", exposed="start_time_seconds")


def metrics_of(declaration: type, *, prefix: str) -> Iterator[Metric]:
    """Yield the metrics that the fields of a dataclass declare, in order."""
    for each in fields(declaration):
        texts = dict(each.metadata[_DECLARATION])
        middle = texts.pop("exposed") or each.name
        suffix = "_total" if texts["kind"] is Kind.COUNTER else ""
        yield Metric(name=each.name, exposed_as=f"{prefix}_{middle}{suffix}", **texts)


def information(end: str) -> Metric:
    """Return the metric that says which program is running: always 1, with the version as a label."""
    return Metric(
        name="info",
        kind=Kind.GAUGE,
        unit="boolean",
        help=f"Always 1; says which version of the {end} is running.",
        exposed_as=f"logferry_{end}_info",
        label="version",
    )


ACK_LATENCY: Final = Metric(
    name="ack_latency",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    help="Time from handing lines to the network until their acknowledgement.",
    exposed_as="logferry_client_ack_latency_seconds",
)

CLIENT_COUNTERS: Final = tuple(metrics_of(Counters, prefix="logferry_client"))
CLIENT_GAUGES: Final = tuple(
    metric for kind in (Gauges, StateGauges) for metric in metrics_of(kind, prefix="logferry_client")
)
SERVER_SWITCHES: Final = Metric(
    name="server_switches",
    kind=Kind.COUNTER,
    unit="switches",
    help="Times that the client has gone on to another one, by reason.",
    exposed_as="logferry_client_server_switches_total",
    label="reason",
)
SERVER_IN_USE: Final = Metric(
    name="server_in_use",
    kind=Kind.GAUGE,
    unit="boolean",
    help="1 for the server that the client uses, 0 for its others.",
    exposed_as="logferry_client_server_in_use",
    label="server",
)
CLIENT: Final = (*CLIENT_COUNTERS, SERVER_SWITCHES, *CLIENT_GAUGES, SERVER_IN_USE, ACK_LATENCY, information("client"))


View = Literal["report", "summary", "shortcoming"]


def phrases(table: Iterable[Metric], numbers: object, view: View) -> Iterator[str]:
    """Yield the texts of one view for each metric whose value in `numbers` is not 0."""
    for metric in table:
        text: str = getattr(metric, view)
        if text and (value := getattr(numbers, metric.name)):
            yield text.format(value)
