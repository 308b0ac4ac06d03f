"""Our server, with the CPU time of each step of its event loop: hostile.py runs it with the server's own flags.

Prints the number of steps, and their percentiles in milliseconds, when it ends. A step is one callback of the loop.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "src")]

# Buckets of ten microseconds up to a second: every step is counted, and none is kept.
_BUCKET_NS: Final = 10_000
_BUCKETS: Final = 100_000

_counts: Final = [0] * (_BUCKETS + 1)


def _measure_steps() -> None:
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        before = time.thread_time_ns()
        run(handle)
        _counts[min(_BUCKETS, (time.thread_time_ns() - before) // _BUCKET_NS)] += 1

    asyncio.Handle._run = measured  # type: ignore[method-assign, assignment]


def _percentile_ms(share: float) -> float:
    left = sum(_counts) * share
    for bucket, count in enumerate(_counts):
        left -= count
        if left <= 0:
            return (bucket + 1) * _BUCKET_NS / 1e6
    return _BUCKETS * _BUCKET_NS / 1e6


def main() -> int:
    """Serve until a signal ends it."""
    from logferry.cli.dispatch import main as logferry

    _measure_steps()
    try:
        return logferry(["serve", *sys.argv[1:]])
    finally:
        print(f"{sum(_counts)} steps: p99 {_percentile_ms(0.99)} ms, longest {_percentile_ms(1)} ms", flush=True)


if __name__ == "__main__":
    sys.exit(main())
