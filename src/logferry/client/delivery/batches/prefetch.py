"""Prefetch: a second thread reads and renders ahead of the delivery engine, into a queue of at most BUFFER_SIZE lines.

A full queue is backpressure: the producer stops reading but keeps looking for rotations. It never drops a line.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from logferry.client.delivery.batches.batch_queue import BatchQueue
from logferry.client.delivery.batches.batches import Claim, RenderedRange, RenderingProducer
from logferry.client.net.waiting.poller import Poller
from logferry.client.net.waiting.readiness import READ
from logferry.client.net.waiting.wakeup import Wakeup
from logferry.client.readers.rerender import do_nothing
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.telemetry.metrics import Metrics
from logferry.worker import Worker

# A batch fills only a part of the buffer, so that both threads have work.
_BATCHES_PER_BUFFER: Final = 4


class PrefetchingProducer:
    """A BatchProducer whose batches come through a queue from a thread that reads ahead.

    The engine's thread calls the methods of BatchProducer. The producer's thread alone reads and renders; it sets
    `_is_drained`, which `send_back` clears under the lock.
    """

    def __init__(
        self, producer: RenderingProducer, *, max_lines: int, poll_interval_s: float, metrics: Metrics, wakeup: Wakeup
    ) -> None:
        self._producer = producer
        self._poll_interval_s = poll_interval_s
        self._metrics = metrics
        self._wakeup_of_engine = wakeup
        self._queue = BatchQueue(max_lines=max_lines, not_empty=wakeup)
        self._wakeup_of_producer = Wakeup()  # set when a source was sent back, or the thread should end
        self._poller = Poller()
        self._next_tick = time.monotonic() + poll_interval_s
        self._drained = threading.Lock()
        self._is_drained = False
        self._worker = Worker(
            self._produce, name="producer", on_stop=self._wakeup_of_producer.set, on_end=self._note_end
        )

    def start(self) -> None:
        """Begin to read ahead."""
        self._worker.start()

    @property
    def is_finished(self) -> bool:
        """See BatchProducer: everything was read, and the queue is empty. Raises the error of a thread that failed."""
        failure = self._worker.failure
        has_ended = self._is_drained or failure is not None  # a source may have been sent back after the failure
        if not has_ended or len(self._queue):  # in this order: the thread puts its last batch before it ends
            return False
        if failure is not None:
            raise failure
        return True

    @property
    def is_busy(self) -> bool:
        """See BatchProducer: a batch that is put wakes the engine, so the engine never needs to ask again."""
        return False

    @property
    def wake_fds(self) -> Sequence[int]:
        """See BatchProducer: the producer's thread waits for the reader's descriptors."""
        return ()

    @property
    def patience_s(self) -> float:
        """See BatchProducer: the producer's thread checks the files, and wakes the engine when it puts a batch."""
        return 0.0 if len(self._queue) else math.inf

    def next_batch(self) -> Batch | None:
        """See BatchProducer."""
        batch = self._queue.try_get()
        self._metrics.set_queue_lines(self._queue.lines)
        return batch

    def tick(self) -> None:
        """See BatchProducer: does nothing, because the producer's thread ticks on its own."""

    def stop(self) -> None:
        """See BatchProducer."""
        self._producer.stop()
        self._queue.lift_bounds()
        self._wakeup_of_producer.set()

    def send_back(self, source: Source, offset: int | None, *, one_by_one_until: int) -> None:
        """See BatchProducer. Batches of that source in the queue are of an earlier epoch; the engine discards them."""
        with self._drained:
            self._producer.send_back(source, offset, one_by_one_until=one_by_one_until)
            self._is_drained = False
        self._wakeup_of_producer.set()

    def crc32_behind(self, wanted: RenderedRange, *, between: Callable[[], object] = do_nothing) -> int | None:
        """See BatchProducer."""
        return self._producer.crc32_behind(wanted, between=between)

    def holds(self, claim: Claim, *, between: Callable[[], object] = do_nothing) -> bool:
        """See BatchProducer."""
        return self._producer.holds(claim, between=between)

    def join(self) -> None:
        """Wait for the end of the thread, after `stop`. Does not raise the thread's error; `is_finished` does."""
        self._worker.ask_to_stop()
        self._worker.wait_for_end()
        self._wakeup_of_producer.close()

    def _produce(self, worker: Worker) -> None:
        while not worker.is_stopping:
            self._produce_one()

    def _note_end(self) -> None:
        """Let the engine see that the thread has ended, and raise its error if it failed."""
        self._is_drained = True
        self._wakeup_of_engine.set()

    def _produce_one(self) -> None:
        batch = self._producer.next_batch()
        if batch is not None:
            self._put(batch)
        elif self._note_drained():
            self._wakeup_of_engine.set()
            self._wakeup_of_producer.wait()
        else:
            self._wait(0.0 if self._producer.is_busy else max(self._poll_interval_s, self._producer.patience_s))
            self._tick()

    def _put(self, batch: Batch) -> None:
        """Wait for room in the queue. Announcements do not matter meanwhile: the producer would read nothing more."""
        while not self._queue.try_put(batch, timeout_s=self._poll_interval_s):
            self._tick()
        self._metrics.set_queue_lines(self._queue.lines)
        if time.monotonic() >= self._next_tick:  # batches may come without a pause for hours
            self._tick()

    def _note_drained(self) -> bool:
        with self._drained:  # the engine may send a source back at the same time
            self._is_drained = self._producer.is_finished
            return self._is_drained

    def _wait(self, timeout_s: float) -> None:
        """Wait until there may be something to read."""
        ready, _ = self._poller.poll({self._wakeup_of_producer.fileno(): READ}, self._producer.wake_fds, timeout_s)
        if ready:
            self._wakeup_of_producer.clear()

    def _tick(self) -> None:
        self._producer.tick()
        self._next_tick = time.monotonic() + self._poll_interval_s


def max_batch_lines(buffer_size: int) -> int:
    """Return the most lines that a batch should have for a queue of `buffer_size` lines."""
    return max(1, buffer_size // _BATCHES_PER_BUFFER)
