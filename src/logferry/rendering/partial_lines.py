"""Joins long lines that a container runtime split into parts, separately for each stream (docs/protocol.md, F26, F27).

A runtime splits a container's output after 16 KiB, and the parts of stdout and stderr may alternate. Events keep the
order of their last parts. Each becomes the one line that the runtime would have written, with the time of its first
part. A group is a run of lines after which no stream has an unfinished line: usually a single line.

A group ends before the line that would make it exceed the limit of bytes. A line that is unfinished at that point, or
at the end of the data, stays a part.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from logferry.rendering.engine.events import JoinedEvents


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a container's log, which may be a part of a longer line.

    A line consists of `begin`, its content and `end`. Only lines with the same `stream` are joined.
    """

    stream: bytes
    begin: bytes
    content: bytes
    end: bytes
    is_last: bool


class PartSyntax(Protocol):
    """How a runtime writes lines and their parts."""

    # Matches in every line that is a part other than the last, and in few other lines.
    candidate: re.Pattern[bytes]

    def has_no_parts(self, data: bytes) -> bool:
        """Whether it is certain that `candidate` matches nowhere, which the compiled part finds out sooner."""

    def part_of(self, line: bytes) -> Part | None:
        """Parse a line, given with its newline; None if the line does not have this syntax."""

    def joined(self, parts: list[Part]) -> bytes:
        """Return the line, with its newline, that has the content of all parts; the last part may be missing."""

    def text_of(self, content: bytes) -> str:
        """Return what the container wrote, given the content of a part."""

    def newline_within(self, data: bytes, candidates: bytes) -> tuple[bytes | None, bytes]:
        """Return the byte that stands for newlines inside the events of `data`, and how contents write such a newline.

        The first is a newline if contents write newlines in another way, and None if all candidates occur in `data`.
        """


class PartialLines:
    """Joins the parts of lines in one syntax (an `engine.events.EventJoiner`)."""

    def __init__(self, syntax: PartSyntax, max_bytes: int) -> None:
        """No group exceeds `max_bytes`, unless a single line does."""
        self._syntax: Final = syntax
        self._max_bytes: Final = max_bytes

    def complete_bytes(self, data: bytes) -> int:
        """See EventBoundaries. Where no line is in parts, this is as fast as a search."""
        for start, end, is_whole in self._long_groups(data):
            if not is_whole:
                assert end == len(data)
                return start
        return len(data)

    def begins_group(self, data: bytes) -> bool:
        """See EventBoundaries: the line may complete an earlier one."""
        return False

    def bytes_of_groups(self, data: bytes, count: int) -> int:
        """See EventBoundaries."""
        end = 0
        for _ in range(count):
            start, end = end, _line_end(data, end)
            if self._syntax.candidate.search(data, start, end):
                end, _ = self._group_end(data, start)
        return end

    def join(self, data: bytes) -> JoinedEvents:
        """See EventJoiner. Lines that are not in parts, or not in this syntax, stay as they are."""
        pieces, position, joined = list[bytes](), 0, 0
        for start, end, _ in self._long_groups(data):
            lines = [line + b"\n" for line in data[start:end].split(b"\n")[:-1]]
            events = self._events(lines)
            pieces += [data[position:start], *events]
            joined += len(lines) - len(events)
            position = end
        return JoinedEvents(b"".join([*pieces, data[position:]]) if pieces else data, joined)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines of a group with their parts joined, in the order in which the lines are completed."""
        events, open_parts = [], dict[bytes, list[Part]]()
        for line in lines:
            part = self._syntax.part_of(line)
            if part is None or (part.is_last and part.stream not in open_parts):
                events.append(line)
            elif part.is_last:
                events.append(self._syntax.joined([*open_parts.pop(part.stream), part]))
            else:
                open_parts.setdefault(part.stream, []).append(part)
        return events + [self._syntax.joined(parts) for parts in open_parts.values()]

    def _long_groups(self, data: bytes) -> Iterator[tuple[int, int, bool]]:
        """Yield start, end and completeness of each group that has more than one line or may continue."""
        position = 0
        if self._syntax.has_no_parts(data):
            return
        while found := self._syntax.candidate.search(data, position):
            start = data.rfind(b"\n", position, found.start()) + 1 or position
            position, is_whole = self._group_end(data, start)
            if not is_whole or position > _line_end(data, start):
                yield start, position, is_whole

    def _group_end(self, data: bytes, start: int) -> tuple[int, bool]:
        """Return the end of the group that begins at `start`, and whether the group is complete."""
        open_streams = set[bytes]()
        position = start
        while position < len(data):
            end = _line_end(data, position)
            if position > start and end - start > self._max_bytes:
                return position, True
            part = self._syntax.part_of(data[position:end])
            if part and part.is_last:
                open_streams.discard(part.stream)
            elif part:
                open_streams.add(part.stream)
            position = end
            if not open_streams:
                return position, True
        return position, False


def _line_end(data: bytes, start: int) -> int:
    return data.find(b"\n", start) + 1 or len(data)
