"""Reads patterns into trees.

Python's own parser reads the pattern, so that no second one can read it otherwise. Whatever a tree cannot have raises
`NotCompiled`, and leaves the pattern to Python.
"""

import importlib
from collections.abc import Collection
from typing import Any, Final

from logferry.rendering.engine.compiled.tree import (
    ALL,
    NEWLINE,
    Atomic,
    Behind,
    Choice,
    Group,
    IfGroup,
    Look,
    Node,
    NotCompiled,
    One,
    Order,
    Repeat,
    Sequence,
    bytes_of,
    fixed_sets,
    has_group,
)

# The parser of `re`. It is not documented; that it still gives what is expected here is tested on every Python.
_parser: Final[Any] = importlib.import_module("re._parser")

_ORDERS: Final = {"MAX_REPEAT": Order.GREEDY, "MIN_REPEAT": Order.LAZY, "POSSESSIVE_REPEAT": Order.POSSESSIVE}

_DIGITS: Final = bytes_of(b"0123456789")
_SPACE: Final = bytes_of(b" \t\n\r\f\v")
_WORD: Final = bytes_of(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") | _DIGITS
_CATEGORIES: Final = {
    "CATEGORY_DIGIT": _DIGITS,
    "CATEGORY_SPACE": _SPACE,
    "CATEGORY_WORD": _WORD,
    "CATEGORY_NOT_DIGIT": ALL & ~_DIGITS,
    "CATEGORY_NOT_SPACE": ALL & ~_SPACE,
    "CATEGORY_NOT_WORD": ALL & ~_WORD,
}

# The most repetitions of one byte that are written out one by one.
_WRITTEN_OUT: Final = 32


def tree_of(pattern: bytes, needed: Collection[str]) -> tuple[Node, dict[str, int], set[int]]:
    """Return the tree of a pattern, the numbers of its named groups, and which groups are in the tree: the needed ones.

    Raises NotCompiled.
    """
    parsed = _parser.parse(b"\n" + pattern)  # as LinePattern has it
    numbers: dict[str, int] = dict(parsed.state.groupdict)
    if parsed.state.flags:
        raise NotCompiled("flags of the whole pattern")
    if parsed[0][1] != ord("\n"):
        raise NotCompiled("a choice that is not in a group")
    parsed = parsed[1:]
    kept = {numbers[name] for name in needed if name in numbers}
    if b"(?(" in pattern:
        kept |= _tested_groups(parsed)
    return _Reader(kept).sequence(parsed, ignores_case=False), numbers, kept


def _tested_groups(parsed: Any) -> set[int]:
    """Return the numbers of the groups that conditions name."""
    found = set[int]()
    for _, argument in parsed:
        parts: list[Any] = [argument]
        while parts:
            part = parts.pop()
            if isinstance(part, _parser.SubPattern):
                found |= _tested_groups(part)
            elif isinstance(part, tuple | list):
                parts += part
    return found | {argument[0] for code, argument in parsed if code.name == "GROUPREF_EXISTS"}


class _Reader:
    """Turns what Python's parser gives into a tree. `groups` are the numbers of the groups that are needed."""

    def __init__(self, groups: set[int]) -> None:
        self._groups = groups

    def sequence(self, parsed: Any, *, ignores_case: bool) -> Node:
        items = list[Node]()
        for code, argument in parsed:
            item = self._node(code.name, argument, ignores_case)
            items += item.items if isinstance(item, Sequence) else [item]
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _node(self, name: str, argument: Any, ignores_case: bool) -> Node:
        found = _set_of(name, argument)
        if found is not None:
            if ignores_case and name != "LITERAL" and _is_negated(name, argument):
                raise NotCompiled("all but some letters in any case")
            return One(_in_any_case(found) if ignores_case else found)
        if name == "SUBPATTERN":
            return self._group(*argument, ignores_case=ignores_case)
        if name == "BRANCH":
            return Choice(tuple(self.sequence(each, ignores_case=ignores_case) for each in argument[1]))
        if name in _ORDERS:
            return self._repeat(name, *argument, ignores_case=ignores_case)
        if name == "ATOMIC_GROUP":
            return Atomic(self.sequence(argument, ignores_case=ignores_case))
        if name in ("ASSERT", "ASSERT_NOT"):
            return self._look(name == "ASSERT_NOT", *argument, ignores_case=ignores_case)
        if name == "GROUPREF_EXISTS":
            number, *parts = argument
            yes, no = (self.sequence(part or (), ignores_case=ignores_case) for part in parts)
            return IfGroup(number, yes, no)
        raise NotCompiled(name)

    def _group(self, number: int | None, added: int, removed: int, parsed: Any, *, ignores_case: bool) -> Node:
        if (added | removed) & ~_parser.SRE_FLAG_IGNORECASE:
            raise NotCompiled("flags of a group")
        ignores_case = bool(added) or (ignores_case and not removed)
        item = self.sequence(parsed, ignores_case=ignores_case)
        return Group(number, item) if number in self._groups and number is not None else item

    def _repeat(self, name: str, least: int, most: int, parsed: Any, *, ignores_case: bool) -> Node:
        item = self.sequence(parsed, ignores_case=ignores_case)
        limit = None if most == _parser.MAXREPEAT else most
        if isinstance(item, One) and least == limit and least <= _WRITTEN_OUT:
            return Sequence((item,) * least)
        if limit != 1 and has_group(item):
            raise NotCompiled("a group in a repetition")
        return Repeat(item, least, limit, _ORDERS[name])

    def _look(self, is_negated: bool, direction: int, parsed: Any, *, ignores_case: bool) -> Node:
        item = self.sequence(parsed, ignores_case=ignores_case)
        if is_negated and has_group(item):
            raise NotCompiled("a group in what must not be ahead")
        if direction > 0:
            return Look(item, is_negated)
        ones = fixed_sets(item)
        if ones is None or any(each & NEWLINE for each in ones) or (is_negated and len(ones) > 1):
            raise NotCompiled("what is behind")
        return Behind(tuple(ones), is_negated)


def _set_of(name: str, argument: Any) -> int | None:
    """Return the set of what stands for one byte; None for anything else."""
    if name == "LITERAL":
        return 1 << int(argument)
    if name == "NOT_LITERAL":
        return ALL & ~(1 << int(argument))
    if name == "ANY":
        return ALL & ~NEWLINE
    if name != "IN":
        return None
    found, is_negated = 0, False
    for code, value in argument:
        if code.name == "NEGATE":
            is_negated = True
        elif code.name == "LITERAL":
            found |= 1 << int(value)
        elif code.name == "RANGE":
            found |= bytes_of(range(value[0], value[1] + 1))
        elif code.name == "CATEGORY" and value.name in _CATEGORIES:
            found |= _CATEGORIES[value.name]
        else:
            raise NotCompiled(code.name)
    return ALL & ~found if is_negated else found


def _is_negated(name: str, argument: Any) -> bool:
    return name != "IN" or any(code.name == "NEGATE" for code, _ in argument)


def _in_any_case(found: int) -> int:
    for letter in range(ord("a"), ord("z") + 1):
        both = 1 << letter | 1 << (letter - 32)
        if found & both:
            found |= both
    return found
