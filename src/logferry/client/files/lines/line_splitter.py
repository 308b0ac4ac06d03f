"""Splits bytes into whole lines and whole events: where a chunk may end, and where an over-long line is cut.

Owns the rules for long lines, and for events that may continue. Pure: bytes in, pieces out. Must never read a file or
keep state between calls: files that are rendered alike share a splitter.
"""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

from logferry import speedups
from logferry.model.render_spec import RenderSpec
from logferry.rendering.encodings import encoding_named
from logferry.rendering.event_boundaries import EventBoundaries, event_boundaries
from logferry.rendering.json_objects import JsonObjects

# The longest line ending.
_LONGEST_ENDING: Final = b"\r\n"

# Within this many bytes, the end of a line is searched for newline by newline.
_NEAR_BYTES: Final = 256


class Piece(NamedTuple):
    """The next bytes of a file to deliver: whole lines, or the kept beginning of a line that is too long or incomplete.

    `length` is the number of bytes of the file that the piece covers. `continues_event` says that its first line may
    belong to the previous event, `ends_event` that an event may begin after the piece.
    """

    data: bytes
    length: int
    truncated: bool = False
    is_incomplete: bool = False
    continues_event: bool = False
    ends_event: bool = True


class LineSplitter:
    """Splits the bytes of files for one rendering. Immutable, so any thread may use it."""

    __slots__ = ("_boundaries", "_long_line", "max_line_bytes")

    def __init__(self, max_line_bytes: int, boundaries: EventBoundaries | None) -> None:
        """Events end as `boundaries` decides; without it, every line is an event."""
        self.max_line_bytes = max_line_bytes
        self._boundaries = boundaries
        # A line of more bytes than the limit, not counting its line ending (`\n` or `\r\n`).
        pattern = rb"(?m:^)(?![^\n]{%d}\r\n)[^\n]{%d,}+\n" % (max_line_bytes, max_line_bytes + 1)
        self._long_line = re.compile(pattern)

    @property
    def joins_lines(self) -> bool:
        """Whether an event may have several lines."""
        return self._boundaries is not None

    def split(
        self, data: bytes, *, starts_event: bool, max_lines: int | None, has_more: bool, is_settled: bool
    ) -> Piece | None:
        """Return the first piece of `data`, which consists of whole lines; None while its only event may continue.

        `starts_event` says that an event begins with `data`. `has_more` says that the read was full:
        an event that fills all of it is split. `is_settled` says that the last event will not continue.
        """
        is_before_long_line = False
        if len(data) > self.max_line_bytes and (match := self._long_line.search(data)):
            if match.start() == 0:
                return self.cut(data[: self.max_line_bytes + 1], match.end())
            data = data[: match.start()]
            is_before_long_line = True  # a cut line does not belong to an event
        if self._boundaries is None:
            data = first_lines(data, max_lines)
            return Piece(data, len(data), ends_event=starts_event)
        size = len(data) if is_before_long_line else self._boundaries.complete_bytes(data)
        if not size and has_more:
            size = len(data)
        ends_event = True
        if not has_more and is_settled and size < len(data):
            size, ends_event = len(data), False
        if not size:
            return None
        if max_lines is not None and data.count(b"\n", 0, size) > max_lines:
            first = self._boundaries.bytes_of_groups(data[:size], max_lines)
            size, ends_event = first, ends_event or first < size
        continues = not (starts_event or self._boundaries.begins_group(data))
        return Piece(data[:size], size, continues_event=continues, ends_event=ends_event)

    def last_event_begins(self, text: bytes) -> int | None:
        """Return where the last event begins of a text with which a source ends, without a newline.

        None if its last line is an event of its own, as it is where the first lines of events are known by a pattern.
        """
        if not isinstance(self._boundaries, JsonObjects) or self._long_line.search(text + b"\n"):
            return None
        begin = self._boundaries.last_begins(text + b"\n")
        return begin if b"\n" in text[begin:] else None

    def head_bytes(self, length: int) -> int:
        """Return how many bytes `whole_or_cut` needs of a line of `length` bytes, including its ending."""
        return min(length, self.max_line_bytes + len(b"x" + _LONGEST_ENDING))

    def whole_or_cut(self, head: bytes, length: int, *, starts_event: bool) -> Piece:
        """Return a line of `length` bytes that begins with `head`: whole if the limit allows it, else cut."""
        is_whole = len(head) == length and len(head.removesuffix(b"\n").removesuffix(b"\r")) <= self.max_line_bytes
        return Piece(head, length, ends_event=starts_event) if is_whole else self.cut(head, length)

    def incomplete(self, line: bytes, length: int) -> Piece:
        """Return what there is of a line whose end is missing, without a newline."""
        if len(line) > self.max_line_bytes:
            return self.cut(line[: self.max_line_bytes + 1], length)
        return Piece(line, length, truncated=True, is_incomplete=True)

    def cut(self, head: bytes, length: int) -> Piece:
        """Cut the line that begins with `head` at the limit, but not inside a UTF-8 character."""
        cut = self.max_line_bytes
        while cut > self.max_line_bytes - 4 and head[cut] & 0xC0 == 0x80:
            cut -= 1
        if head[cut] & 0xC0 == 0x80:  # not UTF-8
            cut = self.max_line_bytes
        return Piece(head[:cut], length, truncated=True)


def splitter_for(spec: RenderSpec) -> LineSplitter:
    """Return the splitter for a rendering. Raises ValueError that names the unusable part of `spec`."""
    # Fields that do not affect splitting are cleared: constant fields often differ from file to file.
    return _splitter(replace(spec, fields=(), include=(), exclude=(), redact=()))


@lru_cache(maxsize=64)
def _splitter(spec: RenderSpec) -> LineSplitter:
    max_line_bytes = min(spec.max_line_bytes, encoding_named(spec.encoding).max_line_bytes)
    return LineSplitter(max_line_bytes, event_boundaries(spec))


def first_lines(data: bytes, max_lines: int | None) -> bytes:
    """Return at most the first `max_lines` lines of whole lines."""
    if max_lines is None:
        return data
    if speedups.compiled and max_lines:
        return data[: speedups.compiled.end_of_lines(data, 0, max_lines)]
    if data.count(b"\n") <= max_lines:
        return data
    begin, end = 0, len(data)  # the last of these lines ends between them
    while end - begin > _NEAR_BYTES:
        middle = (begin + end) // 2
        if (passed := data.count(b"\n", begin, middle)) < max_lines:
            begin, max_lines = middle, max_lines - passed
        else:
            end = middle
    for _ in range(max_lines):
        begin = data.index(b"\n", begin) + 1
    return data[:begin]
