"""What happened, in numbers: counters, ack latency, snapshots, and a thread that reports them."""

import copy
import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final, Self

logger = logging.getLogger(__name__)

# Upper bounds of the latency buckets, in seconds: 50 us to 1000 s in steps of 20 %: so exact is a percentile.
_STEP: Final = 1.2
_BOUNDS: Final = tuple(50e-6 * _STEP**index for index in range(93))


class LatencyHistogram:
    """Latencies in a fixed number of buckets: average, percentiles and maximum without keeping each value."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self.count = 0
        self._sum_s = 0.0
        self.max_s = 0.0

    def record(self, seconds: float, count: int = 1) -> None:
        """Count `count` events that took `seconds` each."""
        self._buckets[bisect_left(_BOUNDS, seconds)] += count
        self.count += count
        self._sum_s += seconds * count
        self.max_s = max(self.max_s, seconds)

    @property
    def average_s(self) -> float:
        """The mean, exact; 0 when nothing was recorded."""
        return self._sum_s / self.count if self.count else 0.0

    def copy(self) -> Self:
        """Return a histogram of the same latencies that later ones do not change."""
        twin = copy.copy(self)
        twin._buckets = self._buckets.copy()
        return twin

    def percentile_s(self, fraction: float) -> float:
        """Return a value that `fraction` (0 to 1) of the events did not exceed, within the width of a bucket."""
        wanted = fraction * self.count
        seen = 0
        for bound, bucket in zip((*_BOUNDS, self.max_s), self._buckets, strict=True):
            seen += bucket
            if seen >= wanted and bucket:
                return min(bound, self.max_s)
        return self.max_s


@dataclass(slots=True)
class Counters:
    """Sums since the start, or since the last snapshot."""

    lines_read: int = 0
    lines_shipped: int = 0  # handed to the network, each once
    lines_acked: int = 0
    lines_rejected: int = 0
    lines_retried: int = 0  # handed to the network again
    lines_blank: int = 0
    lines_cut: int = 0
    lines_undecodable: int = 0
    bytes_read: int = 0  # of the log file
    bytes_wire: int = 0  # given to the network, compressed if so asked
    bytes_lost: int = 0  # of the log file, gone before they were read
    lines_joined: int = 0  # to the line before them, with which they are one event
    lines_filtered: int = 0  # left out because the user asked for it
    redactions: int = 0  # pieces of lines that were blotted out
    bytes_given_up: int = 0  # of held files, let go unread because they held more than the user allows
    batches: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers of one interval, or of the whole run."""

    seconds: float
    counters: Counters
    latency: LatencyHistogram
    queue_lines: int
    held_files: int = 0  # renamed or deleted, but not all of them is acked
    held_bytes: int = 0  # of those, not acked


class Metrics:
    """Counted into by the reader, the engine and the health monitor, from any thread.

    `news` is set whenever something is counted or said, for one thread that waits for it and takes it back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.news: Final = threading.Event()
        self._clock = clock
        self._lock = threading.Lock()
        self._queue_lines = 0
        self._held = (0, 0)
        self._total = self._since_now()
        self._interval = self._since_now()

    def add(self, **increments: int) -> None:
        """Add to counters by name: `add(lines_read=100, bytes_read=9000)`."""
        with self._lock:
            for counters in (self._total.counters, self._interval.counters):
                for name, increment in increments.items():
                    setattr(counters, name, getattr(counters, name) + increment)
        self.news.set()

    def acked(self, lines: int, latency_s: float) -> None:
        """Count `lines` acked, `latency_s` after they were handed to the network."""
        self.add(lines_acked=lines)
        with self._lock:
            self._total.latency.record(latency_s, lines)
            self._interval.latency.record(latency_s, lines)

    def set_queue_lines(self, lines: int) -> None:
        """Say how many lines wait between reading and sending."""
        self._queue_lines = lines
        self.news.set()

    def set_held(self, files: int, size: int) -> None:
        """Say how many renamed or deleted files are held open, and how many of their bytes are not acked."""
        self._held = (files, size)
        self.news.set()

    def total(self) -> Snapshot:
        """Return the numbers since the start."""
        with self._lock:
            return self._as_of_now(self._total)

    def take(self) -> Snapshot:
        """Return the numbers since the last call (or the start) and begin a new interval."""
        with self._lock:
            taken = self._as_of_now(self._interval)
            self._interval = self._since_now()
            return taken

    def _since_now(self) -> Snapshot:
        """Return an empty snapshot that holds, for now, its beginning in place of its duration."""
        return Snapshot(self._clock(), Counters(), LatencyHistogram(), 0)

    def _as_of_now(self, since: Snapshot) -> Snapshot:
        """Return a copy of `since` with its duration in place of its beginning."""
        counters = Counters(*(getattr(since.counters, field.name) for field in fields(Counters)))
        return Snapshot(self._clock() - since.seconds, counters, since.latency.copy(), self._queue_lines, *self._held)


def describe(snapshot: Snapshot) -> str:
    """Return one line for the log: what was counted, per second where that says more; rare things only if they are."""
    counters, latency, seconds = snapshot.counters, snapshot.latency, max(snapshot.seconds, 1e-9)
    return (
        f"read {counters.lines_read} lines ({counters.bytes_read} bytes), shipped {counters.lines_shipped}, "
        f"acked {counters.lines_acked} ({counters.lines_acked / seconds:.0f}/s), rejected {counters.lines_rejected}, "
        f"retried {counters.lines_retried}, wire {counters.bytes_wire} bytes in {counters.batches} batches, "
        f"reconnects {counters.reconnects}, queue {snapshot.queue_lines} lines, "
        f"ack latency avg {latency.average_s * 1e3:.1f} ms p50 {latency.percentile_s(0.5) * 1e3:.1f} "
        f"p99 {latency.percentile_s(0.99) * 1e3:.1f} max {latency.max_s * 1e3:.1f}{_rare_things(snapshot)}"
    )


def shortcomings(counters: Counters) -> list[str]:
    """Return a sentence for each kind of line or byte that was not delivered as it was."""
    found = (
        (counters.lines_rejected, f"{counters.lines_rejected} lines were refused by the server"),
        (counters.lines_cut, f"{counters.lines_cut} lines were too long and were cut"),
        (counters.bytes_lost, f"{counters.bytes_lost} bytes of the file were gone before they were read"),
        (counters.bytes_given_up, f"{counters.bytes_given_up} bytes of held files were given up (--max-held-bytes)"),
    )
    return [sentence for count, sentence in found if count]


def _rare_things(snapshot: Snapshot) -> str:
    counters = snapshot.counters
    found = (
        (snapshot.held_files, f"held {snapshot.held_files} files ({snapshot.held_bytes} bytes not acked)"),
        (counters.lines_joined, f"joined {counters.lines_joined} lines"),
        (counters.lines_filtered, f"filtered {counters.lines_filtered} lines"),
        (counters.redactions, f"redacted {counters.redactions}"),
        (counters.bytes_lost, f"lost {counters.bytes_lost} bytes"),
        (counters.bytes_given_up, f"gave up {counters.bytes_given_up} bytes of held files"),
    )
    return "".join(f", {text}" for count, text in found if count)


class Reporter:
    """Logs one line about the last interval every `interval_s` seconds, in a thread of its own."""

    def __init__(self, metrics: Metrics, *, interval_s: float) -> None:
        self._metrics = metrics
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-reporter", daemon=True)

    def start(self) -> None:
        """Begin to report."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it never takes longer than one log line."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            logger.info("metrics: %s", describe(self._metrics.take()))
