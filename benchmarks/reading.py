"""Measures how fast stored lines are looked at, against programs that read the same warm files.

    python3 benchmarks/reading.py [--lines 2000000] [--logs 10000] [--rounds 3] [--folder /var/tmp] [--json FILE]

A client ships a day of lines of four hosts to a server, once with plain segments and once with compressed ones, and
then many small files to another one. Then
whole processes are compared, from their start to their end. Results are checked. Prints the targets; the exit code is 1
if a result is wrong, never because something is slow.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.measure import BenchmarkError, Process  # noqa: E402  (the path comes first)
from benchmarks.tables import table  # noqa: E402
from benchmarks.targets import Target  # noqa: E402

HOSTS: Final = 4
_DAY: Final = "2026-01-15"
_DAY_S: Final = 86_400
_SMALL_LINES: Final = 20
_HOUR: Final = ("2026-01-15T14:00:00", "2026-01-15T15:00:00")
_NOT_THERE: Final = "no line has this text"

_LIMIT_S: Final = 600.0
_LOOK_S: Final = 0.005
_MB: Final = 1_000_000

_MAX_GREP_RATIO: Final = 2.0
_MIN_HOUR_RATIO: Final = 10.0
_MAX_DUCKDB_RATIO: Final = 1.0
_MAX_COMPRESSED_RATIO: Final = 2.0
_MAX_FIRST_MS: Final = 200.0
_MAX_OF_MANY_S: Final = 1.0
_MAX_MB: Final = 100.0
_MAX_STORED_RATIO: Final = 0.2

_DUCKDB: Final = """
import duckdb, sys
columns = "{{'timestamp': 'VARCHAR', 'level': 'VARCHAR', 'message': 'VARCHAR'}}"
rows = duckdb.sql(
    "select date_trunc('minute', timestamp::timestamp), count(*) "
    f"from read_json({files}, format = 'newline_delimited', columns = {{columns}}) group by 1"
).fetchall()
print(len(rows), sum(count for _, count in rows))
"""

_MESSAGES: Final = (
    "order {} paid in {} ms",
    "GET /api/v1/orders/{} from 10.0.0.{} took a while",
    "cache: {} keys evicted, {} kept",
    "Payment gateway unhealthy after {} attempts in {} s",
    "user {} signed in, session {} begins",
)
_LEVELS: Final = ("INFO",) * 42 + ("WARN",) * 5 + ("ERROR",) * 1 + ("DEBUG",) * 2


@dataclass(frozen=True, slots=True)
class Taken:
    """What a process took, and what it printed."""

    seconds: float
    peak_bytes: int
    output: str


@dataclass(frozen=True, slots=True)
class Day:
    """The lines of a day: the files of each host, and how many lines have each minute and each level in the hour."""

    files: Mapping[str, Path]
    minutes: Counter[str]
    errors: int
    errors_in_hour: int

    @property
    def lines(self) -> int:
        """All lines."""
        return self.minutes.total()


def make_day(folder: Path, lines: int) -> Day:
    """Write the files, from a fixed seed."""
    chance = random.Random(14)
    files = {f"web-{number}": folder / f"web-{number}" / "app.log" for number in range(1, HOSTS + 1)}
    minutes, errors, in_hour = Counter[str](), 0, 0
    for path in files.values():
        path.parent.mkdir()
        each = lines // HOSTS
        with path.open("w", encoding="ascii") as file:
            for number in range(each):
                second = number * _DAY_S // each
                clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
                level = chance.choice(_LEVELS)
                message = chance.choice(_MESSAGES).format(chance.randrange(10**6), chance.randrange(256))
                file.write(f"{_DAY} {clock}.{number % 1000:03d} {level} {message}\n")
                minutes[f"{_DAY}T{clock[:5]}"] += 1
                errors += level == "ERROR"
                in_hour += level == "ERROR" and clock.startswith("14:")
    return Day(files, minutes, errors, in_hour)


def logferry(*words: str) -> list[str]:
    """Return the command line of a command of ours."""
    return [sys.executable, "-m", "logferry", *words]


def environment() -> dict[str, str]:
    """Return the variables of all processes: no setting of the user's shell counts."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONPATH": str(ROOT / "src"),
    }


@contextmanager
def server(folder: Path, *flags: str) -> Iterator[int]:
    """Run a server with its data folder inside `folder`; give its port."""
    words = ("serve", "--data-dir", str(folder / "data"), "--server-host", "127.0.0.1", "--server-port", "0", *flags)
    with Process(logferry(*words), log=folder / "server.txt", environment=environment()) as running:
        yield int(running.wait_for_output(r"listening on \S+ port (\d+)", limit_s=30)[1])
        running.stop()


def store(day: Day, folder: Path, *flags: str) -> Path:
    """Ship the day to a new store; return its data folder."""
    folder.mkdir()
    with server(folder, *flags) as port:
        for host, path in day.files.items():
            words = ("ship", "--log-file", str(path), "--host", host, "--state-dir", str(folder / f"state-{host}"))
            address = ("--server-host", "127.0.0.1", "--server-port", str(port), "--batch-size", "5000")
            run(logferry(*words, *address), folder)
        if "--segment-bytes" in flags:
            _wait_for_compression(folder / "data")
    return folder / "data"


def store_many(folder: Path, logs: int) -> Path:
    """Ship small files, which end at any time of a day, to a new store; return its data folder."""
    chance = random.Random(15)
    files = folder / "files"
    files.mkdir(parents=True)
    for number in range(logs):
        end = chance.randrange(_SMALL_LINES, _DAY_S)
        seconds = range(end - _SMALL_LINES, end)
        clocks = (f"{each // 3600:02d}:{each // 60 % 60:02d}:{each % 60:02d}" for each in seconds)
        lines = [f"{_DAY} {clock} {chance.choice(_LEVELS)} order {number} paid\n" for clock in clocks]
        (files / f"{number:05d}.log").write_text("".join(lines), encoding="ascii")
    with server(folder) as port:
        words = ("ship", "--log-file", str(files / "*.log"), "--host", "web", "--state-dir", str(folder / "state"))
        run(logferry(*words, "--server-host", "127.0.0.1", "--server-port", str(port)), folder)
    return folder / "data"


def _wait_for_compression(data: Path) -> None:
    """Wait until only the open segment of each host is plain. Raises BenchmarkError."""
    end = time.monotonic() + _LIMIT_S
    while len(list((data / "segments").rglob("*.ndjson"))) > HOSTS:
        if time.monotonic() > end:
            raise BenchmarkError("the closed segments are not compressed")
        time.sleep(0.1)


def run(argv: Sequence[str], folder: Path, *, codes: Sequence[int] = (0,)) -> Taken:
    """Run a program to its end. Raises BenchmarkError if it fails."""
    output = folder / "output.txt"
    with output.open("wb") as out, (folder / "problems.txt").open("wb") as problems:
        start = time.perf_counter()
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=problems, env=environment())
        peak = 0
        while child.poll() is None:
            peak = max(peak, _resident_peak(child.pid))
            time.sleep(_LOOK_S)
            if time.perf_counter() - start > _LIMIT_S:
                child.kill()
        seconds = time.perf_counter() - start
    if child.returncode not in codes:
        said = (folder / "problems.txt").read_text(errors="replace")[-2000:]
        raise BenchmarkError(f"{' '.join(argv[:6])} ended with exit code {child.returncode}: {said}")
    return Taken(seconds, peak, output.read_text(encoding="utf-8", errors="replace"))


def _resident_peak(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmHWM")), 0)


def best(argv: Sequence[str], folder: Path, rounds: int, *, codes: Sequence[int] = (0,)) -> Taken:
    """Run a program some times after it has run once; return the fastest run, with the largest peak."""
    run(argv, folder, codes=codes)
    taken = [run(argv, folder, codes=codes) for _ in range(rounds)]
    fastest = min(taken, key=lambda each: each.seconds)
    return Taken(fastest.seconds, max(each.peak_bytes for each in taken), fastest.output)


def check(is_right: bool, what: str) -> None:
    """Raise BenchmarkError for a wrong result."""
    if not is_right:
        raise BenchmarkError(f"a wrong result: {what}")


class Comparison:
    """Runs the comparisons on one machine, and keeps what they took."""

    def __init__(self, day: Day, folder: Path, rounds: int) -> None:
        self._day = day
        self._folder = folder
        self._rounds = rounds
        self.peaks: dict[str, int] = {}
        self.rows: list[tuple[str, str, str]] = []
        self.skipped: list[str] = []

    def targets(self, plain: Path, compressed: Path, many: Path | None) -> Iterator[Target]:
        """Yield each target when it is measured. Raises BenchmarkError."""
        segments = [str(path) for path in sorted((plain / "segments").rglob("*.ndjson"))]
        yield self._text(plain, segments)
        yield self._hour(plain)
        stats = self._stats("stats by minute", plain)
        if (target := self._duckdb(segments, stats)) is not None:
            yield target
        yield self._first(plain)
        yield self._compressed_size(compressed)
        packed = self._stats("stats by minute, compressed", compressed)
        yield at_most(
            "stats: over compressed segments", packed.seconds / stats.seconds, _MAX_COMPRESSED_RATIO, "x plain"
        )
        if many:
            yield self._of_many(many)
        peak = max(self.peaks, key=self.peaks.__getitem__)
        yield at_most(f"peak memory (most: {peak})", self.peaks[peak] / _MB, _MAX_MB, "MB")

    def _ours(self, name: str, *words: str, codes: Sequence[int] = (0,)) -> Taken:
        taken = best(logferry(*words), self._folder, self._rounds, codes=codes)
        self.peaks[name] = taken.peak_bytes
        self.rows.append((name, f"{taken.seconds:.3f} s", f"{taken.peak_bytes / _MB:.0f} MB"))
        return taken

    def _theirs(self, name: str, argv: Sequence[str], codes: Sequence[int] = (0,)) -> Taken:
        taken = best(argv, self._folder, self._rounds, codes=codes)
        self.rows.append((name, f"{taken.seconds:.3f} s", f"{taken.peak_bytes / _MB:.0f} MB"))
        return taken

    def _text(self, data: Path, segments: Sequence[str]) -> Target:
        grep = self._theirs("grep -c -F", ["grep", "-h", "-c", "-F", _NOT_THERE, *segments], codes=(1,))
        check(set(grep.output.split()) == {"0"}, "grep finds a text that is not there")
        ours = self._ours("logs --text", "logs", "--data-dir", str(data), "--text", _NOT_THERE, codes=(0, 1))
        check(ours.output == "", "logs finds a text that is not there")
        return at_most("logs --text: time", ours.seconds / grep.seconds, _MAX_GREP_RATIO, "x grep")

    def _hour(self, data: Path) -> Target:
        words = ("logs", "--data-dir", str(data), "--level", "error", "-n", "all", "--output", "raw", "--since")
        hour = self._ours("errors of an hour", *words, _HOUR[0], "--until", _HOUR[1])
        day = self._ours("errors of the day", *words, f"{_DAY}T00:00:00")
        check(hour.output.count("\n") == self._day.errors_in_hour, "errors of the hour")
        check(day.output.count("\n") == self._day.errors, "errors of the day")
        ratio = day.seconds / hour.seconds
        return Target(
            "logs: an hour of the day", f"{_MIN_HOUR_RATIO:g} x faster", f"{ratio:.1f} x", ratio >= _MIN_HOUR_RATIO
        )

    def _stats(self, name: str, data: Path) -> Taken:
        taken = self._ours(name, "stats", "--data-dir", str(data), "--by", "minute", "--json")
        rows = {row["key"][:16]: row["count"] for row in json.loads(taken.output)["rows"]}
        check(rows == self._day.minutes, f"{name}: not the counts of the lines")
        return taken

    def _duckdb(self, segments: Sequence[str], stats: Taken) -> Target | None:
        if find_spec("duckdb") is None:
            self.skipped.append("DuckDB is not installed: pip install duckdb")
            return None
        taken = self._theirs("DuckDB's read_json", [sys.executable, "-c", _DUCKDB.format(files=list(segments))])
        check(taken.output.split() == [str(len(self._day.minutes)), str(self._day.lines)], "DuckDB counts otherwise")
        return at_most("stats by minute: time", stats.seconds / taken.seconds, _MAX_DUCKDB_RATIO, "x DuckDB")

    def _first(self, data: Path) -> Target:
        taken = self._ours("logs: the last 100 lines", "logs", "--data-dir", str(data), "-n", "100", "--output", "raw")
        check(taken.output.count("\n") == 100, "not a hundred lines")
        return at_most("logs: the last 100 lines", taken.seconds * 1000, _MAX_FIRST_MS, "ms")

    def _of_many(self, data: Path) -> Target:
        words = ("--data-dir", str(data))
        self._ours("many logs: hosts", "hosts", *words)
        late = self._ours("many logs: since the last hour", "logs", *words, "--since", f"{_DAY}T23:00:00")
        check(late.output.count("\n") > 0, "no line of the last hour")
        taken = self._ours("many logs: the last 100 lines", "logs", *words, "-n", "100", "--output", "raw")
        check(taken.output.count("\n") == 100, "not a hundred lines of many logs")
        return at_most("logs: the last 100 lines of many logs", taken.seconds, _MAX_OF_MANY_S, "s")

    def _compressed_size(self, data: Path) -> Target:
        files = [path for path in (data / "segments").rglob("*.ndjson.*") if path.suffix in (".gz", ".zst")]
        check(bool(files), "no segment is compressed")
        plain = sum(_plain_size(path) for path in files)
        return at_most(
            "size of compressed segments",
            sum(each.stat().st_size for each in files) / plain,
            _MAX_STORED_RATIO,
            "x plain",
        )


def _plain_size(path: Path) -> int:
    tool = "zstdcat" if path.suffix == ".zst" else "zcat"
    counted = subprocess.run(f"{tool} '{path}' | wc -c", shell=True, capture_output=True, text=True, check=True)
    return int(counted.stdout)


def at_most(name: str, value: float, most: float, unit: str) -> Target:
    """Return a target that is met up to a value."""
    return Target(name, f"{most:g} {unit}", f"{value:.3g} {unit}", value <= most)


def main() -> int:
    """Measure, and print the tables."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="logferry-reading-", dir=options.folder) as name:
        folder = Path(name)
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
        say(f"writing {options.lines:,} lines, and shipping them")
        day = make_day(folder, options.lines)
        plain = store(day, folder / "plain", "--segment-compression", "none")
        size = max(options.lines * 120 // HOSTS // 4, 65_536)
        compressed = store(day, folder / "compressed", "--segment-bytes", str(size))
        comparison = Comparison(day, folder, options.rounds)
        shutil.rmtree(folder / "web-1")
        many = store_many(folder / "many", options.logs) if options.logs else None
        found: list[Target] = []
        try:
            for target in comparison.targets(plain, compressed, many):
                say(f"{target.name}: {target.measured}")
                found.append(target)
        except BenchmarkError as error:
            print(f"FAILED: {error}")
            return 1
    print(table(("process", "time", "peak memory"), comparison.rows), end="\n\n")
    print(
        table(
            ("target", "wanted", "measured", ""),
            [(t.name, t.wanted, t.measured, "met" if t.met else "MISSED") for t in found],
        )
    )
    for reason in comparison.skipped:
        print(f"- skipped: {reason}")
    if options.json:
        options.json.write_text(json.dumps([asdict(target) for target in found], indent=1) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure how fast stored lines are looked at.")
    parser.add_argument("--lines", type=int, default=2_000_000, help="lines of the day [2000000]")
    parser.add_argument("--logs", type=int, default=10_000, help="small files of another store; 0: none [10000]")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each process; the fastest counts [3]")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where the stores are made [/var/tmp]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the targets to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
