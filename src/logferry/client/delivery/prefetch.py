"""Prefetch: a queue and a second thread between reading and sending.

The producer thread reads and renders; the queue holds at most BUFFER_SIZE lines; a full queue makes the producer wait
(it keeps looking at the log file meanwhile) and never drops.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from logferry.client.delivery.batches import RenderingProducer
from logferry.client.net.poller import Poller
from logferry.client.net.readiness import READ
from logferry.client.net.wakeup import Wakeup
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.delivery import Extent
from logferry.telemetry.metrics import Metrics
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# The queue is bounded in bytes too: 50,000 lines of a megabyte each would not fit into any machine.
QUEUE_BYTES: Final = 8 * 1024 * 1024

# While the consumer keeps up, the producer stays one batch ahead, or several small ones, and no more: what it has just
# rendered is then still in the processor's cache when it is sent (benchmarks/run.py: 8 MB ahead is 8 % slower).
# A consumer that has taken nothing for this long is not keeping up; then the queue fills to its bounds.
_AHEAD_BYTES: Final = 64 * 1024
_AHEAD_BATCHES: Final = 128
_KEEPS_UP_S: Final = 0.25

# Batches without lines are none of the bounds in lines or bytes, but not free either.
_MOST_BATCHES: Final = 10_000

# A batch is never more than a part of the buffer, so that both threads have something to do.
_BATCHES_PER_BUFFER: Final = 4


class BatchQueue:
    """Batches in order, bounded in lines and in bytes. One thread puts, one gets; getting never waits."""

    def __init__(self, *, max_lines: int, max_bytes: int = QUEUE_BYTES, not_empty: Wakeup) -> None:
        """`not_empty` is set whenever a batch is put, for a consumer that sleeps in a `poll`."""
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._not_empty = not_empty
        self._not_full = threading.Condition()
        self._batches: deque[Batch] = deque()
        self._is_bounded = True
        self._bytes = 0
        self.lines = 0

    def __len__(self) -> int:
        return len(self._batches)

    def try_put(self, batch: Batch, *, timeout_s: float) -> bool:
        """Wait for room and add `batch`; False when there was none within the time. An empty queue takes any batch."""
        with self._not_full:
            self._not_full.wait_for(self._is_running_low, min(timeout_s, _KEEPS_UP_S))
            if not self._not_full.wait_for(lambda: self._has_room(batch), timeout_s):
                return False
            was_empty = not self._batches
            self._batches.append(batch)
            self.lines += batch.lines
            self._bytes += len(batch.payload)
        if was_empty:
            self._not_empty.set()
        return True

    def try_get(self) -> Batch | None:
        """Return the oldest batch, or None."""
        with self._not_full:
            if not self._batches:
                return None
            batch = self._batches.popleft()
            self.lines -= batch.lines
            self._bytes -= len(batch.payload)
            self._not_full.notify()
        return batch

    def lift_bounds(self) -> None:
        """From now on any batch fits: the producer puts the one that it has in hand, and ends."""
        with self._not_full:
            self._is_bounded = False
            self._not_full.notify_all()

    def _is_empty_or_unbounded(self) -> bool:
        return not self._batches or not self._is_bounded

    def _is_running_low(self) -> bool:
        is_low = self._bytes < _AHEAD_BYTES and len(self._batches) < _AHEAD_BATCHES
        return is_low or not self._is_bounded

    def _has_room(self, batch: Batch) -> bool:
        if self._is_empty_or_unbounded():
            return True
        if len(self._batches) >= _MOST_BATCHES:
            return False
        return self.lines + batch.lines <= self._max_lines and self._bytes + len(batch.payload) <= self._max_bytes


class PrefetchingProducer:
    """A BatchProducer whose batches come through a queue from a thread that works ahead."""

    def __init__(
        self, producer: RenderingProducer, *, max_lines: int, poll_interval_s: float, metrics: Metrics, wakeup: Wakeup
    ) -> None:
        self._producer = producer
        self._poll_interval_s = poll_interval_s
        self._metrics = metrics
        self._wakeup = wakeup
        self._queue = BatchQueue(max_lines=max_lines, not_empty=wakeup)
        self._news = Wakeup()  # a source is sent back, or the end is near
        self._poller = Poller()
        self._next_tick = time.monotonic() + poll_interval_s
        self._drained = threading.Lock()
        self._is_drained = False
        self._worker = Worker(self._produce, name="producer", on_stop=self._news.set, on_end=self._note_end)

    def start(self) -> None:
        """Begin to read ahead."""
        self._worker.start()

    @property
    def is_finished(self) -> bool:
        """See BatchProducer: all was read, the queue is empty. Raises what ended the thread, if it failed."""
        if not self._is_drained or len(self._queue):
            return False
        if self._worker.failure is not None:
            raise self._worker.failure
        return True

    @property
    def is_busy(self) -> bool:
        """See BatchProducer: a batch that is put wakes the engine, so there is never a reason to ask again."""
        return False

    @property
    def wake_fds(self) -> Sequence[int]:
        """See BatchProducer: the producer waits for those itself."""
        return ()

    @property
    def patience_s(self) -> float:
        """See BatchProducer: the producer looks at the file itself, and wakes the engine when it puts a batch."""
        return 0.0 if len(self._queue) else math.inf

    def next_batch(self) -> Batch | None:
        """See BatchProducer."""
        batch = self._queue.try_get()
        self._metrics.set_queue_lines(self._queue.lines)
        return batch

    def tick(self) -> None:
        """See BatchProducer: nothing is left to do."""

    def stop(self) -> None:
        """See BatchProducer."""
        self._producer.stop()
        self._queue.lift_bounds()
        self._news.set()

    def send_back(self, source: Source, offset: int | None, *, one_by_one_until: int) -> None:
        """See BatchProducer. What is in the queue of that source is of an earlier epoch; the engine passes over it."""
        with self._drained:
            self._producer.send_back(source, offset, one_by_one_until=one_by_one_until)
            self._is_drained = False
        self._news.set()

    def agrees(self, source: Source, *, committed: int, crc32: int) -> bool:
        """See BatchProducer."""
        return self._producer.agrees(source, committed=committed, crc32=crc32)

    def holds(self, source: Source, extents: Iterable[Extent]) -> bool:
        """See BatchProducer."""
        return self._producer.holds(source, extents)

    def join(self) -> None:
        """Wait for the end of the thread; `stop` must have been called. `is_finished` raises what it failed with."""
        self._worker.ask_to_stop()
        self._worker.wait_for_end()
        self._news.close()

    def _produce(self, worker: Worker) -> None:
        while not worker.is_stopping:
            self._produce_one()

    def _note_end(self) -> None:
        """Let the engine see the end and, if the thread has failed, raise its failure."""
        self._is_drained = True
        self._wakeup.set()

    def _produce_one(self) -> None:
        batch = self._producer.next_batch()
        if batch is not None:
            self._put(batch)
        elif self._note_drained():
            self._wakeup.set()
            self._news.wait()
        else:
            self._wait(0.0 if self._producer.is_busy else max(self._poll_interval_s, self._producer.patience_s))
            self._tick()

    def _put(self, batch: Batch) -> None:
        """Wait for room. News of files do not matter meanwhile: nothing more would be read of them."""
        while not self._queue.try_put(batch, timeout_s=self._poll_interval_s):
            self._tick()
        self._metrics.set_queue_lines(self._queue.lines)
        if time.monotonic() >= self._next_tick:  # there may be a batch after each other for hours
            self._tick()

    def _note_drained(self) -> bool:
        with self._drained:  # a source may be sent back in this moment
            self._is_drained = self._producer.is_finished
            return self._is_drained

    def _wait(self, timeout_s: float) -> None:
        """Wait until there may be something to read."""
        ready, _ = self._poller.poll({self._news.fileno(): READ}, self._producer.wake_fds, timeout_s)
        if ready:
            self._news.clear()

    def _tick(self) -> None:
        self._producer.tick()
        self._next_tick = time.monotonic() + self._poll_interval_s


def max_batch_lines(buffer_size: int) -> int:
    """Return how many lines a batch may have so that a queue of `buffer_size` lines works well."""
    return max(1, buffer_size // _BATCHES_PER_BUFFER)
