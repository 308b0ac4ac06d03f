"""Defines what the tree of a pattern consists of, as far as the compiled part can run it as Python's `re` would.

Sets of bytes are numbers with a bit for each byte.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

ALL: Final = (1 << 256) - 1
NEWLINE: Final = 1 << ord("\n")


class NotCompiled(Exception):  # not an error: Python goes on with the pattern
    """A pattern, or a record, that the compiled part cannot have."""


def bytes_of(values: Iterable[int]) -> int:
    """Return the set of some bytes."""
    found = 0
    for value in values:
        found |= 1 << value
    return found


class Order(Enum):
    """Which number of repetitions is tried first."""

    GREEDY = "as many as there are, and fewer if the rest fails"
    LAZY = "as few as possible, and more if the rest fails"
    POSSESSIVE = "as many as there are"


@dataclass(frozen=True, slots=True)
class One:
    """One byte of a set."""

    bytes: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; nothing, if there are none."""

    items: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Choice:
    """The first that matches together with the rest of the pattern."""

    options: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same several times; `most` is None if there is no limit."""

    item: "Node"
    least: int
    most: int | None
    order: Order


@dataclass(frozen=True, slots=True)
class Atomic:
    """A part whose first match counts."""

    item: "Node"


@dataclass(frozen=True, slots=True)
class Look:
    """What must, or must not, be ahead."""

    item: "Node"
    is_negated: bool


@dataclass(frozen=True, slots=True)
class Behind:
    """What must, or must not, be right behind: bytes of these sets."""

    sets: tuple[int, ...]
    is_negated: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A group whose place is needed."""

    number: int
    item: "Node"


@dataclass(frozen=True, slots=True)
class IfGroup:
    """One of two parts, by whether a group has matched."""

    number: int
    yes: "Node"
    no: "Node"


Node = One | Sequence | Choice | Repeat | Atomic | Look | Behind | Group | IfGroup
NOTHING: Final = Sequence(())


def has_group(node: Node) -> bool:
    """Whether a needed group is in a tree."""
    return isinstance(node, Group) or any(map(has_group, children(node)))


def children(node: Node) -> tuple[Node, ...]:
    """Return the parts of a node."""
    match node:
        case Sequence(items) | Choice(items):
            return items
        case Repeat() | Atomic() | Look() | Group():
            return (node.item,)
        case IfGroup():
            return node.yes, node.no
    return ()


def fixed_sets(node: Node) -> list[int] | None:
    """Return the sets of a sequence of single bytes; None for anything else."""
    items = node.items if isinstance(node, Sequence) else (node,)
    return [each.bytes for each in items if isinstance(each, One)] if all(isinstance(i, One) for i in items) else None


def may_be_empty(node: Node) -> bool:
    """Whether a node may match without taking a byte."""
    match node:
        case One():
            return False
        case Sequence(items):
            return all(map(may_be_empty, items))
        case Choice(items):
            return any(map(may_be_empty, items))
        case Repeat():
            return not node.least or may_be_empty(node.item)
        case Atomic() | Group():
            return may_be_empty(node.item)
        case IfGroup():
            return may_be_empty(node.yes) or may_be_empty(node.no)
    return True


class Beginnings:
    """Knows with which bytes nodes can match. It remembers nodes by their identity, so they must outlive it."""

    def __init__(self) -> None:
        self._known = dict[tuple[int, int], int]()

    def of(self, node: Node, after: int) -> int:
        """Return the bytes at which a node can match if one of `after` follows it, or more than these."""
        if isinstance(node, One):
            return node.bytes
        key = id(node), after
        if key not in self._known:
            self._known[key] = self._found(node, after)
        return self._known[key]

    def _found(self, node: Node, after: int) -> int:
        match node:
            case Sequence(items):
                for item in reversed(items):
                    after = self.of(item, after)
                return after
            case Choice(items):
                found = 0
                for item in items:
                    found |= self.of(item, after)
                return found
            case Repeat():
                found = self.of(node.item, ALL)
                return found if node.least else found | after
            case Atomic() | Group():
                return self.of(node.item, after)
            case IfGroup():
                return self.of(node.yes, after) | self.of(node.no, after)
            case Look(One(found), True):
                return after & ~found
            case Look(item, False):
                return after & self.of(item, ALL)
        return after
