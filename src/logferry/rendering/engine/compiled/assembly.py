"""Collects instructions for src/native/matcher.c, with places that are known later, and returns them as bytes."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Final

from logferry.rendering.engine.compiled.shapes import Bounds, bytes_in, packed
from logferry.rendering.engine.compiled.tree import NotCompiled


class Instruction(IntEnum):
    """What matcher.h calls the same, in the same order; the operands are described there."""

    FAIL = 0
    CHAR = auto()
    SET = auto()
    SHAPE = auto()
    RUN = auto()
    REST = auto()
    GREEDY = auto()
    GIVE_BACK = auto()
    LAZY = auto()
    TAKE_MORE = auto()
    CHOOSE = auto()
    CHOOSE_NEXT = auto()
    TRY = auto()
    TRY_IF = auto()
    CUT = auto()
    CUT_AND_GO = auto()
    COUNT = auto()
    TRY_COUNTED = auto()
    CUT_COUNTED = auto()
    CUT_LOOK = auto()
    CUT_FAIL = auto()
    PEEK = auto()
    PEEK_SHAPE = auto()
    PEEK_NOT = auto()
    BEHIND = auto()
    NOT_BEHIND = auto()
    MARK = auto()
    MARK_RUN = auto()
    MARK_REST = auto()
    IF_MARKED = auto()
    GO = auto()
    MATCHED = auto()


# The most words of code and of lists. matcher.c has 16 bits for a place in the lists.
_MOST_WORDS: Final = 60_000


class Label:
    """A place in the code that may not be known yet."""

    __slots__ = ("place",)

    def __init__(self, place: int = -1) -> None:
        self.place = place


# Where the code fails.
FAILURE: Final = Label(0)


@dataclass(frozen=True, slots=True)
class Code:
    """The parts of a pattern, as `pattern_open` of matcher.c takes them."""

    words: bytes
    sets: bytes
    shapes: bytes
    tables: bytes
    lists: bytes


class Assembler:
    """The code so far. Sets and shapes that occur several times are kept once."""

    def __init__(self) -> None:
        self._words: list[int | Label] = [Instruction.FAIL, Instruction.CHOOSE_NEXT]
        self._sets = dict[int, int]()
        self._shapes = dict[tuple[Bounds, ...], int]()
        self._tables = list[Sequence[tuple[int, tuple[Label, ...]]]]()

    def add(self, instruction: Instruction, *operands: int | Label) -> int:
        """Add an instruction, and return its place."""
        self._words += instruction, *operands
        return len(self._words) - len(operands) - 1

    def take_out(self, place: int, words: int) -> None:
        """Make an instruction one that does nothing: it goes to what follows it."""
        follower = Label(place + words)
        if words < 2:
            raise AssertionError("there is not enough room")
        self._words[place : place + 2] = Instruction.GO, follower

    def mark_whole(self, place: int) -> bool:
        """Let the run after a mark put both marks of its group, if there is nothing else; return whether there is."""
        _, slot, instruction, *operands = self._words[place:]
        if instruction == Instruction.RUN and len(operands) == 3:
            self._words[place:] = [Instruction.MARK_RUN, slot, *operands]
        elif instruction == Instruction.REST and not operands:
            self._words[place:] = [Instruction.MARK_REST, slot]
        else:
            return False
        return True

    def put(self, label: Label) -> None:
        """Let a label be the place of the next instruction."""
        label.place = len(self._words)

    def set_number(self, found: int) -> int:
        """Return the number of a set."""
        return self._sets.setdefault(found, len(self._sets))

    def shape_number(self, bounds: Sequence[Bounds]) -> int:
        """Return the number of a shape."""
        return self._shapes.setdefault(tuple(bounds), len(self._shapes))

    def table_number(self, places: Sequence[tuple[int, tuple[Label, ...]]]) -> int:
        """Return the number of a table: sets of bytes, which have every byte once, each with the places to try."""
        self._tables.append(places)
        return len(self._tables) - 1

    def finished(self) -> Code:
        """Return the code. Raises NotCompiled if it is too long."""
        self.add(Instruction.FAIL)
        lists, begins = array("I"), dict[tuple[int, ...], int]()
        tables = array("H")
        for table in self._tables:
            numbers = [0] * 256
            for found, labels in table:
                places = tuple(map(self._place_of, labels))
                if places not in begins:
                    begins[places] = len(lists)
                    lists.extend((*places, 0))
                for byte in bytes_in(found):
                    numbers[byte] = begins[places]
            if len(lists) > _MOST_WORDS:
                raise NotCompiled("too many places")
            tables.extend(numbers)
        words = array("I", (self._place_of(word) if isinstance(word, Label) else word for word in self._words))
        if len(words) > _MOST_WORDS:
            raise NotCompiled("too much code")
        sets = b"".join(found.to_bytes(32, "little") for found in self._sets)
        return Code(
            words.tobytes(), sets, b"".join(map(packed, self._shapes)), tables.tobytes(), lists.tobytes() or bytes(4)
        )

    def _place_of(self, label: Label) -> int:
        """Return the place of a label: where code goes on from there, if it only says so."""
        place = label.place
        while self._words[place] is Instruction.GO:
            onward = self._words[place + 1]
            assert isinstance(onward, Label)
            place = onward.place
        return place
