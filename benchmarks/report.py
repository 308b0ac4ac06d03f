"""Turns measurements into tables and JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import median
from typing import Any, Final, TypeVar

from benchmarks.cases import Run
from benchmarks.connections import CONNECTIONS_HEADER, Connections
from benchmarks.data import LogFile
from benchmarks.experiments import Experiment
from benchmarks.formatter import FormatSpeed
from benchmarks.idle import Idle
from benchmarks.latency import LATENCY_HEADER, Latency, latency_cells
from benchmarks.startup import Startup
from benchmarks.tables import table

MB: Final = 1_000_000
GB: Final = 1_000_000_000

# The case that is 1.0 on the scale of speeds.
SCALE: Final = "rsyslog"

_HEADER: Final = (
    *("case", "lines/s", "(min - max)", "MB/s", "x rsyslog", "client CPU s/GB", "server CPU s/GB"),
    *("client peak MB", "server peak MB", "accelerator", "lines", "runs"),
)
_IDLE_HEADER: Final = (
    *("files nobody writes to", "seconds", "client CPU ms", "server CPU ms", "client MB", "server MB"),
    *("client peak MB", "server peak MB"),
)
_FORMAT_HEADER: Final = (
    *("one thread, no network", "render lines/s", "validate lines/s", "pure: render lines/s", "pure: validate lines/s"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """The runs of one case: medians, and the largest value for memory.

    None means unknown: the sender is a load generator or a pipeline, or the receiver discards everything.
    """

    name: str
    lines: int
    lines_per_s: float
    lines_per_s_min: float
    lines_per_s_max: float
    source_mb_per_s: float
    client_cpu_s_per_gb: float | None
    client_peak_mb: float | None
    server_cpu_s_per_gb: float | None
    server_peak_mb: float | None
    is_ours: bool
    is_accelerated: bool
    runs: list[Run]


@dataclass(slots=True)
class Report:
    """All results of one run of the benchmark."""

    machine: str
    lines: int
    is_accelerated: bool
    rows: list[Row] = field(default_factory=list)
    latencies: dict[str, Latency] = field(default_factory=dict)
    connections: list[Connections] = field(default_factory=list)
    idles: list[Idle] = field(default_factory=list)
    startup: Startup | None = None
    formats: dict[str, list[FormatSpeed]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def row(self, name: str) -> Row | None:
        """Return the row of a case, if it was measured."""
        return next((row for row in self.rows if row.name == name), None)

    def ratio(self, name: str, other: str = SCALE) -> float | None:
        """Return the speed of one case divided by that of another, if both were measured."""
        row, base = self.row(name), self.row(other)
        return row.lines_per_s / base.lines_per_s if row and base else None

    def add(self, experiment: Experiment, log: LogFile | None, results: Sequence[object]) -> None:
        """Add the results of one experiment."""
        runs = [result for result in results if isinstance(result, Run)]
        if runs and log:
            is_accelerated = self.is_accelerated and experiment.is_ours and not experiment.is_pure
            self.rows.append(make_row(experiment, log, runs, is_accelerated=is_accelerated))
        if latencies := [result for result in results if isinstance(result, Latency)]:
            self.latencies[experiment.name] = medians(latencies)
        if connections := [result for result in results if isinstance(result, Connections)]:
            self.connections.append(medians(connections))
        if idles := [result for result in results if isinstance(result, Idle)]:
            self.idles.append(medians(idles))
        for result in results:
            if isinstance(result, Startup):
                self.startup = result
            elif isinstance(result, list):
                self.formats[experiment.name] = result

    def as_json(self) -> dict[str, Any]:
        """Return the report in JSON's types. Unless an experiment is among the failures, every line was stored once."""
        return {**asdict(self), "conservation": "checked"}

    def tables(self) -> str:
        """Return the results as Markdown."""
        parts = []
        if self.rows:
            parts.append(table(_HEADER, [_cells(row, self.ratio(row.name)) for row in self.rows]))
        if self.latencies:
            parts.append(table(LATENCY_HEADER, [latency_cells(found) for found in self.latencies.values()]))
        if self.connections:
            parts.append(table(CONNECTIONS_HEADER, [_connections_cells(found) for found in self.connections]))
        if self.idles:
            parts.append(table(_IDLE_HEADER, [_idle_cells(idle) for idle in self.idles]))
        if self.startup:
            parts.append(
                f"From the start of the client to its first byte on the wire: {self.startup.ms:.0f} ms"
                f" ({self.startup.ms_min:.0f} - {self.startup.ms_max:.0f}, {self.startup.starts} starts)."
            )
        if self.formats:
            parts.append(table(_FORMAT_HEADER, _format_rows(self.formats)))
        return "\n\n".join(parts)


def make_row(experiment: Experiment, log: LogFile, runs: Sequence[Run], *, is_accelerated: bool) -> Row:
    """Sum up the runs of one case."""
    speeds = [log.lines / run.seconds for run in runs]
    senders = [run.sender for run in runs if run.sender]
    receivers = [run.receiver for run in runs if run.receiver]
    return Row(
        name=experiment.name,
        lines=log.lines,
        lines_per_s=median(speeds),
        lines_per_s_min=min(speeds),
        lines_per_s_max=max(speeds),
        source_mb_per_s=median(log.bytes / run.seconds for run in runs) / MB,
        client_cpu_s_per_gb=_median_or_none(usage.cpu_s / log.bytes * GB for usage in senders),
        client_peak_mb=max((usage.peak_bytes for usage in senders), default=0) / MB or None,
        server_cpu_s_per_gb=_median_or_none(usage.cpu_s / log.bytes * GB for usage in receivers),
        server_peak_mb=max((usage.peak_bytes for usage in receivers), default=0) / MB or None,
        is_ours=experiment.is_ours,
        is_accelerated=is_accelerated,
        runs=list(runs),
    )


Numbers = TypeVar("Numbers", Latency, Idle, Connections)


def medians(found: Sequence[Numbers]) -> Numbers:
    """Return the median of each number; all other values are equal."""
    columns = {each.name: [getattr(one, each.name) for one in found] for each in fields(found[0])}
    return type(found[0])(**{name: _middle(values) for name, values in columns.items()})


def _middle(values: Sequence[Any]) -> Any:
    return median(values) if isinstance(values[0], float | int) else values[0]


def _median_or_none(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _cells(row: Row, ratio: float | None) -> Sequence[str]:
    return (
        row.name,
        f"{row.lines_per_s:,.0f}",
        f"({row.lines_per_s_min:,.0f} - {row.lines_per_s_max:,.0f})",
        f"{row.source_mb_per_s:.1f}",
        _number(ratio, digits=2),
        _number(row.client_cpu_s_per_gb),
        _number(row.server_cpu_s_per_gb),
        _number(row.client_peak_mb, digits=0),
        _number(row.server_peak_mb, digits=0),
        ("yes" if row.is_accelerated else "no") if row.is_ours else "-",
        f"{row.lines:,}",
        f"{len(row.runs)}",
    )


def _number(value: float | None, *, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _connections_cells(found: Connections) -> Sequence[str]:
    return (
        f"{found.connections:,}",
        f"{found.seconds:.0f}",
        f"{found.lines_per_s:,.0f}",
        f"{found.p50_ms:.1f}",
        f"{found.p99_ms:.1f}",
        f"{found.max_ms:.1f}",
        f"{found.server_percent:.1f}",
        f"{found.server_peak_bytes / MB:.0f}",
    )


def _idle_cells(idle: Idle) -> Sequence[str]:
    return (
        f"{idle.files:,}",
        f"{idle.seconds:.0f}",
        f"{idle.client_ms:.1f}",
        f"{idle.server_ms:.1f}",
        f"{idle.client_bytes / MB:.0f}",
        f"{idle.server_bytes / MB:.0f}",
        f"{idle.client_peak_bytes / MB:.0f}",
        f"{idle.server_peak_bytes / MB:.0f}",
    )


def _format_rows(formats: Mapping[str, Sequence[FormatSpeed]]) -> list[Sequence[str]]:
    """Return a row for each kind of line: speeds with the accelerator, if there is one, and without."""
    found = {name: {speed.name: speed for speed in speeds} for name, speeds in formats.items()}
    kinds = [speed.name for speed in next(iter(formats.values()))]
    columns = [found.get(name, {}) for name in ("formatter", "formatter-pure")]
    return [(kind, *(cell for column in columns for cell in _speed_cells(column.get(kind)))) for kind in kinds]


def _speed_cells(speed: FormatSpeed | None) -> Sequence[str]:
    return (f"{speed.render_lines_per_s:,.0f}", f"{speed.validate_lines_per_s:,.0f}") if speed else ("-", "-")
