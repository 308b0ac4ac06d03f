"""Joins long lines that a container runtime wrote in parts, each stream for itself (docs/protocol.md, F26 and F27).

A runtime cuts what a container writes after 16 KiB, and the parts of stdout and stderr alternate. Events come in the
order in which their last parts come, each as the one line that the runtime would have written, with the time of its
first part. A group is a run of lines after which no stream has an unfinished line: mostly a single line.

A group ends before the line with which it would exceed the limit of bytes. A line that is unfinished then, or at the
end of the data, stays a part.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from logferry.rendering.engine.events import JoinedEvents


@dataclass(frozen=True, slots=True)
class Part:
    """One line of a container's log, which may be a part of a longer one.

    A line is `begin`, its content, `end`. `stream` is what lines must have in common to be joined.
    """

    stream: bytes
    begin: bytes
    content: bytes
    end: bytes
    is_last: bool


class PartSyntax(Protocol):
    """How a runtime writes lines and their parts."""

    # Matches in every line that is a part but not the last part, and in few other lines.
    candidate: re.Pattern[bytes]

    def part_of(self, line: bytes) -> Part | None:
        """Take a line, given with its newline, apart; None if the line does not have this syntax."""

    def joined(self, parts: list[Part]) -> bytes:
        """Return the line, with its newline, that has the content of all the parts; the last part may be missing."""


class PartialLines:
    """The joiner of lines with parts of one syntax (`engine.events.EventJoiner`)."""

    def __init__(self, syntax: PartSyntax, max_bytes: int) -> None:
        """No group has more than `max_bytes`, unless a single line has."""
        self._syntax: Final = syntax
        self._max_bytes: Final = max_bytes

    def complete_bytes(self, data: bytes) -> int:
        """See EventBoundaries. This is as fast as a search where no line is in parts."""
        for start, end, is_whole in self._long_groups(data):
            if not is_whole:
                assert end == len(data)
                return start
        return len(data)

    def begins_group(self, data: bytes) -> bool:
        """See EventBoundaries: the line may be the rest of a line that came before."""
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
        """See EventJoiner. Lines that are not in parts, or not of this syntax, stay as they are."""
        pieces, position, joined = list[bytes](), 0, 0
        for start, end, _ in self._long_groups(data):
            lines = [line + b"\n" for line in data[start:end].split(b"\n")[:-1]]
            events = self._events(lines)
            pieces += [data[position:start], *events]
            joined += len(lines) - len(events)
            position = end
        return JoinedEvents(b"".join([*pieces, data[position:]]) if pieces else data, joined)

    def _events(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines of a group with their parts joined, in the order in which they are completed."""
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
        """Yield begin and end of each group of more than one line, or that may go on; and whether it may not."""
        position = 0
        while found := self._syntax.candidate.search(data, position):
            start = data.rfind(b"\n", position, found.start()) + 1 or position
            position, is_whole = self._group_end(data, start)
            if not is_whole or position > _line_end(data, start):
                yield start, position, is_whole

    def _group_end(self, data: bytes, start: int) -> tuple[int, bool]:
        """Return where the group ends that begins at `start`, and whether nothing can be added to it."""
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
