"""Joins the lines of JSON objects that were written over several lines (`--multiline json`; docs/protocol.md, F62).

A line that begins with `{` begins an event, which ends with the line in which the object ends. Any other line is an
event of its own. An object that is broken off ends before the next line that begins with `{` where JSON allows no
object, or that would exceed the limit of lines or bytes. Owns how the end of an object is found. Must never
keep anything beyond the end of an event: a chunk may end there.
"""

import re
from collections.abc import Iterator
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import BOM
from logferry.rendering.engine.events import JoinedEvents
from logferry.rendering.multiline import INNER_NEWLINES, fold

# A string, which ends with its line at the latest: JSON has no newline in strings.
_STRING: Final[re.Pattern[bytes]] = compile_pattern(rb'"(?:[^"\\\n]++|\\[^\n])*+(?:"|\\?+(?=\n))')

_STRUCTURE: Final = b'{}[]:,"\n'
_TO_VALUE: Final = bytes(code if code in _STRUCTURE else ord("v") for code in range(256))
_WHITE_SPACE: Final = b" \t\r"

_OPEN, _CLOSE = b"{[", b"}]"


def skeletons(lines: bytes) -> list[bytes]:
    """Return the structure of each line: its brackets, colons, commas, `"` for a string, `v` for other values."""
    return _STRING.sub(b'"', lines).translate(_TO_VALUE, _WHITE_SPACE).split(b"\n")[:-1]


class OpenObject:
    """An object whose end has not come yet, as far as its lines were taken in."""

    __slots__ = ("_last", "_open")

    def __init__(self) -> None:
        self._open = bytearray()  # the brackets that are open
        self._last = 0

    def take(self, skeleton: bytes) -> bool:
        """Take a line in; return whether the object goes on after the line."""
        for code in skeleton:
            if code in _OPEN:
                self._open.append(code)
            elif code in _CLOSE and self._open:
                self._open.pop()
        self._last = skeleton[-1] if skeleton else self._last
        return bool(self._open)

    def excludes(self, skeleton: bytes) -> bool:
        """Whether a line begins with an object where JSON allows none: it is not of this one, which was broken off."""
        if skeleton[:1] != b"{" or self._last == ord(":"):
            return False
        return self._open[-1] != ord("[") or self._last not in b"[,"


class JsonObjects:
    """The rule for one source: an `engine.events.EventJoiner` whose groups are single events."""

    def __init__(self, *, max_lines: int, max_bytes: int) -> None:
        self._max_lines: Final = max_lines
        self._max_bytes: Final = max_bytes

    def complete_bytes(self, data: bytes) -> int:
        """See EventBoundaries."""
        begins, is_open = self._boundaries(data)
        return begins[-1] if is_open else len(data)

    def begins_group(self, data: bytes) -> bool:
        """See EventBoundaries: the line may be inside of an object."""
        return False

    def bytes_of_groups(self, data: bytes, count: int) -> int:
        """See EventBoundaries."""
        begins, _ = self._boundaries(data)
        return begins[count] if count < len(begins) else len(data)

    def last_begins(self, data: bytes) -> int:
        """Return the offset in `data`, whole lines, at which the last event begins."""
        begins, _ = self._boundaries(data)
        return begins[-1]

    def join(self, data: bytes) -> JoinedEvents | None:
        """See EventJoiner."""
        begins, _ = self._boundaries(data)
        if len(begins) == data.count(b"\n"):
            return JoinedEvents(data)
        inner_newline = next((bytes([code]) for code in INNER_NEWLINES if code not in data), None)
        return fold(data, [*begins, len(data)], inner_newline) if inner_newline else None

    def _boundaries(self, data: bytes) -> tuple[list[int], bool]:
        """Return the offsets in `data` at which events begin, and whether the last event may go on after it."""
        begins, found, lines, end = list[int](), None, 0, 0
        for skeleton, start, end in _placed(data):
            is_full = found is not None and (lines >= self._max_lines or end - begins[-1] > self._max_bytes)
            if found is None or is_full or found.excludes(skeleton):
                begins.append(start)
                found, lines = OpenObject() if skeleton[:1] == b"{" else None, 0
            lines += 1
            if found and (end - begins[-1] > self._max_bytes or not found.take(skeleton)):
                found = None
        is_full = lines >= self._max_lines or end - (begins or [0])[-1] >= self._max_bytes
        return begins, found is not None and not is_full


def _placed(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the skeleton of each line, with the offsets in `data` at which the line begins and ends."""
    start = 0
    lines = zip(skeletons(data.removeprefix(BOM)), data.split(b"\n"), strict=False)
    for skeleton, line in lines:
        end = start + len(line) + 1
        yield skeleton, start, end
        start = end
