"""The latency from a line's `write` to its ack: `python3 benchmarks/latency.py`. README.md explains the numbers.

One program appends lines with the time in them (appender.py) to one or more files in turn; a client follows the files
(witness.py) and ships to a real server: three processes, one clock. The exit code says whether every line was stored
once, never how fast.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.appender import sent_at  # noqa: E402  (the path comes first)
from benchmarks.data import describe_all, names_in, stored_bytes  # noqa: E402
from benchmarks.ends import (  # noqa: E402
    START_LIMIT_S,
    check_conservation,
    client_state_of,
    running_server,
    start_script,
    store_of,
    wait_until_stored,
)
from benchmarks.machine import describe_machine  # noqa: E402
from benchmarks.measure import BenchmarkError, Process  # noqa: E402
from benchmarks.scraping import scraping  # noqa: E402
from benchmarks.tables import table  # noqa: E402

_NS: Final = 1e9
_LOOK_EVERY_S: Final = 0.1
_LIMIT_S_PER_FILE: Final = 0.05
_QUIET_LINE: Final = b"2024-01-15 08:23:45 INFO a file that is quiet now\n"

LATENCY_HEADER: Final = (
    *("files", "durability", "lines/s asked", "lines/s acked", "lines", "p50 ms", "p99 ms", "p99.9 ms", "max ms"),
    *("ack p99 ms", "lines per ack", "client CPU %", "server CPU %", "disturbance ms"),
)


@dataclass(frozen=True, slots=True)
class Rate:
    """What to append, and how: `lines_per_s` in total, to `files` files in turn."""

    lines_per_s: int
    files: int = 1
    durability: str = "os"
    is_resilient: bool = False
    poll_interval: str = "0.5"
    batch_size: str = "1"
    quiet_files: int = 0  # have a line each, and are acked before the measurement begins
    scrape_every_s: float = 0.0  # read the client's metrics this often; 0: it does not serve them
    warm_up_s: float = 1.0  # checked but not measured, because the client connects and opens files


@dataclass(frozen=True, slots=True)
class Latency:
    """The result for one rate. Times are milliseconds from right before `write` until the client has the ack.

    `ack_p99_ms` is the server's part, from the network to the ack. `disturbance_ms` is the longest delay of a wake-up
    of the appending program, which the machine causes.
    """

    rate: Rate
    lines_per_s: float
    lines: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    ack_p99_ms: float
    lines_per_ack: float
    client_percent: float
    server_percent: float
    disturbance_ms: float


def main() -> int:
    """Measure each rate; print a table, and write JSON if requested."""
    options = _options()
    rates = [
        Rate(lines_per_s, options.files, options.durability, options.resilient, options.poll_interval)
        for lines_per_s in options.rate
    ]
    try:
        with tempfile.TemporaryDirectory(prefix="logferry-latency-", dir=options.folder) as folder:
            machine = describe_machine(Path(folder))
            found = [measure_latency(rate, Path(folder), seconds=options.seconds) for rate in rates]
    except BenchmarkError as error:
        print(f"latency: {error}", file=sys.stderr)
        return 1
    if options.json:
        report = {"machine": machine, "rates": [asdict(each) for each in found]}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{machine}{'; resilient' if options.resilient else ''}\n")
    print(table(LATENCY_HEADER, [latency_cells(each) for each in found]))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how long it takes from a line's write to its ack.")
    parser.add_argument(
        "--rate", type=_rates, default=(200,), help="lines per second; separate several rates with commas [200]"
    )
    parser.add_argument("--files", type=int, default=1, help="append to this many files in turn [1]")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="measure each rate for this long, after warming up [10]"
    )
    parser.add_argument(
        "--durability", default="os", choices=("fsync", "os", "none"), help="the server's durability [os]"
    )
    parser.add_argument("--resilient", action="store_true", help="run the client with --resilient")
    parser.add_argument("--poll-interval", default="0.5", help="the client's poll interval in seconds [0.5]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all results to this file")
    parser.add_argument(
        "--folder", type=Path, help="the folder for all files, on the disk to measure [the system's temporary folder]"
    )
    return parser.parse_args()


def _rates(text: str) -> Sequence[int]:
    rates = [int(word) for word in text.split(",")]
    if min(rates) < 1:
        raise ValueError(text)
    return rates


def measure_latency(rate: Rate, folder: Path, *, seconds: float) -> Latency:
    """Append and follow for `seconds` after warming up. Raises BenchmarkError."""
    logs, acks = folder / "followed", folder / "acks.json"
    logs.mkdir()
    try:
        paths = names_in(logs, rate.files)
        quiet = [logs / f"quiet-{number:05}.log" for number in range(rate.quiet_files)]
        for path in paths:
            path.touch()
        for path in quiet:
            path.write_bytes(_QUIET_LINE)
        before = describe_all(logs / "*.log", quiet)
        with (
            running_server(folder, durability=rate.durability) as (server, port),
            _client(rate, logs / "*.log", acks, folder, port) as client,
        ):
            client.wait_for_output("following", limit_s=START_LIMIT_S)
            client.wait_until(
                lambda: stored_bytes(store_of(folder)) >= before.stored.bytes,
                limit_s=START_LIMIT_S + rate.quiet_files * _LIMIT_S_PER_FILE,
                what="done with the quiet files",
                every_s=_LOOK_EVERY_S,
            )
            with _scraping(rate, client):
                percents = _append(rate, logs, seconds + rate.warm_up_s, folder, client, server)
            written = describe_all(logs / "*.log", [*paths, *quiet])
            wait_until_stored(client, written, folder, every_s=_LOOK_EVERY_S)
            client.stop()
            server.stop()
            check_conservation(written, folder)
        measured = _after(before.lines, json.loads(acks.read_text(encoding="utf-8")))
        return summarise(rate, sent_at(paths), measured, percents)
    finally:
        shutil.rmtree(logs, ignore_errors=True)


def _after(lines: int, acks: Sequence[tuple[int, int, int]]) -> Sequence[tuple[int, int, int]]:
    """Return the acks after those of the first `lines`."""
    for place, (_, acked, _) in enumerate(acks):
        if lines <= 0:
            return acks[place:]
        lines -= acked
    return []


def _scraping(rate: Rate, client: Process) -> AbstractContextManager[object]:
    if not rate.scrape_every_s:
        return nullcontext()
    found = client.wait_for_output(r"metrics at (\S+)", limit_s=START_LIMIT_S)
    return scraping(found[1], every_s=rate.scrape_every_s)


def _client(rate: Rate, pattern: Path, acks: Path, folder: Path, port: int) -> Process:
    settings: Mapping[str, str] = {
        "mode": "continuous",
        "log_file": str(pattern),
        "server_host": "127.0.0.1",
        "server_port": str(port),
        "state_dir": str(client_state_of(folder)),
        "poll_interval": rate.poll_interval,
        "batch_size": rate.batch_size,
        "resilient": str(rate.is_resilient).lower(),
        "http": "127.0.0.1:0" if rate.scrape_every_s else "none",
    }
    return start_script("witness", str(acks), json.dumps(settings), folder=folder)


def _append(
    rate: Rate, logs: Path, seconds: float, folder: Path, client: Process, server: Process
) -> tuple[float, float]:
    """Run the appender; return the CPU use of client and server meanwhile, in percent of a core."""
    words = (str(logs), str(rate.files), str(rate.lines_per_s), str(seconds))
    before = client.cpu_s(), server.cpu_s()
    with start_script("appender", *words, folder=folder) as appender:
        appender.wait(limit_s=3 * seconds + START_LIMIT_S)
    after = client.cpu_s(), server.cpu_s()
    return (100 * (after[0] - before[0]) / seconds, 100 * (after[1] - before[1]) / seconds)


def summarise(
    rate: Rate, sent: Sequence[int], acks: Sequence[tuple[int, int, int]], percents: tuple[float, float]
) -> Latency:
    """Compute the result from the `sent` times, the [time, lines, latency] of `acks`, and the CPU use of both ends.

    Lines are matched with acks by order, which with many files is only nearly the right one. Raises BenchmarkError.
    """
    acked = list(_for_each_line((time, lines) for time, lines, _ in acks))
    if len(acked) != len(sent):
        raise BenchmarkError(f"{len(sent)} lines were written, but {len(acked)} were acked")
    first = next(number for number, time in enumerate(sent) if time >= sent[0] + rate.warm_up_s * _NS)
    times_ms = sorted((end - begin) / 1e6 for end, begin in zip(acked[first:], sent[first:], strict=True))
    ack_ms = sorted(list(_for_each_line((latency, lines) for _, lines, latency in acks))[first:])
    count = len(times_ms)
    return Latency(
        rate=rate,
        lines_per_s=count * _NS / (acked[-1] - acked[first]),
        lines=count,
        p50_ms=times_ms[count // 2],
        p99_ms=times_ms[count * 99 // 100],
        p999_ms=times_ms[count * 999 // 1000],
        max_ms=times_ms[-1],
        ack_p99_ms=ack_ms[count * 99 // 100] / 1e6,
        lines_per_ack=count / len({*acked[first:]}),
        client_percent=percents[0],
        server_percent=percents[1],
        disturbance_ms=max((end - begin) / 1e6 for begin, end in pairwise(sent[first:])) - 1000 / rate.lines_per_s,
    )


def _for_each_line(acks: Iterator[tuple[int, int]]) -> Iterator[int]:
    """Yield the value of each line's ack; acks are in the order of the lines."""
    for value, lines in acks:
        yield from [value] * lines


def latency_cells(found: Latency) -> Sequence[str]:
    """Return a row of the table."""
    rate = found.rate
    times = (found.p50_ms, found.p99_ms, found.p999_ms, found.max_ms, found.ack_p99_ms)
    return (
        f"{rate.files:,}",
        rate.durability,
        f"{rate.lines_per_s:,}",
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
