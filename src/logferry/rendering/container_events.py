"""Joins the lines that a container wrote to events (`--multiline` with cri or docker; docs/protocol.md, rule F48).

A container's streams may alternate, and the runtime may have split a line into parts. So the pattern sees what the
container wrote, and a line continues the last event of its own stream. An event is over when its stream begins another
one, or when the other stream has begun two since its last line. A group is a run of lines after which no event is open;
it ends before the line that would make it exceed the limit of lines or bytes.

Must never depend on what is before a group: each group begins without an open event.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import accumulate
from typing import Final

from logferry.model.render_spec import EVENTS_BEGIN_WITH_TIMESTAMP
from logferry.rendering.engine.escape import WHITE_SPACE
from logferry.rendering.engine.events import JoinedEvents
from logferry.rendering.engine.timestamps import EVENT_START
from logferry.rendering.engine.user_patterns import compile_user_pattern
from logferry.rendering.multiline import INNER_NEWLINES
from logferry.rendering.partial_lines import Part, PartSyntax

# An event is over when the other stream has begun this many since its last line: a runtime reads both streams, so the
# lines of an event may have one of the other stream between them, but a program that has gone on does not come back.
ENOUGH_OTHERS: Final = 2


class Place(Enum):
    """What a line is for the events of its group."""

    ALONE = auto()  # not a line of a container
    FIRST = auto()  # of an event
    NEXT = auto()  # in the event
    PART = auto()  # of the line before it in its stream


@dataclass(slots=True)
class ContainerLine:
    """A line with what it is; `begins_group` may change as lines are read, the rest is of the line itself."""

    start: int
    end: int
    part: Part | None
    text: str
    begins: bool
    place: Place = Place.ALONE
    begins_group: bool = False


@dataclass(slots=True)
class _Event:
    """An event that may continue: how many events the other stream has begun since, and whether its last line may."""

    others: int = 0
    is_in_parts: bool = False


@dataclass(slots=True)
class _Joined:
    """The lines of an event: each with its parts."""

    lines: list[list[Part]] = field(default_factory=list)


class ContainerEvents:
    """Joins the lines of events in one syntax (an `engine.events.EventJoiner`)."""

    def __init__(self, syntax: PartSyntax, beginning: str, *, max_lines: int, max_bytes: int) -> None:
        """`beginning` is EVENTS_BEGIN_WITH_TIMESTAMP or a pattern. Raises ValueError if the pattern is invalid."""
        pattern = EVENT_START if beginning == EVENTS_BEGIN_WITH_TIMESTAMP else beginning
        self._begins = compile_user_pattern("multiline", pattern).begin_each
        self._syntax: Final = syntax
        self._max_lines: Final = max_lines
        self._max_bytes: Final = max_bytes

    def complete_bytes(self, data: bytes) -> int:
        """See EventBoundaries."""
        lines, is_open = self._lines(data)
        starts = [line for line in lines if line.begins_group]
        if not starts or not is_open:
            return len(data)
        last = starts[-1]
        is_full = len(data) - last.start >= self._max_bytes or len(lines) - lines.index(last) >= self._max_lines
        return len(data) if is_full else last.start

    def begins_group(self, data: bytes) -> bool:
        """See EventBoundaries: the line may continue an event, or complete a line."""
        return False

    def bytes_of_groups(self, data: bytes, count: int) -> int:
        """See EventBoundaries."""
        starts = [line.start for line in self._lines(data)[0] if line.begins_group]
        return starts[count] if count < len(starts) else len(data)

    def join(self, data: bytes) -> JoinedEvents | None:
        """See EventJoiner. Events keep the order of their first lines."""
        lines, _ = self._lines(data)
        inner_newline, written = self._syntax.newline_within(data, INNER_NEWLINES)
        if inner_newline is None:
            return None
        pieces, joined, blank = list[bytes](), 0, 0
        for event in self._events(lines, data):
            if isinstance(event, bytes):
                pieces.append(event)
                continue
            dropped = self._drop_blank_end(event)
            pieces.append(self._syntax.joined(list(_with_newlines(event, written))))
            joined += sum(map(len, event.lines)) - 1
            blank += dropped
        return JoinedEvents(b"".join(pieces), joined, blank, inner_newline)

    def _lines(self, data: bytes) -> tuple[list[ContainerLine], bool]:
        """Return the lines of `data`, which begins where a group begins, and whether an event is open after them."""
        raw = [line + b"\n" for line in data.split(b"\n")[:-1]]
        parts = [self._syntax.part_of(line) for line in raw]
        texts = [self._syntax.text_of(part.content) if part else "" for part in parts]
        ends = list(accumulate(map(len, raw)))
        begins = map(bool, self._begins(texts))
        lines = [
            ContainerLine(end - len(line), end, part, text, is_begin)
            for line, end, part, text, is_begin in zip(raw, ends, parts, texts, begins, strict=True)
        ]
        return lines, self._place(lines)

    def _place(self, lines: list[ContainerLine]) -> bool:
        """Find out what each line is; return whether an event may go on after the last one."""
        opened, first = dict[bytes, _Event](), 0
        for number, line in enumerate(lines):
            is_part = line.part is not None and line.part.stream in opened and opened[line.part.stream].is_in_parts
            if line.part and line.begins and not is_part:
                _end_events(opened, line.part.stream)
            is_full = number - first >= self._max_lines or line.end - lines[first].start > self._max_bytes
            if not number or is_full or not opened:
                opened.clear()
                line.begins_group, first, is_part = True, number, is_part and not is_full
            if line.part is None:
                continue
            is_next = line.part.stream in opened
            line.place = Place.PART if is_part and is_next else Place.NEXT if is_next else Place.FIRST
            opened[line.part.stream] = _Event(is_in_parts=not line.part.is_last)
        return bool(lines)

    def _events(self, lines: list[ContainerLine], data: bytes) -> Iterator["_Joined | bytes"]:
        """Yield events in the order of their first lines: lines of containers joined, other lines as they are."""
        latest, events = dict[bytes, _Joined](), list[_Joined | bytes]()
        for line in lines:
            if line.part is None:
                events.append(data[line.start : line.end])
            elif line.place is Place.FIRST:
                latest[line.part.stream] = _Joined([[line.part]])
                events.append(latest[line.part.stream])
            elif line.place is Place.PART:
                latest[line.part.stream].lines[-1].append(line.part)
            else:
                latest[line.part.stream].lines.append([line.part])
        return iter(events)

    def _drop_blank_end(self, event: _Joined) -> int:
        """Drop blank lines at the end of an event; return how many lines of the file these were."""
        dropped = 0
        while len(event.lines) > 1 and not any(
            self._syntax.text_of(part.content).strip(WHITE_SPACE) for part in event.lines[-1]
        ):
            dropped += len(event.lines.pop())
        return dropped


def _end_events(opened: dict[bytes, _Event], stream: bytes) -> None:
    """A line of a stream begins an event: end those that are over by that."""
    opened.pop(stream, None)
    for other, event in list(opened.items()):
        event.others += 1
        if event.others >= ENOUGH_OTHERS and not event.is_in_parts:
            del opened[other]


def _with_newlines(event: _Joined, newline: bytes) -> Iterator[Part]:
    """Yield the parts of an event, with newlines between its lines."""
    for line in event.lines[:-1]:
        yield from line[:-1]
        yield replace(line[-1], content=line[-1].content.removesuffix(_return_before(newline)) + newline)
    yield from event.lines[-1]


def _return_before(newline: bytes) -> bytes:
    """Return a carriage return as it stands before a newline that is written like this."""
    return rb"\r" if newline == rb"\n" else b"\r"
