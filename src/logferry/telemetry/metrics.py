"""The numbers of a running client: counted by any thread, read as a total or interval by interval.

Owns the values. table.py declares their names and meanings; the views (report_line.py, summary.py, the client's status)
show them.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Final

from logferry.telemetry.latency import LatencyHistogram
from logferry.telemetry.table import CLIENT_COUNTERS, Counters, Gauges

_values_of: Final = attrgetter(*(metric.name for metric in CLIENT_COUNTERS))


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers of one interval, or of the whole run. Gauges are as they were at its end."""

    seconds: float
    counters: Counters
    latency: LatencyHistogram
    gauges: Gauges


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a client is behind, summed over its files.

    `behind_since` is the Unix time since which a file has had unacked bytes; 0: none has.
    """

    files: int = 0
    files_unreadable: int = 0
    unread_bytes: int = 0
    unacked_bytes: int = 0
    behind_since: float = 0.0


class Metrics:
    """The counters and gauges of one client. The reader, the engine and the health monitor write them, from any thread.

    `changed` is set whenever a number changes, for the one thread that waits for it and clears it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.changed: Final = threading.Event()
        self._clock = clock
        self.lag = Lag()  # as of the last status; its writer replaces the whole
        self._lock = (
            threading.Lock()
        )  # protects all that follows; only the queue length, a single value, is set without it
        self._gauges = Gauges()
        self._counters = Counters()
        self._latency = LatencyHistogram()
        self._started_at = clock()
        self._taken = Counters()  # the counters at the beginning of the current interval
        self._interval_latency = LatencyHistogram()
        self._interval_began_at = self._started_at

    def add(self, **increments: int) -> None:
        """Increment counters by name: `add(lines_read=100, bytes_read=9000)`. Called for each batch."""
        counters = self._counters
        with self._lock:
            for name, increment in increments.items():
                if increment:
                    setattr(counters, name, getattr(counters, name) + increment)
        self._note_change()

    def acked(self, lines: int, latency_s: float) -> None:
        """Count `lines` acked, `latency_s` after they were handed to the network."""
        with self._lock:
            self._counters.lines_acked += lines
            self._latency.record(latency_s, lines)
            self._interval_latency.record(latency_s, lines)
        self._note_change()

    def answered_lines(self) -> int:
        """Return how many lines the server has acked or refused."""
        return self._counters.lines_acked + self._counters.lines_rejected

    def set_queue_lines(self, lines: int) -> None:
        """Set how many lines wait between reading and sending."""
        self._gauges.queue_lines = lines
        self._note_change()

    def set_held(self, files: int, size: int) -> None:
        """Set how many rotated or deleted files are held open, and how many of their bytes are not acked."""
        with self._lock:
            self._gauges.held_files, self._gauges.held_bytes = files, size
        self._note_change()

    def set_tls_expires_at(self, unix_time: int) -> None:
        """Set when the client's own certificate expires, 0 if it has none."""
        with self._lock:
            self._gauges.tls_expires_at = unix_time
        self._note_change()

    def total(self) -> Interval:
        """Return the numbers since the start."""
        with self._lock:
            return self.total_so_far()

    def total_so_far(self) -> Interval:
        """Return the same without waiting for a thread that counts: a batch may be missing. For signal handlers."""
        seconds = self._clock() - self._started_at
        return Interval(seconds, replace(self._counters), self._latency.copy(), replace(self._gauges))

    def take(self) -> Interval:
        """Return the numbers since the last call (or the start), and begin a new interval."""
        with self._lock:
            now, counters = self._clock(), replace(self._counters)
            interval = Interval(
                now - self._interval_began_at,
                _difference(counters, self._taken),
                self._interval_latency,
                replace(self._gauges),
            )
            self._interval_began_at, self._taken, self._interval_latency = now, counters, LatencyHistogram()
            return interval

    def _note_change(self) -> None:
        # Checking costs a tenth of setting. The thread that clears the event reads the numbers afterwards.
        if not self.changed.is_set():
            self.changed.set()


def _difference(later: Counters, earlier: Counters) -> Counters:
    return Counters(*(new - old for new, old in zip(_values_of(later), _values_of(earlier), strict=True)))
