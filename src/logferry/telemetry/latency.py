"""Latencies: average, percentiles and maximum, in memory that does not grow with the number of events."""

import copy
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, Self

# Upper bounds of the buckets, in seconds: 50 us to 1000 s in steps of 20 %, the precision of a percentile.
_STEP: Final = 1.2
_BOUNDS: Final = tuple(50e-6 * _STEP**index for index in range(93))

# An exporter gets every fourth bound, each about twice the one before: 24 series.
_EXPOSED_EVERY: Final = 4


class LatencyHistogram:
    """Latencies in a fixed number of buckets. Not thread-safe: its owner must lock."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self.count = 0
        self.sum_s = 0.0
        self.max_s = 0.0

    def record(self, seconds: float, count: int = 1) -> None:
        """Count `count` events that took `seconds` each."""
        self._buckets[bisect_left(_BOUNDS, seconds)] += count
        self.count += count
        self.sum_s += seconds * count
        self.max_s = max(self.max_s, seconds)

    @property
    def average_s(self) -> float:
        """The exact mean; 0 when nothing was recorded."""
        return self.sum_s / self.count if self.count else 0.0

    def copy(self) -> Self:
        """Return a copy that later latencies do not change."""
        twin = copy.copy(self)
        twin._buckets = self._buckets.copy()
        return twin

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Yield some bounds in seconds, and for each how many events did not exceed the bound."""
        seen = 0
        for index, (bound, bucket) in enumerate(zip(_BOUNDS, self._buckets, strict=False)):
            seen += bucket
            if index % _EXPOSED_EVERY == 0:
                yield bound, seen

    def percentile_s(self, fraction: float) -> float:
        """Return a value that `fraction` (0 to 1) of the events did not exceed, within the width of a bucket."""
        wanted = fraction * self.count
        seen = 0
        for bound, bucket in zip((*_BOUNDS, self.max_s), self._buckets, strict=True):
            seen += bucket
            if seen >= wanted and bucket:
                return min(bound, self.max_s)
        return self.max_s
