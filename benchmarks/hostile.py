"""What an honest client notices of a hundred hostile ones: `python3 benchmarks/hostile.py`. README.md explains it.

One server; one plain client that sends a line every few milliseconds and waits for its ack, first alone, then beside
the attackers (attackers.py). The exit code says whether every line was acked, never how fast.
"""

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.ends import START_LIMIT_S, start_script, store_of  # noqa: E402  (the path comes first)
from benchmarks.measure import BenchmarkError  # noqa: E402

ATTACKERS: Final = 100

_LINE: Final = b'{"level": "INFO", "message": "honest", "timestamp": "2024-01-15 08:23:45"}\n'
_EVERY_S: Final = 0.01
_ACK_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Hostile:
    """The result: the honest client's acks in milliseconds, alone and beside attackers, and what the server took."""

    quiet_p99_ms: float
    hostile_p99_ms: float
    hostile_max_ms: float
    ratio: float
    step_p99_ms: float
    step_max_ms: float
    server_peak_mb: float


def measure_hostile(folder: Path, *, seconds: float, attackers: int = ATTACKERS) -> Hostile:
    """Measure for `seconds` alone, and as long beside the attackers. Raises BenchmarkError."""
    flags = ("--server-host", "127.0.0.1", "--server-port", "0", "--data-dir", str(store_of(folder)))
    with start_script("stepped_server", *flags, folder=folder) as server:
        port = int(server.wait_for_output(r"listening on \S+ port (\d+)\n", limit_s=START_LIMIT_S)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=_ACK_LIMIT_S) as honest:
            honest.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            quiet = _waits(honest, seconds)
            with start_script("attackers", str(port), str(attackers), folder=folder) as attack:
                attack.wait_for_output("connections", limit_s=START_LIMIT_S)
                hostile = _waits(honest, seconds)
                os.kill(attack.pid, signal.SIGKILL)
        peak = server.peak_bytes()
        server.stop()
        steps = server.wait_for_output(r"steps: p99 ([\d.]+) ms, longest ([\d.]+) ms", limit_s=START_LIMIT_S)
    quiet_p99, hostile_p99 = _p99_ms(quiet), _p99_ms(hostile)
    return Hostile(
        *(quiet_p99, hostile_p99, max(hostile) * 1000, hostile_p99 / quiet_p99),
        *(float(steps[1]), float(steps[2]), peak / 1e6),
    )


def _waits(honest: socket.socket, seconds: float) -> list[float]:
    """Return how long each ack took, in seconds. Raises BenchmarkError if one does not come."""
    waits: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sent_at = time.monotonic()
        try:
            honest.sendall(_LINE)
            answer = honest.recv(4096)
        except OSError as error:
            raise BenchmarkError(f"the honest client got no ack: {error}") from error
        if b'"ok"' not in answer:
            raise BenchmarkError(f"the honest client was answered {answer!r}")
        waits.append(time.monotonic() - sent_at)
        time.sleep(_EVERY_S)
    return waits


def _p99_ms(waits: list[float]) -> float:
    return sorted(waits)[len(waits) * 99 // 100] * 1000


def main() -> int:
    """Measure once; print the result as JSON."""
    parser = argparse.ArgumentParser(description="Measure what an honest client notices of hostile ones.")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure, twice [5]")
    parser.add_argument("--attackers", type=int, default=ATTACKERS, help=f"how many connections attack [{ATTACKERS}]")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="logferry-hostile-") as folder:
            result = measure_hostile(Path(folder), seconds=options.seconds, attackers=options.attackers)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({name: round(value, 3) for name, value in asdict(result).items()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
