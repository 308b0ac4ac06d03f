"""Defines events of several lines: where they begin and end, and what they look like once their lines are joined.

Two modules implement these protocols: `multiline` (a pattern finds the first line of an event) and `partial_lines` (a
container runtime split long lines into parts). Readers of files need only the boundaries.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from logferry.rendering.engine.escape import NEWLINE


@dataclass(frozen=True, slots=True)
class JoinedEvents:
    """Events, one per line: `joined` lines were appended to the one before, `blank` lines at the end of events dropped.

    `inner_newline` is the byte that stands for newlines inside events, and for nothing else in `data`.
    """

    data: bytes
    joined: int = 0
    blank: int = 0
    inner_newline: bytes = NEWLINE


class EventBoundaries(Protocol):
    """Decides which lines belong together, from left to right, and carries no state beyond the end of a group.

    A group is one event, or several events whose lines alternate. A source may therefore be rendered in pieces that end
    where groups end: the result is the same as for the whole source. `data` always begins where a group begins.
    """

    def complete_bytes(self, data: bytes) -> int:
        """Return the length of the complete groups at the beginning of `data`, which consists of whole lines."""

    def begins_group(self, data: bytes) -> bool:
        """Whether the first line of `data` begins a group whatever came before it. False if that cannot be known."""

    def bytes_of_groups(self, data: bytes, count: int) -> int:
        """Return the length of the first `count` groups: all of `data` if it has at most `count` groups.

        A last group that may continue counts like any other.
        """


class EventJoiner(EventBoundaries, Protocol):
    """Finds the boundaries of events and joins their lines."""

    def join(self, data: bytes) -> JoinedEvents | None:
        """Join the lines of each event of `data`, whole lines that need not be UTF-8.

        None if every byte that could stand for an inner newline occurs in `data`; then each group is one event, and the
        caller renders the groups one by one.
        """


@runtime_checkable
class JoiningFormat(Protocol):
    """A format whose lines themselves show which of them belong together; `--multiline` does not apply to it."""

    def event_joiner(self, *, max_lines: int, max_bytes: int) -> EventJoiner:
        """Return the joiner of its lines, within these limits for an event."""


def texts_of(data: bytes, inner_newline: bytes) -> list[str]:
    """Return the text of each of the joined events, which are one per line; bytes that are not UTF-8 are surrogates."""
    mark = inner_newline.decode()
    return [event.replace(mark, "\n") for event in data.decode("utf-8", "surrogateescape").split("\n")[:-1]]


def joined_texts(events: Iterable[str], inner_newline: bytes) -> bytes:
    """Return what `texts_of` made texts of."""
    mark = inner_newline.decode()
    return "".join(event.replace("\n", mark) + "\n" for event in events).encode("utf-8", "surrogateescape")
