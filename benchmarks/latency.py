"""From a line's `write` to its ack, run by hand: `python3 benchmarks/latency.py`. README.md says what the numbers mean.

A program appends lines with the time in them (appender.py) to a file that a client follows (witness.py), towards a real
server: three processes, one clock. The exit code says whether every line was stored once, never how fast.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.appender import sent_at  # noqa: E402  (the path comes first)
from benchmarks.cases import check_conservation, client_state_of, running_server, wait_until_stored  # noqa: E402
from benchmarks.data import describe  # noqa: E402
from benchmarks.machine import describe_machine  # noqa: E402
from benchmarks.measure import BenchmarkError, Process  # noqa: E402
from benchmarks.report import table  # noqa: E402

_START_LIMIT_S: Final = 20.0

# Lines of the first moment are written, shipped and checked, but not measured: with them the client connects.
_WARM_UP_S: Final = 1.0
_NS: Final = 1e9

_HEADER: Final = (
    *("lines/s asked", "lines/s acked", "lines", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "lines per ack"),
    *("client CPU %", "server CPU %", "disturbance ms"),
)


@dataclass(frozen=True, slots=True)
class Latency:
    """What came of one rate. Times in milliseconds, from right before `write` until the client has its ack.

    `disturbance_ms` is how much too late the appending program woke at worst: that is the machine's doing.
    """

    lines_per_s_asked: int
    lines_per_s: float
    lines: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    lines_per_ack: float
    client_percent: float
    server_percent: float
    disturbance_ms: float


def main() -> int:
    """Measure each rate; print a table, and write JSON if asked."""
    options = _options()
    try:
        with tempfile.TemporaryDirectory(prefix="logferry-latency-", dir=options.folder) as folder:
            machine = describe_machine(Path(folder))
            found = [_measure(options, rate, Path(folder)) for rate in options.rate]
    except BenchmarkError as error:
        print(f"latency: {error}", file=sys.stderr)
        return 1
    if options.json:
        report = {"machine": machine, "durability": options.durability, "rates": [asdict(each) for each in found]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{machine}; durability {options.durability}{', resilient' if options.resilient else ''}\n")
    print(table(_HEADER, [_cells(each) for each in found]))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how long it takes from a line's write to its ack.")
    parser.add_argument("--rate", type=_rates, default=(200,), help="lines per second, several with commas [200]")
    parser.add_argument("--seconds", type=float, default=10.0, help="of appending that count, for each rate [10]")
    parser.add_argument("--durability", default="os", choices=("fsync", "os", "none"), help="of the server [os]")
    parser.add_argument("--resilient", action="store_true", help="the client reads in a thread of its own")
    parser.add_argument("--poll-interval", default="0.5", help="of the client, in seconds [0.5]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured there, too")
    parser.add_argument("--folder", type=Path, help="where the files go, on the disk to measure [the system's]")
    return parser.parse_args()


def _rates(text: str) -> Sequence[int]:
    rates = [int(word) for word in text.split(",")]
    if min(rates) < 1:
        raise ValueError(text)
    return rates


def _measure(options: argparse.Namespace, rate: int, folder: Path) -> Latency:
    log, acks = folder / "app.log", folder / "acks.json"
    log.write_bytes(b"")
    with (
        running_server(folder, options.durability) as (server, port),
        _client(options, log, acks, folder, port) as client,
    ):
        client.wait_for_words("following", limit_s=_START_LIMIT_S)
        before = client.cpu_s(), server.cpu_s()
        appending_s = _append(log, rate, options.seconds + _WARM_UP_S, folder)
        percents = [
            100 * (end.cpu_s() - begin) / appending_s for end, begin in zip((client, server), before, strict=True)
        ]
        written = describe(log)
        wait_until_stored(client, written, folder)
        client.stop()
        server.stop()
        check_conservation(written, folder)
    return summarise(rate, sent_at(log), json.loads(acks.read_text(encoding="utf-8")), percents)


def _client(options: argparse.Namespace, log: Path, acks: Path, folder: Path, port: int) -> Process:
    settings: Mapping[str, str] = {
        "mode": "continuous",
        "log_file": str(log),
        "server_host": "127.0.0.1",
        "server_port": str(port),
        "state_dir": str(client_state_of(folder)),
        "poll_interval": options.poll_interval,
        "resilient": str(options.resilient).lower(),
    }
    program = [sys.executable, str(ROOT / "benchmarks" / "witness.py"), str(acks), json.dumps(settings)]
    return Process(program, log=folder / "client.log")


def _append(log: Path, rate: int, seconds: float, folder: Path) -> float:
    """Have lines appended; return how many seconds that took."""
    program = [sys.executable, str(ROOT / "benchmarks" / "appender.py"), str(log), str(rate), str(seconds)]
    with Process(program, log=folder / "appender.log") as appender:
        appender.wait(limit_s=3 * seconds + _START_LIMIT_S)
    sent = sent_at(log)
    return (sent[-1] - sent[0]) / _NS


def summarise(rate: int, sent: Sequence[int], acks: Sequence[tuple[int, int]], percents: Sequence[float]) -> Latency:
    """Return what `sent` times and [time, lines] of `acks` say, beside the CPU of both ends. Raises BenchmarkError."""
    acked = list(_acked_at(acks))
    if len(acked) != len(sent):
        raise BenchmarkError(f"{len(sent)} lines were written, but {len(acked)} acks were seen")
    first = next(number for number, time in enumerate(sent) if time >= sent[0] + _WARM_UP_S * _NS)
    times_ms = sorted((end - begin) / 1e6 for end, begin in zip(acked[first:], sent[first:], strict=True))
    count = len(times_ms)
    return Latency(
        lines_per_s_asked=rate,
        lines_per_s=count * _NS / (acked[-1] - sent[first]),
        lines=count,
        p50_ms=times_ms[count // 2],
        p99_ms=times_ms[count * 99 // 100],
        p999_ms=times_ms[count * 999 // 1000],
        max_ms=times_ms[-1],
        lines_per_ack=count / len({*acked[first:]}),
        client_percent=percents[0],
        server_percent=percents[1],
        disturbance_ms=max((end - begin) / 1e6 for begin, end in pairwise(sent[first:])) - 1000 / rate,
    )


def _acked_at(acks: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Yield when each line was acked: acks come in the order of the lines."""
    for time, lines in acks:
        yield from [time] * lines


def _cells(found: Latency) -> Sequence[str]:
    times = (found.p50_ms, found.p99_ms, found.p999_ms, found.max_ms)
    return (
        f"{found.lines_per_s_asked:,}",
        f"{found.lines_per_s:,.0f}",
        f"{found.lines:,}",
        *(f"{milliseconds:.2f}" for milliseconds in times),
        f"{found.lines_per_ack:.1f}",
        f"{found.client_percent:.1f}",
        f"{found.server_percent:.1f}",
        f"{found.disturbance_ms:.1f}",
    )


if __name__ == "__main__":
    sys.exit(main())
