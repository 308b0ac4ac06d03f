"""Conservation under faults: everything that was written is stored, once, whatever happens to both ends meanwhile.

    python3 tests/faults/campaign.py --seconds 600 --kills 20 --resets 50 [--seed N] [--client-words ...]

A writer appends numbered, checksummed lines to a file that it rotates. Meanwhile client and server are killed with
SIGKILL, frozen with SIGSTOP, and the network between them is cut, reset, stalled, or loses exactly an ack. Then the
faults stop and everything drains. What counts is what is on the server's disk then, and only if the faults really
happened. The suite runs a short one (test_campaign.py); the long one is run by hand.
"""

import argparse
import hashlib
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[2] / "src")]

from tests.faults.chaos_proxy import DOWN, UP, ChaosProxy, chaos_proxy
from tests.support.processes import ROOT, Program, free_port

_LINE: Final = re.compile(rb'"message": "n=(\d+) file=(\d+) sum=([0-9a-f]{16}) *x*"')
_QUICK: Final = (
    "--poll-interval",
    "0.05",
    "--ack-timeout",
    "2",
    "--connect-timeout",
    "1",
    "--health-interval",
    "0.2",
    "--backoff-max",
    "0.5",
)

# What is left when the faults stop is shipped within seconds.
_DRAIN_S: Final = 120.0


@dataclass(slots=True)
class Plan:
    """How long, how hard, and with which random numbers."""

    seconds: float = 20.0
    lines_per_second: int = 3000
    lines_per_file: int = 6_000
    min_kills: int = 2  # of each end
    min_resets: int = 3
    pause_s: tuple[float, float] = (0.1, 0.8)  # between two faults
    seed: int = 1
    client_words: tuple[str, ...] = ("--resilient", "--batch-size", "auto")


@dataclass(slots=True)
class Result:
    """What was written, what is stored, and what was done in between."""

    written: int = 0
    stored: int = 0
    unique: int = 0
    repeated: int = 0
    missing: int = 0
    invented: int = 0
    altered: int = 0
    out_of_order: int = 0
    rotations: int = 0
    suppressed: int = 0  # repeats that the server recognised
    recovered: int = 0  # recoveries that cut something
    fresh_lines_flow: bool = False
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, repeated, invented, altered or reordered."""
        return not (self.repeated or self.missing or self.invented or self.altered or self.out_of_order)

    @property
    def counts(self) -> bool:
        """Whether the faults really happened: repeats had to be suppressed, and recoveries had something to cut."""
        return self.suppressed > 0 and self.recovered > 0 and self.fresh_lines_flow

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"written {self.written} stored {self.stored} unique {self.unique} repeated {self.repeated} "
            f"missing {self.missing} invented {self.invented} altered {self.altered} out of order {self.out_of_order}; "
            f"rotations {self.rotations}, repeats suppressed {self.suppressed}, recoveries that cut {self.recovered}, "
            f"fresh lines flow {self.fresh_lines_flow}; faults: {faults}"
        )


def payload(number: int, file: int) -> bytes:
    """Return line `number` of the campaign, a function of its number; it is the `file`-th file's."""
    digest = hashlib.blake2b(b"%d %d" % (number, file), digest_size=8).hexdigest()
    return b"2024-01-15 08:23:45 INFO n=%d file=%d sum=%s %s\n" % (number, file, digest.encode(), b"x" * (number % 60))


class Writer:
    """Appends lines at a steady rate, in pieces that do not end with lines, and rotates the file."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._path = path
        self._plan = plan
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.written = 0
        self.files = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """End with a whole line."""
        self._stop.set()
        self._thread.join()

    def write_more(self, count: int) -> None:
        """Append lines to the present file, after the end of the thread."""
        with self._path.open("ab") as file:
            file.writelines(payload(self.written + index, self.files) for index in range(count))
        self.written += count

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._path.open("ab", buffering=0) as file:
                self._fill(file.write)
            if not self._stop.is_set():
                self._rotate()

    def _fill(self, write: Callable[[bytes], object]) -> None:
        step = max(1, self._plan.lines_per_second // 50)
        for _ in range(self._plan.lines_per_file // step):
            lines = b"".join(payload(self.written + index, self.files) for index in range(step))
            cut = len(lines) * 2 // 3
            write(lines[:cut])
            write(lines[cut:])
            self.written += step
            if self._stop.wait(0.02):
                return

    def _rotate(self) -> None:
        self._path.rename(self._path.with_name(f"{self._path.name}.{self.files + 1}"))
        self.files += 1


class Campaign:
    """Both ends, the network between them, and the faults."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._data_dir = folder / "data"
        self._log = folder / "logs" / "app.log"
        self._log.parent.mkdir()
        self._port = free_port()
        self.result = Result()
        self._programs: list[Program] = []

    def run(self) -> Result:
        """Run all of it; return what became of the lines."""
        writer = Writer(self._log, self._plan)
        with chaos_proxy(self._port) as proxy:
            self._client, self._server = self._start_client(proxy), self._start_server()
            try:
                writer.start()
                self._rage(proxy)
                writer.stop()
                self._make_peace(proxy)
                self._wait_for(writer.written)
                before = writer.written
                writer.write_more(1000)
                self._wait_for(writer.written)
                self.result.fresh_lines_flow = _count_stored(self._data_dir) >= before + 1000
            finally:
                for running in self._programs:
                    if not running.is_over:
                        running.send(signal.SIGCONT)
                        running.terminate()
            self.result.faults["reset"] = proxy.happened.resets
        self._take_stock(writer)
        return self.result

    # --- the faults

    def _rage(self, proxy: ChaosProxy) -> None:
        end = time.monotonic() + self._plan.seconds
        faults = [
            self._kill_client,
            self._kill_server,
            self._crash_server,
            self._freeze,
            self._reset,
            self._stall,
            self._lose_ack,
            self._lose_ack,
            self._half_open,
        ]
        while time.monotonic() < end or not self._is_enough(proxy):
            if time.monotonic() > end + self._plan.seconds + 60:
                raise AssertionError(f"the faults do not happen: {self.result.faults} {proxy.happened}")
            self._random.choice(faults)(proxy)
            time.sleep(self._random.uniform(*self._plan.pause_s))  # the pace of the campaign, not a synchronisation

    def _is_enough(self, proxy: ChaosProxy) -> bool:
        kills = min(self.result.faults["kill client"], self.result.faults["kill server"])
        return kills >= self._plan.min_kills and proxy.happened.resets >= self._plan.min_resets

    def _kill_client(self, proxy: ChaosProxy) -> None:
        self._client.kill()
        self.result.faults["kill client"] += 1
        time.sleep(self._random.uniform(0, 0.5))
        self._client = self._start_client(proxy)

    def _kill_server(self, proxy: ChaosProxy) -> None:
        self._server.kill()
        self.result.faults["kill server"] += 1
        time.sleep(self._random.uniform(0, 0.5))
        self._server = self._start_server()

    def _crash_server(self, proxy: ChaosProxy) -> None:
        """Let a server die in the middle of a durable step, which a kill from outside hits only now and then."""
        self._server.kill()
        seed = str(self._random.random())
        crashing = self._start(Path(__file__).with_name("crashing_server.py"), self._port, self._data_dir, seed)
        end = time.monotonic() + 5
        while not crashing.is_over and time.monotonic() < end:
            time.sleep(0.02)
        self.result.faults["crash server" if crashing.is_over else "kill server"] += 1
        crashing.kill()
        self._server = self._start_server()

    def _freeze(self, proxy: ChaosProxy) -> None:
        victim = self._random.choice([self._client, self._server])
        victim.send(signal.SIGSTOP)
        self.result.faults["freeze"] += 1
        time.sleep(self._random.uniform(0.1, 1.5))
        victim.send(signal.SIGCONT)

    def _reset(self, proxy: ChaosProxy) -> None:
        proxy.reset()

    def _stall(self, proxy: ChaosProxy) -> None:
        direction = self._random.choice([UP, DOWN])
        proxy.stall(direction)
        self.result.faults["stall"] += 1
        time.sleep(self._random.uniform(0.1, 1.0))
        proxy.flow(direction)

    def _lose_ack(self, proxy: ChaosProxy) -> None:
        """Not the answer to a hello or an open, that is, but to lines that flow."""
        seen = proxy.happened.bytes_down
        end = time.monotonic() + 3
        while proxy.happened.bytes_down < seen + 1000 and time.monotonic() < end:
            time.sleep(0.01)
        proxy.lose_next_ack()
        self.result.faults["lose ack"] += 1

    def _half_open(self, proxy: ChaosProxy) -> None:
        proxy.half_open()
        self.result.faults["half open"] += 1

    def _make_peace(self, proxy: ChaosProxy) -> None:
        proxy.flow(UP)
        proxy.flow(DOWN)
        proxy.disarm()
        for running in (self._client, self._server):
            if running.is_over:
                raise AssertionError(f"a program has ended by itself: {running.stderr[-2000:]}")

    # --- both ends

    def _start_client(self, proxy: ChaosProxy) -> Program:
        return self._start(
            ROOT / "main.py",
            *("--mode", "continuous", "--log-file", self._log, "--server-host", "127.0.0.1"),
            *("--server-port", proxy.port, "--state-dir", self._folder / "state", *_QUICK),
            *self._plan.client_words,
        )

    def _start_server(self) -> Program:
        return self._start(
            ROOT / "server_main.py",
            *("--server-host", "127.0.0.1", "--server-port", self._port, "--data-dir", self._data_dir),
        )

    def _start(self, *words: object) -> Program:
        running = Program([sys.executable, *map(str, words)], self._folder)
        self._programs.append(running)
        return running

    # --- the count

    def _wait_for(self, count: int) -> None:
        end = time.monotonic() + _DRAIN_S
        while _count_stored(self._data_dir) < count:
            if time.monotonic() > end:
                return  # the count will tell what is missing
            if self._client.is_over or self._server.is_over:
                raise AssertionError(
                    f"a program has ended: {self._client.stderr[-2000:]} {self._server.stderr[-2000:]}"
                )
            time.sleep(0.1)

    def _take_stock(self, writer: Writer) -> None:
        result = self.result
        result.written, result.rotations = writer.written, writer.files
        for running in self._programs:
            result.suppressed += len(re.findall(r"bytes \d+ to \d+ of .* are already stored", running.stderr))
            result.recovered += len(re.findall(r"cut \d+ bytes", running.stderr))
        seen: Counter[int] = Counter()
        last_of_file: dict[int, int] = {}
        for line in _stored(self._data_dir):
            result.stored += 1
            found = _LINE.search(line)
            if not found:
                result.invented += 1
                continue
            number, file = int(found[1]), int(found[2])
            if _rendered(payload(number, file)) != line:
                result.altered += 1
            if number >= writer.written:
                result.invented += 1
            result.out_of_order += last_of_file.get(file, -1) >= number
            last_of_file[file] = number
            seen[number] += 1
        result.unique = len(seen)
        result.repeated = sum(count - 1 for count in seen.values())
        result.missing = writer.written - sum(number < writer.written for number in seen)


def _rendered(line: bytes) -> bytes:
    return b'{"level": "INFO", "message": "%s", "timestamp": "2024-01-15 08:23:45"}\n' % line[25:-1]


def _segments(data_dir: Path) -> list[Path]:
    def age(path: Path) -> tuple[str, int]:
        day, _, number = path.stem.rpartition("-")
        return day, int(number)

    return sorted((data_dir / "segments").rglob("*.ndjson"), key=age)


def _count_stored(data_dir: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in _segments(data_dir))


def _stored(data_dir: Path) -> Iterator[bytes]:
    for path in _segments(data_dir):
        yield from path.read_bytes().splitlines(keepends=True)


def main() -> int:
    """Run a campaign as the command line says; print its result; return 0 if it is clean."""
    parser = argparse.ArgumentParser(description="Conservation under faults.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kills", type=int, default=20, help="of each end, at least")
    parser.add_argument("--resets", type=int, default=50, help="at least")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--client-words", nargs=argparse.REMAINDER, default=list(Plan().client_words))
    given = parser.parse_args()
    plan = Plan(
        seconds=given.seconds,
        min_kills=given.kills,
        min_resets=given.resets,
        seed=given.seed,
        client_words=tuple(given.client_words),
    )
    with tempfile.TemporaryDirectory(prefix="logferry-campaign-") as folder:
        result = Campaign(Path(folder), plan).run()
    print(f"seed {plan.seed}: {result}")
    if not result.counts:
        print("this campaign does not count: its faults did not really happen")
    return 0 if result.is_clean and result.counts else 1


if __name__ == "__main__":
    sys.exit(main())
