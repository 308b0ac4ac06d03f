"""All experiments by name: what each one measures, at which size, and how often."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.accelerator import PURE, with_isal
from benchmarks.cases import BIG, CASES, Case, Run, run_case
from benchmarks.connections import Connections, measure_connections
from benchmarks.data import LogFile, describe, make_log, make_logs, repeat_log
from benchmarks.ends import start_script
from benchmarks.formatter import FormatSpeed
from benchmarks.idle import Idle, measure_idle
from benchmarks.latency import Latency, Rate, measure_latency
from benchmarks.limits import LIMITS
from benchmarks.peers.peer import Peer
from benchmarks.samples import SAMPLES, make_sample
from benchmarks.server_alone import SERVER_CASES, ServerCase, render_load, run_server_case
from benchmarks.startup import Startup, measure_startup
from logferry.model.render_spec import RenderSpec

Result = Run | Latency | Idle | Startup | Connections | list[FormatSpeed]

_RATES: Final = {
    "latency-200": Rate(200),
    "latency-50000": Rate(50_000),
    "sources-1000": Rate(10_000, files=1000, durability="fsync", batch_size="auto", warm_up_s=5.0),
}
_IDLE_FILES: Final = (1, 10_000)
_MANY_FILES: Final = 1000
_FORMATTER_LIMIT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of all experiments. Experiments of fixed duration (idle, latency) run `special_runs` times.

    Experiments in `left_out` run only if requested by name.
    """

    lines: int
    runs: int
    special_runs: int = 3
    big_bytes: int = 5_000_000_000
    idle_s: float = 15.0
    latency_s: float = 10.0
    connections: int = 10_000
    starts: int = 7
    left_out: frozenset[str] = frozenset({BIG.name})

    @property
    def medium_lines(self) -> int:
        """The size of logs other than the main one."""
        return max(1, self.lines * 2 // 5)

    @property
    def short_lines(self) -> int:
        """The size for slow programs, which take as long with fewer lines."""
        return max(1, self.lines // 5)


FULL: Final = Sizes(lines=5_000_000, runs=5)
QUICK: Final = Sizes(
    lines=600_000,
    runs=1,
    special_runs=1,
    big_bytes=250_000_000,
    idle_s=3.0,
    latency_s=3.0,
    connections=1000,
    starts=3,
    left_out=frozenset({BIG.name, "formatter", "formatter-pure"}),
)


class Logs:
    """The files to ship: created on first use, then always the same."""

    def __init__(self, folder: Path, sizes: Sizes) -> None:
        self._folder = folder
        self._sizes = sizes
        self._made: dict[str, LogFile] = {}

    def __getitem__(self, name: str) -> LogFile:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    @property
    def load(self) -> Path:
        """The records that clients would send of the log "medium"."""
        path = self._folder / "load.ndjson"
        if not path.exists():
            render_load(self["medium"], path)
        return path

    def quiet(self, files: int) -> LogFile:
        """Return a log of this many files with one line each."""
        name = f"quiet-{files}"
        if name not in self._made:
            self._made[name] = make_logs(self._folder / name, files=files, lines=files)
        return self._made[name]

    def _make(self, name: str) -> LogFile:
        sizes, path = self._sizes, self._folder / f"{name}.log"
        if name in SAMPLES:
            return make_sample(name, path, lines=sizes.medium_lines)
        match name:
            case "raw":
                return describe(self["plain"].path, RenderSpec(format="raw"))
            case "many":
                return make_logs(self._folder / "many", files=_MANY_FILES, lines=sizes.medium_lines)
            case "big":
                return repeat_log(self["plain"], path, size=sizes.big_bytes)
        return make_log(
            path, lines={"plain": sizes.lines, "medium": sizes.medium_lines, "short": sizes.short_lines}[name]
        )


@dataclass(frozen=True, slots=True)
class Experiment:
    """Something to measure `runs` times. `prepare` creates the files that it needs; `log` names the log it ships."""

    name: str
    runs: int
    log: str
    measure: Callable[[Logs, Path], Result]
    prepare: Callable[[Logs], object] = lambda logs: None
    is_ours: bool = True
    is_pure: bool = False


def all_experiments(sizes: Sizes, peers: Mapping[Peer, str]) -> Iterator[Experiment]:
    """Yield all experiments in the order of their runs. `peers` are other programs, with their binaries."""
    for peer, binary in peers.items():
        yield _of_peer(peer, binary, sizes)
    for name in LIMITS:
        yield _of_limit(name, sizes)
    for case in CASES:
        if case.has_isal and with_isal() is None:
            continue
        yield _of_case(case, sizes.runs)
    for server_case in SERVER_CASES:
        yield _of_server(server_case, sizes.runs)
    for name, rate in _RATES.items():
        yield _of_rate(name, rate, sizes)
    yield _of_connections(sizes)
    for files in _IDLE_FILES:
        yield _of_idle(files, sizes)
    yield Experiment("startup", 1, "short", lambda logs, at: measure_startup(logs["short"], at, starts=sizes.starts))
    yield Experiment("formatter", 1, "", lambda _, at: _measure_formats(at, {}))
    yield Experiment("formatter-pure", 1, "", lambda _, at: _measure_formats(at, PURE), is_pure=True)
    yield _of_case(BIG, 1)


def _of_peer(peer: Peer, binary: str, sizes: Sizes) -> Experiment:
    return Experiment(
        peer.name, sizes.runs, "short", lambda logs, at: peer.run(binary, logs["short"], at), is_ours=False
    )


def _of_limit(name: str, sizes: Sizes) -> Experiment:
    return Experiment(name, sizes.runs, "plain", lambda logs, at: LIMITS[name](logs["plain"], at), is_ours=False)


def _of_case(case: Case, runs: int) -> Experiment:
    return Experiment(
        case.name, runs, case.log, lambda logs, at: run_case(case, logs[case.log], at), is_pure=case.is_pure
    )


def _of_server(case: ServerCase, runs: int) -> Experiment:
    return Experiment(
        case.name,
        runs,
        "medium",
        lambda logs, at: run_server_case(case, logs["medium"], logs.load, at),
        lambda logs: logs.load,
    )


def _of_rate(name: str, rate: Rate, sizes: Sizes) -> Experiment:
    return Experiment(name, sizes.special_runs, "", lambda _, at: measure_latency(rate, at, seconds=sizes.latency_s))


def _of_connections(sizes: Sizes) -> Experiment:
    count, seconds = sizes.connections, sizes.latency_s
    return Experiment(
        f"connections-{count}",
        sizes.special_runs,
        "",
        lambda _, at: measure_connections(count, at, seconds=seconds),
    )


def _of_idle(files: int, sizes: Sizes) -> Experiment:
    return Experiment(
        f"idle-{files}",
        sizes.special_runs,
        "",
        lambda logs, at: measure_idle(logs.quiet(files), at, files=files, seconds=sizes.idle_s),
        lambda logs: logs.quiet(files),
    )


def _measure_formats(folder: Path, environment: Mapping[str, str]) -> list[FormatSpeed]:
    result = folder / "formatter.json"
    with start_script("formatter", "--json", str(result), folder=folder, environment=environment) as process:
        process.wait(limit_s=_FORMATTER_LIMIT_S)
    return [FormatSpeed(**speed) for speed in json.loads(result.read_text(encoding="utf-8"))]
