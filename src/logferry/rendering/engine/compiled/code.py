"""Turns the trees of patterns into code for src/native/matcher.c.

The code does what Python's `re` would do, with fewer ways back: a repetition gives bytes back only if the rest of the
pattern could use them, and a choice tries only what can begin with the next byte.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from logferry.rendering.engine.compiled.assembly import FAILURE, Assembler, Code, Label
from logferry.rendering.engine.compiled.assembly import Instruction as Op
from logferry.rendering.engine.compiled.single_bytes import choose, compare_bytes, look_at_once, look_behind
from logferry.rendering.engine.compiled.tree import (
    ALL,
    NEWLINE,
    Atomic,
    Beginnings,
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
    fixed_sets,
    may_be_empty,
)
from logferry.rendering.engine.compiled.tree import Sequence as InOrder

_NO_LIMIT: Final = (1 << 32) - 1
_MOST_MARKS: Final = 128

# The most repetitions of more than a byte that are written out one by one.
_WRITTEN_OUT: Final = 4


@dataclass(frozen=True, slots=True)
class _After:
    """What can follow a node: the bytes that it can begin with.

    `is_end`: nothing follows that could fail, because an atomic part or a look ends there. `is_end_of_look`: what the
    node takes is given back anyway, so it may be a newline.
    """

    bytes: int
    is_end: bool = False
    is_end_of_look: bool = False


_INSIDE: Final = _After(ALL, is_end=True)


class CodeWriter:
    """Writes the code of trees. The methods return whether what they wrote may leave ways back."""

    def __init__(self) -> None:
        self._code: Final = Assembler()
        self._beginnings: Final = Beginnings()
        self._slots = dict[int, int]()
        self._is_counting = False

    def finished(self) -> Code:
        """Return the code. Raises NotCompiled if it is too long."""
        return self._code.finished()

    def write_kinds(self, kinds: Sequence[tuple[Node, Iterable[int]]]) -> list[dict[int, int]]:
        """Write the code that finds the kind of a line: trees, each with the groups that are needed.

        Returns the slots of the groups of each kind. Raises NotCompiled.
        """
        labels = [Label() for _ in kinds]
        begins = [self._beginnings.of(tree, NEWLINE) for tree, _ in kinds]
        choose(self._code, labels, begins)
        slots = list[dict[int, int]]()
        for number, (tree, groups) in enumerate(kinds):
            self._slots = {group: 2 * place for place, group in enumerate(sorted(groups))}
            if 2 * len(self._slots) > _MOST_MARKS:
                raise NotCompiled("too many groups")
            self._code.put(labels[number])
            self._write(tree, _After(NEWLINE))
            self._code.add(Op.MATCHED, number)
            slots.append(self._slots)
        return slots

    def _write(self, node: Node, after: _After) -> bool:
        match node:
            case One():
                return self._bytes([node], after)
            case InOrder(items):
                return self._in_order(items, after)
            case Choice(options):
                return self._choice(options, after)
            case Repeat():
                return self._repeat(node, after)
            case Atomic(item):
                return self._atomic(item)
            case Look():
                return self._look(node)
            case Behind():
                look_behind(self._code, node)
                return False
            case Group():
                return self._group(node, after)
            case IfGroup():
                return self._if_group(node, after)

    def _in_order(self, items: Sequence[Node], after: _After) -> bool:
        """Write one after the other; single bytes in a row are compared at once."""
        follow = [after]
        for item in reversed(items[1:]):
            follow.append(_After(self._beginnings.of(item, follow[-1].bytes)))
        follow.reverse()
        leaves, at = False, 0
        while at < len(items):
            stop = at
            while stop < len(items) and isinstance(items[stop], One):
                stop += 1
            if stop > at:
                leaves |= self._bytes([each for each in items[at:stop] if isinstance(each, One)], follow[stop - 1])
            else:
                stop = at + 1
                leaves |= self._write(items[at], follow[at])
            at = stop
        return leaves

    # --- bytes ---

    def _bytes(self, ones: list[One], after: _After) -> bool:
        sets = [one.bytes & ~NEWLINE for one in ones]
        if after.is_end_of_look and ones[-1].bytes & NEWLINE:
            compare_bytes(self._code, sets[:-1])
            self._code.add(Op.PEEK, self._code.set_number(ones[-1].bytes))
        else:
            compare_bytes(self._code, sets)
        return False

    # --- choices ---

    def _choice(self, options: Sequence[Node], after: _After) -> bool:
        end = Label()
        labels = [Label() for _ in options]
        leaves = choose(self._code, labels, [self._beginnings.of(option, after.bytes) for option in options])
        for label, option in zip(labels, options, strict=True):
            self._code.put(label)
            leaves |= self._write(option, after)
            if label is not labels[-1]:
                self._code.add(Op.GO, end)
        self._code.put(end)
        return leaves

    def _if_group(self, node: IfGroup, after: _After) -> bool:
        otherwise, end = Label(), Label()
        self._code.add(Op.IF_MARKED, self._slots[node.number], otherwise)
        leaves = self._write(node.yes, after)
        self._code.add(Op.GO, end)
        self._code.put(otherwise)
        leaves |= self._write(node.no, after)
        self._code.put(end)
        return leaves

    def _group(self, node: Group, after: _After) -> bool:
        slot = self._slots[node.number]
        place = self._code.add(Op.MARK, slot)
        leaves = self._write(node.item, after)
        if not (isinstance(node.item, Repeat) and self._code.mark_whole(place)):
            self._code.add(Op.MARK, slot + 1)
        return leaves

    # --- repetitions ---

    def _repeat(self, node: Repeat, after: _After) -> bool:
        if isinstance(node.item, One):
            return self._run(node.item.bytes & ~NEWLINE, node, after)
        if node.most != 1 and may_be_empty(node.item):
            raise NotCompiled("a repetition of nothing")
        if node.order is Order.POSSESSIVE:
            return self._possessive(node)
        if node.order is Order.LAZY and node.most != 1:
            raise NotCompiled("a lazy repetition of more than a byte")
        return self._greedy(node, after)

    def _run(self, found: int, node: Repeat, after: _After) -> bool:
        least, most = node.least, _NO_LIMIT if node.most is None else node.most
        if not found or not most:
            if least and most:
                self._code.add(Op.GO, FAILURE)
            return False
        number = self._code.set_number(found)
        if node.order is Order.LAZY and not after.is_end:
            if least or most != _NO_LIMIT:
                raise NotCompiled("a lazy repetition with limits")
            self._code.add(Op.LAZY, number)
            self._code.add(Op.TAKE_MORE, number)
            return True
        if node.order is Order.LAZY:
            most = least
        if node.order is Order.GREEDY and found & after.bytes and not after.is_end and least != most:
            self._code.add(Op.GREEDY, number, least, most)
            self._code.add(Op.GIVE_BACK)
            return True
        if found == ALL & ~NEWLINE and least < 2 and most == _NO_LIMIT:
            if least:
                self._code.add(Op.PEEK, number)
            self._code.add(Op.REST)
        else:
            self._code.add(Op.RUN, number, least, most)
        return False

    def _possessive(self, node: Repeat) -> bool:
        """Write a repetition of more than a byte that gives nothing back, nor changes what it has matched."""
        item, least, most = node.item, node.least, node.most
        if least > _WRITTEN_OUT:
            raise NotCompiled("many repetitions")
        for _ in range(least):
            self._atomic(item)
        again, end = Label(), Label()
        if most is None:
            self._code.put(again)
            run, item = self._apart(item)
            if run:
                self._code.add(Op.RUN, self._code.set_number(run), 0, _NO_LIMIT)
        begins = self._code.set_number(self._beginnings.of(item, ALL))
        if most is None:
            self._code.add(Op.TRY_IF, begins, end)
            self._write(item, _INSIDE)
            self._code.add(Op.CUT_AND_GO, again)
        elif most - least <= _WRITTEN_OUT:
            for _ in range(most - least):
                self._code.add(Op.TRY_IF, begins, end)
                self._write(item, _INSIDE)
                self._code.add(Op.CUT)
        else:
            self._counted(item, most - least, begins, again, end)
        self._code.put(end)
        return False

    def _apart(self, item: Node) -> tuple[int, Node]:
        """Return the bytes that may come in any number in a repetition of a choice, and the other options.

        These bytes are options of their own, with which no other one begins.
        """
        options = item.options if isinstance(item, Choice) else (item,)
        found = 0
        rest = list[Node]()
        for option in options:
            others = [self._beginnings.of(other, ALL) for other in options if other is not option]
            run = _any_number_of(option) & ~NEWLINE
            if run and not any(run & other for other in others):
                found |= run
            else:
                rest.append(option)
        return found, rest[0] if len(rest) == 1 else Choice(tuple(rest))

    def _counted(self, item: Node, most: int, begins: int, again: Label, end: Label) -> None:
        if self._is_counting:
            raise NotCompiled("a counted repetition in another one")
        self._is_counting = True
        self._code.add(Op.COUNT)
        self._code.put(again)
        self._code.add(Op.TRY_COUNTED, begins, most, end)
        self._write(item, _INSIDE)
        self._code.add(Op.CUT_COUNTED, again)
        self._is_counting = False

    def _greedy(self, node: Repeat, after: _After) -> bool:
        """Write a repetition of more than a byte that may give some back; a lazy one that is there at most once."""
        item, least, most = node.item, node.least, node.most
        if max(least, most or 0) > _WRITTEN_OUT:
            raise NotCompiled("many repetitions")
        begins = self._beginnings.of(item, ALL)
        inside = _After(begins | after.bytes)
        leaves = False
        for _ in range(least):
            leaves |= self._write(item, inside)
        end = Label()
        if most is None:
            again, once_more = Label(), Label()
            self._code.put(again)
            choose(self._code, [once_more, end], [begins, after.bytes])
            self._code.put(once_more)
            self._write(item, inside)
            self._code.add(Op.GO, again)
        for _ in range((most or 0) - least):
            once_more = Label()
            choice = [(once_more, begins), (end, after.bytes)]
            labels, bytes_ahead = zip(*(choice if node.order is Order.GREEDY else reversed(choice)), strict=True)
            choose(self._code, labels, bytes_ahead)
            self._code.put(once_more)
            self._write(item, inside)
        self._code.put(end)
        return True

    def _atomic(self, item: Node) -> bool:
        place = self._code.add(Op.TRY, FAILURE)
        if self._write(item, _INSIDE):
            self._code.add(Op.CUT)
        else:
            self._code.take_out(place, 2)
        return False

    # --- what is ahead and behind ---

    def _look(self, node: Look) -> bool:
        sets = fixed_sets(node.item)
        if sets and look_at_once(self._code, sets, node.is_negated):
            return False
        if node.is_negated:
            end = Label()
            self._code.add(Op.TRY_IF, self._code.set_number(self._beginnings.of(node.item, ALL)), end)
            self._write(node.item, replace(_INSIDE, is_end_of_look=True))
            self._code.add(Op.CUT_FAIL)
            self._code.put(end)
        else:
            self._code.add(Op.TRY, FAILURE)
            self._write(node.item, replace(_INSIDE, is_end_of_look=True))
            self._code.add(Op.CUT_LOOK)
        return False


def _any_number_of(node: Node) -> int:
    """Return the bytes that a node takes, if it takes one, or all that there are; nothing if it is anything else."""
    match node:
        case One(found):
            return found
        case Repeat(One(found), 1, None, order) if order is not Order.LAZY:
            return found
    return 0
