"""The queue between the prefetch thread and the delivery engine: bounded and in order. It never drops a batch."""

import threading
from collections import deque
from typing import Final

from logferry.client.net.waiting.wakeup import Wakeup
from logferry.model.batch import Batch

# The queue is bounded in bytes too: 50,000 lines of a megabyte each would not fit into any machine.
QUEUE_BYTES: Final = 8 * 1024 * 1024

# While the consumer keeps up, the producer stays only one batch ahead, or several small ones: what it has just rendered
# is then still in the processor's cache when it is sent (benchmarks/run.py: 8 MB ahead is 8 % slower). A consumer that
# leaves more than this in the queue for _KEEPS_UP_S is not keeping up; the producer then fills the queue to its bounds.
_AHEAD_BYTES: Final = 64 * 1024
_AHEAD_BATCHES: Final = 128
_KEEPS_UP_S: Final = 0.25

# Batches without lines add neither lines nor bytes to the queue, but each takes memory.
_MAX_BATCHES: Final = 10_000


class BatchQueue:
    """Batches in order, bounded in lines and in bytes. One thread puts; the engine's thread gets and never waits."""

    def __init__(self, *, max_lines: int, max_bytes: int = QUEUE_BYTES, not_empty: Wakeup) -> None:
        """A batch that is put into an empty queue sets `not_empty`, which wakes a consumer that sleeps in a `poll`."""
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
        """Wait for room and add `batch`; return False if no room appeared in time. An empty queue takes any batch."""
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
        """Accept any batch from now on, so that the producer can put the batch that it holds, and end."""
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
        if len(self._batches) >= _MAX_BATCHES:
            return False
        return self.lines + batch.lines <= self._max_lines and self._bytes + len(batch.payload) <= self._max_bytes
