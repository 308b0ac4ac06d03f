"""Events of several lines: where they begin and end, and what they look like once their lines are joined.

Two kinds of joiner implement these protocols: `multiline` (a pattern finds the first line of an event) and
`partial_lines` (a container runtime cut long lines into parts). Readers of files need only the boundaries.
"""

from dataclasses import dataclass
from typing import Protocol

from logferry.rendering.engine.escape import NEWLINE


@dataclass(frozen=True, slots=True)
class JoinedEvents:
    """Events, one per line: `joined` lines were appended to the one before, `blank` ones at the end of events dropped.

    `inner_newline` is a byte that stands for the newlines inside events, and for nothing else in `data`.
    """

    data: bytes
    joined: int = 0
    blank: int = 0
    inner_newline: bytes = NEWLINE


class EventBoundaries(Protocol):
    """Which lines belong together: a rule that goes from left to right and remembers nothing beyond the end of a group.

    A group is one event, or several whose lines alternate. A source may therefore be rendered in pieces that end where
    groups end: the result is the same as that of all pieces at once. `data` always begins where a group begins.
    """

    def complete_bytes(self, data: bytes) -> int:
        """Return how many of the first bytes of `data`, whole lines, are groups to which nothing can be added."""

    def begins_group(self, data: bytes) -> bool:
        """Whether the first line of `data` begins a group whatever came before it. False if nobody can know."""

    def bytes_of_groups(self, data: bytes, count: int) -> int:
        """Return how many bytes the first `count` groups have: all of `data` if it has at most `count` groups.

        A last group that may go on counts as any other.
        """


class EventJoiner(EventBoundaries, Protocol):
    """The boundaries of events, and the joining of their lines."""

    def join(self, data: bytes) -> JoinedEvents | None:
        """Join the lines of each event of `data`, whole lines that need not be UTF-8.

        None if every byte that could stand for an inner newline occurs in `data`; then each group is one event, and the
        caller renders the groups one by one.
        """
