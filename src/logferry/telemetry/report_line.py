"""The report line, which sums up an interval on one line of the log, and the thread that logs it."""

import logging
from collections.abc import Iterator

from logferry.telemetry.metrics import Interval, Metrics
from logferry.telemetry.table import CLIENT_COUNTERS, Counters, phrases
from logferry.worker import Worker

logger = logging.getLogger(__name__)


def describe(interval: Interval) -> str:
    """Return the report line of an interval; rare events appear only if there were any."""
    counters, latency, seconds = interval.counters, interval.latency, max(interval.seconds, 1e-9)
    return ", ".join(
        [
            f"read {counters.lines_read} lines ({counters.bytes_read} bytes), shipped {counters.lines_shipped}",
            f"acked {counters.lines_acked} ({counters.lines_acked / seconds:.0f}/s)",
            f"rejected {counters.lines_rejected}, retried {counters.lines_retried}",
            f"wire {counters.bytes_wire} bytes in {counters.batches} batches",
            f"reconnects {counters.reconnects}, queue {interval.gauges.queue_lines} lines",
            f"ack latency avg {latency.average_s * 1e3:.1f} ms p50 {latency.percentile_s(0.5) * 1e3:.1f} "
            f"p99 {latency.percentile_s(0.99) * 1e3:.1f} max {latency.max_s * 1e3:.1f}",
            *rare_events(interval),
        ]
    )


def rare_events(interval: Interval) -> Iterator[str]:
    """Yield a phrase for each rare kind of event that happened."""
    gauges = interval.gauges
    if gauges.held_files:
        yield f"held {gauges.held_files} files ({gauges.held_bytes} bytes not acked)"
    yield from phrases(CLIENT_COUNTERS, interval.counters, "report")


def shortcomings(counters: Counters) -> list[str]:
    """Return a sentence for each kind of line or byte that was not delivered unchanged."""
    return list(phrases(CLIENT_COUNTERS, counters, "shortcoming"))


class Reporter:
    """Logs one line about the last interval every `interval_s` seconds, in its own thread, and one about the rest."""

    def __init__(self, metrics: Metrics, *, interval_s: float) -> None:
        self._metrics = metrics
        self._interval_s = interval_s
        self._worker = Worker(self._run, name="metrics-reporter")

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def stop(self) -> None:
        """Stop the thread; this never takes longer than one log line."""
        self._worker.stop()

    def _run(self, worker: Worker) -> None:
        is_over = False
        while not is_over:
            is_over = worker.wait(self._interval_s)
            logger.info("metrics: %s", describe(self._metrics.take()))
