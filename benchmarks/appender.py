"""A program that logs: `python3 appender.py FOLDER FILES LINES_PER_S SECONDS` appends lines that carry their time.

The lines go to the files in turn, each with its own `write`. The word after the level is the time right before that
`write`: the system's monotonic clock in nanoseconds. Lines that become due while the program writes or sleeps follow
immediately.
"""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.data import names_in  # noqa: E402  (the path comes first)

_NS: Final = 1_000_000_000
_PADDING: Final = (
    b"request handled for customer, session opened\n"  # about 100 bytes a line, including what comes before
)


def append(paths: Sequence[Path], *, lines_per_s: int, seconds: float) -> None:
    """Append `lines_per_s` lines a second in total, evenly, each with its own `write`."""
    descriptors = [os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) for path in paths]
    files = len(descriptors)
    began, total = time.monotonic_ns(), int(lines_per_s * seconds)
    written = 0
    while written < total:
        due = min(total, (time.monotonic_ns() - began) * lines_per_s // _NS + 1)
        for number in range(written, due):
            line = b"2024-01-15 08:23:45 INFO %d line %d %b" % (time.monotonic_ns(), number, _PADDING)
            os.write(descriptors[number % files], line)
        written = due
        time.sleep(max(0, began + written * _NS // lines_per_s - time.monotonic_ns()) / _NS)


def sent_at(paths: Iterable[Path]) -> list[int]:
    """Return when each line was sent, in order, in nanoseconds of the monotonic clock."""
    times: list[int] = []
    for path in paths:
        with path.open("rb") as file:
            times += [int(line.split(b" ", 4)[3]) for line in file]
    return sorted(times)


def main() -> None:
    """Run the program; see the docstring of the module."""
    folder, files, lines_per_s, seconds = sys.argv[1:]
    append(names_in(Path(folder), int(files)), lines_per_s=int(lines_per_s), seconds=float(seconds))


if __name__ == "__main__":
    main()
