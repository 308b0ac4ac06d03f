"""Makes the programs by which the compiled part renders the lines of a format.

A program has the patterns of the kinds of lines, and what their records consist of. It writes the bytes that
`LineFormat.render_escaped` would; lines that it leaves are rendered there.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Final

from logferry import speedups
from logferry.rendering.engine.compiled.code import CodeWriter
from logferry.rendering.engine.compiled.reader import tree_of
from logferry.rendering.engine.compiled.tree import NotCompiled
from logferry.rendering.engine.fields import SEPARATOR, Field
from logferry.rendering.engine.records import Written

_NO_TEXT: Final = (1 << 32) - 1


class Piece(IntEnum):
    """What line_program.h calls the same, in the same order; the operands are described there."""

    PUT_TEXT = 0
    PUT_GROUP = auto()
    PUT_MAYBE = auto()
    PUT_EACH = auto()


# A function that gets the escaped text of a group, or None, and returns what a record has of it.
Each = Callable[[bytes | None], bytes]


@dataclass(frozen=True, slots=True)
class Kind:
    """The usual pattern of a kind of lines, and the fields of its records."""

    pattern: str
    fields: Sequence[Field]


def program_of(kinds: Iterable[Kind], compiled: speedups.Compiled, *, knows_all: bool) -> object | None:
    """Return the program of a format; None if the compiled part cannot render one of its kinds.

    `knows_all`: a line that is of none of the kinds becomes a message as a whole.
    """
    try:
        return _Records(compiled).program(list(kinds), knows_all=knows_all)
    except NotCompiled:
        return None


class _Records:
    """Collects the pieces of the records of all kinds."""

    def __init__(self, compiled: speedups.Compiled) -> None:
        self._compiled = compiled
        self._texts = bytearray()
        self._places = dict[bytes, int]()
        self._functions = list[Each]()
        self._pieces = list[bytes]()

    def program(self, kinds: list[Kind], *, knows_all: bool) -> object:
        trees = [tree_of(kind.pattern.encode(), {field.group for field in kind.fields}) for kind in kinds]
        writer = CodeWriter()
        slots = writer.write_kinds([(tree, groups) for tree, _, groups in trees])
        ranges = list[int]()
        for kind, (_, numbers, _), slots_of_kind in zip(kinds, trees, slots, strict=True):
            ranges.append(len(self._pieces))
            groups = {name: slots_of_kind[number] for name, number in numbers.items() if number in slots_of_kind}
            self._add_record(kind.fields, groups)
            ranges.append(len(self._pieces))
        code = writer.finished()
        return self._compiled.line_program(
            *(code.words, code.sets, code.shapes, code.tables, code.lists),
            struct.pack(f"{len(ranges)}I", *ranges),
            b"".join(self._pieces),
            bytes(self._texts),
            tuple(self._functions),
            knows_all,
        )

    def _add_record(self, fields: Sequence[Field], slots: dict[str, int]) -> None:
        """Add the pieces of a record. Texts in a row become one."""
        fixed = b"{"
        for field in fields:
            skipped = len(SEPARATOR) if fixed == b"{" else 0
            slot, copied = slots.get(field.group), field.copied
            if slot is None:
                fixed += written(field, None)[skipped:]
            elif copied is None:
                self._add(Piece.PUT_EACH, slot, *self._text(fixed), self._function_number(field, skipped))
                fixed = b""
            elif copied.missing is None:
                self._add(Piece.PUT_GROUP, slot, *self._text(fixed + copied.before[skipped:]))
                fixed = copied.after
            else:
                before, missing = fixed + copied.before[skipped:], fixed + copied.missing[skipped:]
                texts = map(self._text, (before, copied.after, missing))
                nil = (0, _NO_TEXT) if copied.nil is None else self._text(copied.nil)
                self._add(Piece.PUT_MAYBE, slot, *(number for text in (*texts, nil) for number in text))
                fixed = b""
        self._add(Piece.PUT_TEXT, 0, *self._text(fixed + b"}\n"))

    def _add(self, piece: Piece, slot: int, *operands: int) -> None:
        self._pieces.append(struct.pack("10I", piece, slot, *operands, *[0] * (8 - len(operands))))

    def _text(self, text: bytes) -> tuple[int, int]:
        """Return the offset and the size of a text."""
        if text not in self._places:
            self._places[text] = len(self._texts)
            self._texts += text
        return self._places[text], len(text)

    def _function_number(self, field: Field, skipped: int) -> int:
        functions = self._functions
        functions.append(lambda text: written(field, text)[skipped:])
        return len(functions) - 1


def written(field: Field, text: bytes | None) -> bytes:
    """Return what a record has for a field whose group has matched a text, or has not matched."""
    pieces = list[bytes]()
    for piece in field.written:
        if isinstance(piece, bytes):
            pieces.append(piece)
            continue
        column = piece.edit([text]) if piece.edit else Written([text or b""])
        if column is not None:
            pieces += column.before, column.values[0], column.after
    return b"".join(pieces)
