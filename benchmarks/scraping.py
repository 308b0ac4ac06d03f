"""Scrapes a program's metrics every second for as long as a benchmark lasts, in a thread of the benchmark.

    python3 benchmarks/scraping.py [--files 10000] [--rate 200] [--rounds 3]

compares a client that is scraped with one that is not, one after the other: the same files, and a few of them grow.
Prints a row for each run, and the difference of the medians.
"""

import argparse
import dataclasses
import statistics
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.measure import BenchmarkError  # noqa: E402  (the path comes first)

_TIMEOUT_S: Final = 10.0
_GROWING: Final = 10


@contextmanager
def scraping(url: str, *, every_s: float) -> Iterator[list[int]]:
    """Read a page again and again inside a `with`; give the sizes of the answers. Raises BenchmarkError at the end."""
    stop, sizes = threading.Event(), list[int]()
    problems: list[Exception] = []

    def run() -> None:
        while not stop.wait(every_s):
            try:
                with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                    sizes.append(len(answer.read()))
            except OSError as error:
                problems.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield sizes
    finally:
        stop.set()
        thread.join()
    if problems:
        raise BenchmarkError(f"cannot scrape {url}: {problems[0]}")


def main() -> int:
    """Compare; print a table."""
    from benchmarks.latency import LATENCY_HEADER, Rate, latency_cells, measure_latency
    from benchmarks.machine import describe_machine
    from benchmarks.tables import table

    options = _options()
    quiet = Rate(options.rate, _GROWING, quiet_files=options.files - _GROWING)
    cases = {"quiet": quiet, "scraped": dataclasses.replace(quiet, scrape_every_s=1.0)}
    rows, waits = [], {name: list[tuple[float, float]]() for name in cases}
    try:
        with tempfile.TemporaryDirectory(prefix="logferry-scraping-") as folder:
            machine = describe_machine(Path(folder))
            for _ in range(options.rounds):
                for name, rate in cases.items():
                    found = measure_latency(rate, Path(folder), seconds=options.seconds)
                    rows.append((name, *latency_cells(found)))
                    waits[name].append((found.ack_p99_ms, found.p99_ms))
    except BenchmarkError as error:
        print(f"scraping: {error}", file=sys.stderr)
        return 1
    print(f"{machine}\n\n{table(('client', *LATENCY_HEADER), rows)}\n")
    for place, what in enumerate(("ack p99", "write to ack p99")):
        print(f"{what}: {_difference(waits['quiet'], waits['scraped'], place):+.2f} ms while scraped (medians)")
    return 0


def _difference(quiet: Sequence[tuple[float, float]], scraped: Sequence[tuple[float, float]], place: int) -> float:
    before, after = (statistics.median(run[place] for run in runs) for runs in (quiet, scraped))
    return after - before


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare a client that is scraped every second with one that is not.")
    parser.add_argument("--files", type=int, default=10_000, help="follow this many files [10000]")
    parser.add_argument("--rate", type=int, default=200, help="lines per second [200]")
    parser.add_argument("--rounds", type=int, default=3, help="measure each client this often [3]")
    parser.add_argument("--seconds", type=float, default=15.0, help="measure for this long, after warming up [15]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
