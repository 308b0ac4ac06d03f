"""Cuts off a chunk what certainly has no line of a span: the compiled part knows the times of many lines at once.

The time index does this for larger parts. Lines without a time of their own need those before them, so a chunk with
such lines stays whole. Pure but for the zone of times that name none.
"""

from typing import Final

from logferry import speedups
from logferry.model.event_times import NONE
from logferry.reading.stored import Chunk, Span
from logferry.reading.times.time_index import limits_of

_BLOCK_BYTES: Final = 32 * 1024


def within(chunk: Chunk, span: Span) -> Chunk:
    """Return the part of a chunk that may have lines in a span; without the compiled part, all of it."""
    received = [time for _, mark in chunk.marks for time in mark if time is not None]
    if speedups.compiled is None or not received or len(received) < 2 * len(chunk.marks):
        return chunk
    times = _Times(chunk.data, min(received), max(received), span)
    if not times.may_have(0, len(chunk.data)):
        return chunk._replace(data=b"")
    if times.are_missing:
        return chunk
    start, end = times.begin(), times.end()
    return chunk._replace(position=chunk.position + start, data=chunk.data[start:end])


class _Times:
    """The times of lines that were received between two times."""

    def __init__(self, data: bytes, received_from: int, received_to: int, span: Span) -> None:
        self._data = data
        self._received = received_from, received_to
        self._span = span
        self.are_missing = False  # of some lines

    def may_have(self, start: int, end: int) -> bool:
        """Whether one of the lines in `[start, end)` may be in the span."""
        assert speedups.compiled
        judged, _, times = speedups.compiled.record_run(self._data, start, end)
        self.are_missing = judged < end or bool(times[0] & NONE)
        return judged < end or self._span.meets(*limits_of(times, *self._received))

    def begin(self) -> int:
        """Return where the first block begins that may have lines in the span."""
        start, size = 0, len(self._data)
        while start < size:
            end = self._data.find(b"\n", min(start + _BLOCK_BYTES, size) - 1) + 1
            if self.may_have(start, end):
                break
            start = end
        return start

    def end(self) -> int:
        """Return where the last one ends."""
        end = len(self._data)
        while end:
            start = self._data.rfind(b"\n", 0, max(end - _BLOCK_BYTES, 0)) + 1
            if self.may_have(start, end):
                break
            end = start
        return end
