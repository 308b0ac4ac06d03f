"""Joins several lines into one event by a pattern (`--multiline`; docs/protocol.md, rule F28).

A line that matches the pattern at its beginning is the first line of an event; all lines up to the next such line
belong to the same event. An event ends before it would exceed the limit of lines or bytes; the lines after that are an
event of their own. No state is carried across the beginning of an event, so a chunk may end there.
"""

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, compress, count, pairwise
from operator import add, sub
from typing import Final

from logferry import speedups
from logferry.model.render_spec import EVENTS_BEGIN_WITH_TIMESTAMP
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.beginnings import program_of
from logferry.rendering.engine.events import JoinedEvents
from logferry.rendering.engine.timestamps import EVENT_START
from logferry.rendering.engine.user_patterns import compile_user_pattern

# The beginning of the last event is first searched in this many bytes at the end of a chunk.
_TAIL_BYTES: Final = 8 * 1024

# The first of these bytes that does not occur in the data replaces the newlines inside events.
INNER_NEWLINES: Final = bytes(code for code in range(0x1F, -1, -1) if code not in b"\t\n\r")


# The mark of a line that the compiled part cannot decide about.
_UNDECIDED: Final = 2


class Multiline:
    """The rule for one source: an `engine.events.EventJoiner` whose groups are single events."""

    def __init__(self, beginning: str, *, max_lines: int, max_bytes: int) -> None:
        """`beginning` is EVENTS_BEGIN_WITH_TIMESTAMP or a pattern. Raises ValueError if the pattern is invalid."""
        self._is_timestamp = beginning == EVENTS_BEGIN_WITH_TIMESTAMP
        self._begins = compile_user_pattern("multiline", EVENT_START if self._is_timestamp else beginning).begin_each
        self._program = b"" if self._is_timestamp else program_of(beginning)
        self._max_lines = min(max_lines, sys.maxsize)
        self._max_bytes = min(max_bytes, sys.maxsize)

    def _next_begins(self, texts: list[str]) -> Sequence[object]:
        """Return for each line but the first one something true if it begins an event."""
        return self._begins(texts[1:])

    def complete_bytes(self, data: bytes) -> int:
        """See EventBoundaries."""
        if not data:
            return 0
        base = self._last_beginning(data)
        last = base + self._last_boundary(data[base:])
        is_full = data.count(b"\n", last) >= self._max_lines or len(data) - last >= self._max_bytes
        return len(data) if is_full else last

    def begins_group(self, data: bytes) -> bool:
        """See EventBoundaries."""
        return any(self._marks(data[: data.find(b"\n") + 1]))

    def bytes_of_groups(self, data: bytes, count: int) -> int:
        """See EventBoundaries."""
        if speedups.compiled:
            return self._offsets(speedups.compiled, data, count)[0]
        boundaries = self._boundaries(data)
        return boundaries[min(count, len(boundaries) - 1)]

    def join(self, data: bytes) -> JoinedEvents | None:
        """See EventJoiner. Measured with benchmarks/formatter.py."""
        inner_newline = next((bytes([code]) for code in INNER_NEWLINES if code not in data), None)
        if speedups.compiled and inner_newline:
            marks = self._marks(data)
            if marks.find(0, 1) < 0:
                return JoinedEvents(data)
            limits = self._max_lines, self._max_bytes
            folded, joined, blank = speedups.compiled.join_events(data, marks, *limits, inner_newline)
            return JoinedEvents(folded, joined, blank, inner_newline) if joined or blank else JoinedEvents(data)
        boundaries = self._boundaries(data)
        if len(boundaries) - 1 == data.count(b"\n"):
            return JoinedEvents(data)
        return fold(data, boundaries, inner_newline) if inner_newline else None

    def _marks(self, lines: bytes) -> bytes:
        """Return one byte per line, which is 1 if the line begins an event."""
        if speedups.compiled and self._is_timestamp:
            return speedups.compiled.begin_with_timestamp(lines)
        if speedups.compiled and self._program:
            return self._decided(lines, speedups.compiled.begin_like(lines, self._program))
        texts, _ = _lines_of(lines)
        return bytes(map(bool, self._begins(texts)))

    def _decided(self, lines: bytes, marks: bytes) -> bytes:
        """Have the pattern decide about the lines that the compiled part could not decide about."""
        if _UNDECIDED not in marks:
            return marks
        decided = bytearray(marks)
        texts, _ = _lines_of(lines)
        places = [place for place, mark in enumerate(marks) if mark == _UNDECIDED]
        for place, begins in zip(places, self._begins([texts[place] for place in places]), strict=True):
            decided[place] = bool(begins)
        return bytes(decided)

    def _offsets(self, compiled: speedups.Compiled, data: bytes, count: int = 0) -> tuple[int, int]:
        return compiled.event_offsets(data, self._marks(data), self._max_lines, self._max_bytes, count)

    def _last_boundary(self, data: bytes) -> int:
        """Return the offset in `data` at which the last event begins."""
        if speedups.compiled:
            return self._offsets(speedups.compiled, data)[1]
        return self._boundaries(data)[-2]

    def _boundaries(self, data: bytes) -> list[int]:
        """Return the offsets in `data` at which events begin, followed by the length of `data`."""
        texts, offsets = _lines_of(data)
        begins = [0, *compress(range(1, len(texts)), self._next_begins(texts)), len(texts)]
        boundaries = [offsets[line] for line in begins]
        if (
            max(map(sub, begins[1:], begins)) > self._max_lines
            or max(map(sub, boundaries[1:], boundaries)) > self._max_bytes
        ):
            begins = [line for first, end in pairwise(begins) for line in self._pieces(first, end, offsets)]
            boundaries = [*(offsets[line] for line in begins), len(data)]
        return boundaries

    def _pieces(self, first: int, end: int, offsets: list[int]) -> Iterator[int]:
        """Yield the first line of each piece of an event that exceeds the limits. A line is never cut."""
        while first < end:
            yield first
            most = min(first + self._max_lines, end)
            fitting = bisect_right(offsets, offsets[first] + self._max_bytes, first + 1, most + 1) - 1
            first = max(fitting, first + 1)

    def _last_beginning(self, data: bytes) -> int:
        """Return the offset of the last line that begins an event; 0 if only the first line does."""
        size = _TAIL_BYTES
        while size < len(data):
            start = data.find(b"\n", len(data) - size) + 1
            marks = self._marks(data[start:])
            line = marks.rfind(1)
            if line >= 0 and start:
                return _line_offset(data, start, len(marks) - line)
            size *= 4
        return 0


def fold(data: bytes, boundaries: list[int], inner_newline: bytes) -> JoinedEvents:
    """Return the events of `data`, given the offsets at which they begin, followed by the length of `data`.

    `inner_newline` is a byte that does not occur in `data`.
    """
    folded = bytearray(data.replace(b"\n", inner_newline))
    for end in boundaries[1:]:
        folded[end - 1] = 0x0A
    joined = folded.count(inner_newline)
    kept = _trailing_blank_lines(inner_newline).sub(b"", bytes(folded))
    return JoinedEvents(kept, kept.count(inner_newline), joined - kept.count(inner_newline), inner_newline)


def _line_offset(data: bytes, start: int, lines: int) -> int:
    """Return where the last `lines` lines of `data` begin. The first of them is not before `start`."""
    last = data[start:-1].rsplit(b"\n", lines)[-lines:]
    return len(data) - sum(map(len, last)) - lines


def _lines_of(data: bytes) -> tuple[list[str], list[int]]:
    """Return the texts of lines, and the offsets in `data` at which they begin, followed by the length of `data`."""
    text = data.decode("utf-8", "surrogateescape")
    texts = text.split("\n")[:-1]
    sizes = map(len, texts if len(text) == len(data) else data.split(b"\n")[:-1])
    offsets = list(map(add, accumulate(sizes, initial=0), count()))
    if "\r" in text:
        texts = [line.removesuffix("\r") for line in texts]
    return texts, offsets


@lru_cache
def _trailing_blank_lines(inner_newline: bytes) -> re.Pattern[bytes]:
    """Return a pattern that matches the blank lines at the end of an event, with the inner newline before them."""
    inner_newline = re.escape(inner_newline)
    return compile_pattern(inner_newline + rb"[ \t\r\v\f" + inner_newline + rb"]*+(?=\n)")
