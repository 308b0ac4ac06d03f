"""A program that logs: `python3 appender.py FILE LINES_PER_S SECONDS` appends lines that carry the time they were sent.

The time is the system's monotonic clock in nanoseconds, taken right before the line's own `write`; it is the word
behind the level. Lines that are due while others are written, or while the program sleeps, follow at once.
"""

import os
import sys
import time
from pathlib import Path
from typing import Final

_NS: Final = 1_000_000_000
_PADDING: Final = b"request handled for customer, session opened\n"  # about 100 bytes a line, with what comes before


def append(path: Path, *, lines_per_s: int, seconds: float) -> None:
    """Append so many lines, evenly, each with a `write` of its own."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    began, total = time.monotonic_ns(), int(lines_per_s * seconds)
    written = 0
    while written < total:
        due = min(total, (time.monotonic_ns() - began) * lines_per_s // _NS + 1)
        for number in range(written, due):
            os.write(fd, b"2024-01-15 08:23:45 INFO %d line %d %b" % (time.monotonic_ns(), number, _PADDING))
        written = due
        time.sleep(max(0, began + written * _NS // lines_per_s - time.monotonic_ns()) / _NS)
    os.close(fd)


def sent_at(path: Path) -> list[int]:
    """Return when each line was sent, in nanoseconds of the monotonic clock."""
    with path.open("rb") as file:
        return [int(line.split(b" ", 4)[3]) for line in file]


def main() -> None:
    """See the module."""
    append(Path(sys.argv[1]), lines_per_s=int(sys.argv[2]), seconds=float(sys.argv[3]))


if __name__ == "__main__":
    main()
