"""How fast a single thread renders (the client's work) and validates (the server's), for each kind of line.

By hand: `python3 benchmarks/formatter.py`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from logferry.client.formatter import render  # noqa: E402  (the path comes first)
from logferry.protocol.validation import Accept, validate  # noqa: E402

# As large as what the client reads at once.
_CHUNK_BYTES: Final = 256 * 1024
_ROUNDS: Final = 3
_ROUND_S: Final = 0.1

_TEXT: Final = "request handled for customer 4711 in 12 ms by worker 3, cache miss"
_VARIATIONS: Final[dict[str, bytes]] = {
    "as in the table above": f"2024-01-15 08:23:45 INFO {_TEXT}".encode(),
    "T, fraction, zone": f"2024-01-15T08:23:45.123456+02:00 INFO {_TEXT}".encode(),
    "[INFO]": f"2024-01-15 08:23:45 [INFO] {_TEXT}".encode(),
    "info:": f"2024-01-15 08:23:45 info: {_TEXT}".encode(),
    "quotes, backslashes": f'2024-01-15 08:23:45 INFO "C:\\data" {_TEXT}'.encode(),
    "tabs": f"2024-01-15 08:23:45\tINFO\t{_TEXT}".encode(),
    "control characters": f"2024-01-15 08:23:45 INFO \x1b[31m{_TEXT}\x1b[0m".encode(),
    "CRLF": f"2024-01-15 08:23:45 INFO {_TEXT}\r".encode(),
    "not ASCII": f"2024-01-15 08:23:45 INFO zażółć 日本 {_TEXT}".encode(),
    "no timestamp or level": f"    {_TEXT}".encode(),
    "not UTF-8": f"2024-01-15 08:23:45 INFO caf\udce9 {_TEXT}".encode(errors="surrogateescape"),
}


@dataclass(frozen=True, slots=True)
class FormatSpeed:
    """Lines a second of one kind of line."""

    name: str
    render_lines_per_s: float
    validate_lines_per_s: float


def measure_formats() -> list[FormatSpeed]:
    """Measure every kind of line; takes some seconds."""
    return [_measure(name, line + b"\n") for name, line in _VARIATIONS.items()]


def _measure(name: str, line: bytes) -> FormatSpeed:
    lines = _CHUNK_BYTES // len(line)
    chunk = line * lines
    payload = render(chunk).payload
    return FormatSpeed(
        name,
        lines / _best_s(lambda: render(chunk)),
        lines / _best_s(lambda: validate(payload, accept=Accept.LEVEL_AND_MESSAGE)),
    )


def _best_s(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes: the best of some rounds, because noise only ever adds."""
    return min(_average_s(work) for _ in range(_ROUNDS))


def _average_s(work: Callable[[], object]) -> float:
    count = 0
    start = time.perf_counter()
    while (elapsed := time.perf_counter() - start) < _ROUND_S or not count:
        work()
        count += 1
    return elapsed / count


def _main() -> None:
    for speed in measure_formats():
        rates = f"{speed.render_lines_per_s:12,.0f} {speed.validate_lines_per_s:12,.0f}"
        print(f"{speed.name:24} render, validate lines/s {rates}")


if __name__ == "__main__":
    _main()
