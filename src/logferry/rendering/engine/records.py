r"""Turns lines into records at C speed: one pattern splits a whole chunk, and the pieces are joined in another order.

Every format that reads whole chunks uses `LinePattern`, on raw lines or on lines escaped for JSON. It runs no Python
code per line: the texts that a group of the pattern matches in all lines are a column, which is changed as a whole.

Lines that the pattern does not match are collected, rendered together in some other way, and put back into their
places, so that they share the cost of a call. This module must never know about formats, levels or timestamps.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.format import Rendered

# The texts of one group in all lines; None where the group did not match.
Texts = list[Any]


@dataclass(frozen=True, slots=True)
class Written:
    """The output of one column: a value for each record, and what all records have before and after the value."""

    values: Sequence[bytes]
    before: bytes = b""
    after: bytes = b""


# Changes all texts of a column in one call. None: the column writes nothing.
Edit = Callable[[Texts], Written | None]


@dataclass(frozen=True, slots=True)
class Column:
    """The texts of a group, given by number or by name: as they are, or as `edit` changes them.

    The pattern may lack a group of that name: then the edit gets None for every line.
    """

    group: int | str
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """The texts of several groups, which `edit` changes into one column."""

    groups: tuple[str, ...]
    edit: Callable[..., Written]


class LinePattern:
    """Lines of the same shape, and the records that they become."""

    def __init__(self, line: str, record: Iterable[bytes | Column | Columns], *, is_one_line: bool = False) -> None:
        r"""`line` is the pattern of a line without its newline.

        `record` is what a record consists of, from `{` to `}\n`: bytes that all records have, and columns.
        `is_one_line` says that the pattern cannot match a newline; otherwise the newlines of every result are counted,
        which takes a tenth of the time when there are few columns.
        """
        # The pattern begins with a newline because `re` finds a literal first byte far more quickly than `^`.
        self._pattern = compile_pattern(rf"\n{line}(?=\n)".encode())
        self._width = self._pattern.groups + 1
        self._record = tuple(record)
        self._is_one_line = is_one_line

    def matches_all(self, lines: bytes) -> bool:
        """Whether the pattern matches each of the lines."""
        return len(self._pattern.findall(b"\n" + lines)) == lines.count(b"\n")

    def render(self, lines: bytes, otherwise: Callable[[bytes], Rendered]) -> Rendered:
        """Render the lines that the pattern matches, and the others with `otherwise`; blank lines give no records."""
        parts = self._pattern.split(b"\n" + lines)
        matched = len(parts) // self._width
        if not matched:
            return otherwise(lines)
        (begin, *slots), end = _slots(self._written(parts))
        assert isinstance(begin, bytes)
        between = parts[0 :: self._width]  # nothing, or lines with their newlines before them
        between[-1] = between[-1][:-1]
        joints = [end + begin] * (matched + 1)
        others = _render_between(between, otherwise, joints, begin, end)
        joints[0] = joints[0][len(end) :]
        joints[-1] = joints[-1][: len(joints[-1]) - len(begin)]
        payload = _interleaved(joints, slots)
        if not self._is_one_line and payload.count(b"\n") != matched + others.lines:
            return otherwise(lines)  # what the pattern took for one line had a newline within
        return Rendered(payload, matched + others.lines, others.blank)

    def _written(self, parts: list[Any]) -> Iterator[bytes | Written]:
        """Yield what the records consist of, with columns made from the parts of a split."""
        for piece in self._record:
            if isinstance(piece, bytes):
                yield piece
                continue
            written: Written | None
            if isinstance(piece, Columns):
                written = piece.edit(*(self._texts(parts, group) for group in piece.groups))
            else:
                texts = self._texts(parts, piece.group)
                written = piece.edit(texts) if piece.edit else Written(texts)
            if written is not None:
                yield written

    def _texts(self, parts: list[Any], group: int | str) -> Texts:
        number = group if isinstance(group, int) else self._pattern.groupindex.get(group)
        return parts[number :: self._width] if number else [None] * (len(parts) // self._width)


def write_records(record: Iterable[bytes | Written], count: int) -> bytes:
    """Return `count` records, at least one, that consist of common bytes and of written columns."""
    (begin, *slots), end = _slots(record)
    assert isinstance(begin, bytes)
    return _interleaved([begin, *[end + begin] * (count - 1), end], slots)


def _slots(record: Iterable[bytes | Written]) -> tuple[list[bytes | Sequence[bytes]], bytes]:
    """Return the slots of records, alternating between common bytes and values, and the common bytes at the end."""
    slots = list[bytes | Sequence[bytes]]()
    fixed = b""
    for piece in record:
        if isinstance(piece, bytes):
            fixed += piece
        else:
            slots += fixed + piece.before, piece.values
            fixed = piece.after
    return slots, fixed


def _interleaved(joints: list[bytes], slots: list[bytes | Sequence[bytes]]) -> bytes:
    """Join records: the slots of a record stand between two joints, each with its value or the common bytes."""
    slots = [slot for slot in slots if slot != b""]
    stride, count = len(slots) + 1, len(joints) - 1
    out = [b""] * (stride * count + 1)
    out[0::stride] = joints
    for place, slot in enumerate(slots, start=1):
        out[place::stride] = [slot] * count if isinstance(slot, bytes) else slot
    return b"".join(out)


def _render_between(
    between: list[bytes], otherwise: Callable[[bytes], Rendered], joints: list[bytes], begin: bytes, end: bytes
) -> Rendered:
    """Render the lines between the matches, and put the result into the joints there."""
    places = list(compress(range(len(between)), between))
    if not places:
        return Rendered(b"", 0)
    rendered = otherwise(b"".join(between)[1:] + b"\n")
    if rendered.blank:
        return _render_one_gap_at_a_time(between, otherwise, joints, begin, end)
    records = rendered.payload.split(b"\n")
    position = 0
    for place in places:
        stop = position + between[place].count(b"\n")
        joints[place] = b"%b%b\n%b" % (end, b"\n".join(records[position:stop]), begin)
        position = stop
    return rendered


def _render_one_gap_at_a_time(
    between: list[bytes], otherwise: Callable[[bytes], Rendered], joints: list[bytes], begin: bytes, end: bytes
) -> Rendered:
    """Do the same where blank lines give no records: counting cannot show which record belongs to which line."""
    lines = blank = 0
    for place in compress(range(len(between)), between):
        rendered = otherwise(between[place][1:] + b"\n")
        joints[place] = end + rendered.payload + begin
        lines += rendered.lines
        blank += rendered.blank
    return Rendered(b"", lines, blank)
