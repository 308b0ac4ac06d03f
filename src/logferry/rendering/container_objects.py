"""Joins the lines of JSON objects that a container wrote (`--multiline json` with cri or docker; rules F48 and F62).

Each stream of a container has an object of its own that may be open, and the runtime may have split a line into parts.
Groups, limits and the order of events are those of `container_events`. Must never depend on what is before a group.
"""

from dataclasses import dataclass, field

from logferry.rendering.container_events import ENOUGH_OTHERS, ContainerEvents, ContainerLine, Place
from logferry.rendering.json_objects import OpenObject, skeletons
from logferry.rendering.partial_lines import PartSyntax


@dataclass(slots=True)
class _Event:
    """An event that may go on: its object, the parts of an unfinished line, and what other streams began meanwhile."""

    object: OpenObject = field(default_factory=OpenObject)
    parts: list[str] = field(default_factory=list)
    has_lines: bool = False
    others: int = 0

    def take(self, text: str, *, is_last: bool) -> bool:
        """Take a line or a part of one in; return whether the event may go on after that."""
        self.others = 0
        self.parts.append(text)
        if not is_last:
            return True
        skeleton = _skeleton("".join(self.parts))
        self.parts.clear()
        is_object = self.has_lines or skeleton[:1] == b"{"
        self.has_lines = True
        return is_object and self.object.take(skeleton)


class ContainerObjects(ContainerEvents):
    """Joins the lines of objects in one syntax (an `engine.events.EventJoiner`)."""

    def __init__(self, syntax: PartSyntax, *, max_lines: int, max_bytes: int) -> None:
        super().__init__(syntax, "", max_lines=max_lines, max_bytes=max_bytes)

    def _place(self, lines: list[ContainerLine]) -> bool:
        """See ContainerEvents."""
        opened, first = dict[bytes, _Event](), 0
        for number, line in enumerate(lines):
            stream = line.part.stream if line.part else b""
            event = opened.get(stream) if line.part else None
            if event and event.has_lines and not event.parts and event.object.excludes(_beginning(line.text)):
                del opened[stream]
            is_full = number - first >= self._max_lines or line.end - lines[first].start > self._max_bytes
            if not number or is_full or not opened:
                opened.clear()
                line.begins_group, first = True, number
            if line.part:
                self._place_part(line, opened, is_last=line.part.is_last)
        return bool(opened)

    @staticmethod
    def _place_part(line: ContainerLine, opened: dict[bytes, _Event], *, is_last: bool) -> None:
        assert line.part is not None
        event = opened.get(line.part.stream)
        if event is None:
            event = opened[line.part.stream] = _Event()
            line.place = Place.FIRST
            _count_others(opened, line.part.stream)
        else:
            line.place = Place.PART if event.parts else Place.NEXT
        if not event.take(line.text, is_last=is_last):
            del opened[line.part.stream]


def _count_others(opened: dict[bytes, _Event], stream: bytes) -> None:
    """A stream begins an event: end those of other streams that are over by that."""
    for other, event in list(opened.items()):
        event.others += other != stream
        if event.others >= ENOUGH_OTHERS and not event.parts:
            del opened[other]


def _beginning(text: str) -> bytes:
    return text.lstrip(" \t")[:1].encode("utf-8", "replace")


def _skeleton(text: str) -> bytes:
    return b"".join(skeletons(text.encode("utf-8", "replace") + b"\n"))
