"""From measurements to a table, a list of targets met and missed, and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

from benchmarks.cases import BIG, CASES, Case, Idle, Run
from benchmarks.data import LogFile
from benchmarks.formatter import FormatSpeed

MB: Final = 1_000_000
GB: Final = 1_000_000_000

MAX_CLIENT_MB: Final = 60
MAX_SERVER_MB: Final = 80
MAX_IDLE_PERCENT: Final = 0.5

_HEADER: Final = (
    *("case", "lines/s", "(min - max)", "MB/s", "client CPU s/GB", "server CPU s/GB"),
    *("client peak MB", "server peak MB", "x rsyslog", "x cat\\|nc"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """The runs of one case: medians, but for memory the largest."""

    name: str
    lines_per_s: float
    lines_per_s_min: float
    lines_per_s_max: float
    source_mb_per_s: float
    client_cpu_s_per_gb: float
    client_peak_mb: float  # 0: not known, for a pipeline
    server_cpu_s_per_gb: float | None  # None: the receiver is no server, it throws away
    server_peak_mb: float | None
    runs: list[Run]


@dataclass(frozen=True, slots=True)
class Target:
    """Something to reach, and whether it was."""

    name: str
    wanted: str
    measured: str
    met: bool


@dataclass(slots=True)
class Report:
    """Everything that one call of the benchmark has found."""

    machine: str
    lines: int
    bytes: int
    rows: list[Row] = field(default_factory=list)
    idle: Idle | None = None
    formats: list[FormatSpeed] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def targets(self) -> list[Target]:
        """The targets for what was measured."""
        return [*_speed_targets(self.rows), *_memory_targets(self.rows), *_idle_targets(self.idle)]

    def as_json(self) -> dict[str, Any]:
        """Return all of it in JSON's types. There is no report unless the stored lines were those of the file."""
        return {**asdict(self), "targets": [asdict(target) for target in self.targets], "conservation": "checked"}

    def as_text(self) -> str:
        """Return all of it as Markdown."""
        parts = [f"{self.machine}\n\n{self.lines} lines, {self.bytes / MB:.0f} MB"]
        if self.rows:
            parts.append(table(_HEADER, [_cells(row, self.rows) for row in self.rows]))
        if self.idle:
            parts.append(_describe_idle(self.idle))
        if self.formats:
            parts.append(_format_table(self.formats))
        if self.targets:
            header = ("target", "wanted", "measured", "")
            cells = [(t.name, t.wanted, t.measured, "met" if t.met else "MISSED") for t in self.targets]
            parts.append(table(header, cells))
        parts += [f"skipped: {reason}" for reason in self.skipped]
        return "\n\n".join(parts)


def make_row(name: str, log: LogFile, runs: Sequence[Run]) -> Row:
    """Sum up the runs of one case."""
    speeds = [log.lines / run.seconds for run in runs]
    receivers = [run.receiver for run in runs if run.receiver]
    return Row(
        name=name,
        lines_per_s=median(speeds),
        lines_per_s_min=min(speeds),
        lines_per_s_max=max(speeds),
        source_mb_per_s=median(log.bytes / run.seconds for run in runs) / MB,
        client_cpu_s_per_gb=median(run.sender.cpu_s for run in runs) / log.bytes * GB,
        client_peak_mb=max(run.sender.peak_bytes for run in runs) / MB,
        server_cpu_s_per_gb=median(usage.cpu_s for usage in receivers) / log.bytes * GB if receivers else None,
        server_peak_mb=max(usage.peak_bytes for usage in receivers) / MB if receivers else None,
        runs=list(runs),
    )


def _cells(row: Row, rows: Sequence[Row]) -> Sequence[str]:
    return (
        row.name,
        f"{row.lines_per_s:,.0f}",
        f"({row.lines_per_s_min:,.0f} - {row.lines_per_s_max:,.0f})",
        f"{row.source_mb_per_s:.1f}",
        f"{row.client_cpu_s_per_gb:.1f}",
        _number(row.server_cpu_s_per_gb),
        _number(row.client_peak_mb or None, digits=0),
        _number(row.server_peak_mb, digits=0),
        *(_ratio(row, rows, peer) for peer in ("rsyslog", "cat-nc")),
    )


def _number(value: float | None, *, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _ratio(row: Row, rows: Sequence[Row], other: str) -> str:
    found = _find(rows, other)
    return f"{row.lines_per_s / found.lines_per_s:.2f}" if found else "-"


def _find(rows: Sequence[Row], name: str) -> Row | None:
    return next((row for row in rows if row.name == name), None)


def _ours(rows: Sequence[Row]) -> Iterator[tuple[Case, Row]]:
    for case in (*CASES, BIG):
        row = _find(rows, case.name)
        if row:
            yield case, row


def _speed_targets(rows: Sequence[Row]) -> Iterator[Target]:
    for case, row in _ours(rows):
        measured = f"{row.lines_per_s:,.0f} lines/s"
        if case.min_lines_per_s:
            wanted = f"{case.min_lines_per_s:,} lines/s"
            yield Target(f"{case.name}: speed", wanted, measured, row.lines_per_s >= case.min_lines_per_s)
        other = _find(rows, case.no_slower_than) if case.no_slower_than else None
        if other:
            least = other.lines_per_s * (1 - case.slack)
            share = f"{1 - case.slack:.0%} of {other.name}"
            yield Target(f"{case.name}: speed", f"{least:,.0f} lines/s, {share}", measured, row.lines_per_s >= least)


def _memory_targets(rows: Sequence[Row]) -> Iterator[Target]:
    for case, row in _ours(rows):
        ends = (("client", row.client_peak_mb, MAX_CLIENT_MB), ("server", row.server_peak_mb or 0.0, MAX_SERVER_MB))
        for end, peak, limit in ends:
            yield Target(f"{case.name}: {end} memory", f"< {limit} MB", f"{peak:.0f} MB", peak < limit)


def _idle_targets(idle: Idle | None) -> Iterator[Target]:
    if idle:
        for end, percent in (("client", idle.client_percent), ("server", idle.server_percent)):
            is_met = percent < MAX_IDLE_PERCENT
            yield Target(f"idle: {end} CPU", f"< {MAX_IDLE_PERCENT} % of a core", f"{percent:.3f} %", is_met)


def _describe_idle(idle: Idle) -> str:
    return (
        f"idle for {idle.seconds:.0f} s: client {idle.client_percent:.3f} % of a core, {idle.client_bytes / MB:.0f} MB;"
        f" server {idle.server_percent:.3f} %, {idle.server_bytes / MB:.0f} MB"
    )


def _format_table(formats: Sequence[FormatSpeed]) -> str:
    header = ("one thread, no network", "render lines/s", "validate lines/s")
    cells = [
        (speed.name, f"{speed.render_lines_per_s:,.0f}", f"{speed.validate_lines_per_s:,.0f}") for speed in formats
    ]
    return table(header, cells)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that is readable as it stands; all columns but the first are aligned right."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [_line(header, widths), "| " + " | ".join(rule) + " |", *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    return (
        "| "
        + " | ".join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))])
        + " |"
    )
