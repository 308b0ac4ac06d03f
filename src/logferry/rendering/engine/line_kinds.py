"""Lines of one kind with many fields, a chunk at a time: what the syslog, web server and container formats share.

A kind is known by two patterns with the same named groups. The full one says which texts have it: it is the
reference, and is matched with one text at a time. The usual one matches most of these lines as they are in a chunk,
escaped for JSON, and never one that the full one reads otherwise; whole chunks are split with it. The few lines that
only the full pattern takes (quotes inside quotes, letters beyond ASCII where there usually are none) go one by one, and
so do the lines of no kind at all.

What makes a usual pattern quick is that its long runs are single ranges (`[!-~]`) or all but one byte (`[^\\n]`), and
possessive. It begins with a newline, because `re` looks for a literal first byte far more quickly than for `^`.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, pairwise
from typing import Any, Final, cast

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.base import EscapedFormat, Rendered, unknown_fields
from logferry.rendering.engine.escape import WHITE_SPACE, unescape

# Instead of a value: the record does not have the key.
ABSENT: Final = object()

_encoder: Final = json.JSONEncoder(ensure_ascii=False)

Texts = list[bytes | None]


@dataclass(frozen=True, slots=True)
class Column:
    """A piece of many records: what is the same in all of them before and after the values, and the values."""

    before: bytes
    values: list[bytes]
    after: bytes = b""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record, made of the text of a group of the pattern (None: the group did not match).

    `value` makes it for one line. `column` makes it for many, of escaped texts: JSON from the comma before the key to
    the end of the value; None if none of the lines has the key.
    """

    group: str
    key: str
    value: Callable[[str | None], object]
    column: Callable[[Texts], Column | None]


def text(key: str, group: str = "") -> Field:
    """Return a field that is the text of its group, which always matches."""
    before = _before(key) + b'"'
    return Field(group or key, key, _itself, lambda texts: Column(before, cast(list[bytes], texts), b'"'))


def text_or_null(key: str, group: str = "", *, nil: str = "-") -> Field:
    """Return a field that is the text of its group; null if there is none or it is `nil`, as logs write it."""
    before, none = _before(key), nil.encode()

    def column(texts: Texts) -> Column:
        if None in texts or none in texts:
            return Column(before, [b"null" if text is None or text == none else b'"%b"' % text for text in texts])
        return Column(before + b'"', cast(list[bytes], texts), b'"')

    return Field(group or key, key, lambda text: None if text == nil else text, column)


def number_or_null(key: str, group: str = "") -> Field:
    """Return a field that is a number, written as JSON writes it (no zero in front), or `-` for null."""
    before = _before(key)

    def column(texts: Texts) -> Column:
        return Column(before, [b"null" if text == b"-" else text for text in cast(list[bytes], texts)])

    return Field(group or key, key, lambda text: None if text is None or text == "-" else int(text), column)


def of_each(key: str, group: str, value: Callable[[str | None], object]) -> Field:
    """Return a field that is computed once for each distinct text of its group: there should be few."""
    before = _before(key)

    def column(texts: Texts) -> Column:
        values = {text: to_json(value(None if text is None else unescape(text))) for text in set(texts)}
        return Column(before, list(map(values.__getitem__, texts)))

    return Field(group, key, value, column)


def if_given(key: str, group: str = "") -> Field:
    """Return a field that only those records have whose group matched."""
    before = _before(key)

    def column(texts: Texts) -> Column | None:
        missing = texts.count(None)
        if missing == len(texts):
            return None
        if missing:
            return Column(b"", [b"" if text is None else b'%b"%b"' % (before, text) for text in texts])
        return Column(before + b'"', cast(list[bytes], texts), b'"')

    return Field(group or key, key, lambda text: ABSENT if text is None else text, column)


def flag(key: str) -> Field:
    """Return a field that is true in those records whose group matched, and that the others do not have."""
    given = _before(key) + b"true"

    def column(texts: Texts) -> Column | None:
        return Column(b"", [b"" if text is None else given for text in texts]) if any(texts) else None

    return Field(key, key, lambda text: ABSENT if text is None else True, column)


class UsualLines:
    """Lines found in a chunk by a pattern, and the columns that its groups become: level, message, timestamp first."""

    def __init__(self, pattern: str, fields: Sequence[Field]) -> None:
        """`pattern` matches an escaped line from its beginning up to its newline."""
        self._pattern = compile_pattern(rf"\n{pattern}(?![^\n])".encode())
        self._stride = self._pattern.groups + 1
        self._fields = tuple(fields)

    def render(self, escaped: bytes, otherwise: Callable[[bytes], Rendered]) -> Rendered:
        """Render lines, each ended by a newline; give runs of those that the pattern does not match to `otherwise`."""
        parts = self._pattern.split(b"\n" + escaped[:-1])
        between = parts[0 :: self._stride]  # nothing, or lines each with its newline before it
        if len(between) == 1:
            return otherwise(escaped)
        columns = self._columns(parts)
        begin, end = b"{" + columns[0].before.removeprefix(b", "), columns[-1].after + b"}\n"
        joints = [end + begin] * len(between)
        lines, blank = len(between) - 1, 0
        for index in compress(range(len(between)), between):
            rendered = otherwise(between[index][1:] + b"\n")
            joints[index] = end + rendered.payload + begin
            lines += rendered.lines
            blank += rendered.blank
        joints[0] = joints[0][len(end) :]
        joints[-1] = joints[-1][: -len(begin)]
        payload = _woven(joints, columns)
        if payload.count(b"\n") != lines:
            return otherwise(escaped)  # what was taken for one line had a newline within
        return Rendered(payload, lines, blank)

    def _columns(self, parts: list[Any]) -> list[Column]:
        """Return the columns that there are, made of what the split gave."""
        columns = []
        for field in self._fields:
            index = self._pattern.groupindex.get(field.group)
            texts = parts[index :: self._stride] if index else [None] * (len(parts) // self._stride)
            columns.append(field.column(texts))
        return [column for column in columns if column]


class LineKind:
    """What texts of one kind look like, and which fields they become."""

    def __init__(self, full: str, usual: str, fields: Sequence[Field]) -> None:
        """`full` matches a whole text, `usual` escaped lines."""
        self.usual = UsualLines(usual, fields)
        self._full = compile_pattern(full, re.DOTALL | re.ASCII)
        self._fields = tuple(fields)

    def fields_of(self, text: str) -> dict[str, object] | None:
        """Return the fields of the text of one event; None if it has another kind."""
        match = self._full.fullmatch(text)
        if match is None:
            return None
        texts = match.groupdict()
        values = {field.key: field.value(texts.get(field.group)) for field in self._fields}
        return {key: value for key, value in values.items() if value is not ABSENT}


class LineFormat(EscapedFormat):
    """A format whose lines have one of some kinds; any other line is shipped whole (rule F5)."""

    def __init__(self, name: str, kinds: Sequence[LineKind]) -> None:
        """No line may have two of the kinds."""
        self.name = name
        self._kinds = tuple(kinds)

    def fields_of(self, text: str) -> dict[str, object]:
        """See EscapedFormat."""
        for kind in self._kinds:
            fields = kind.fields_of(text)
            if fields is not None:
                return fields
        return unknown_fields(text)

    def render_escaped(self, escaped: bytes) -> Rendered:
        """See EscapedFormat. Lines that are not as usual for one kind are tried with the next."""
        render = self._one_by_one
        for kind in reversed(self._kinds):
            render = partial(kind.usual.render, otherwise=render)
        return render(escaped)

    def _one_by_one(self, escaped: bytes) -> Rendered:
        return one_by_one(map(unescape, escaped.split(b"\n")[:-1]), self.fields_of)


def one_by_one(texts: Iterable[str], fields_of: Callable[[str], dict[str, object]]) -> Rendered:
    """Render the texts of events as the reference says, and count the blank ones."""
    texts = list(texts)
    records = [to_json(fields_of(text)) + b"\n" for text in texts if text.strip(WHITE_SPACE)]
    return Rendered(b"".join(records), len(records), len(texts) - len(records))


def to_json(value: object) -> bytes:
    """Return what `json.dumps` gives, letters beyond ASCII as they are, in UTF-8."""
    return _encoder.encode(value).encode()


def _woven(joints: list[bytes], columns: list[Column]) -> bytes:
    """Join records: between them the joints, in each of them one value of each column, and what is between these."""
    width = 2 * len(columns)
    records = len(joints) - 1
    out = [b""] * (records * width + 1)
    out[0::width] = joints
    for place, column in enumerate(columns):
        out[2 * place + 1 :: width] = column.values
    for place, (column, following) in enumerate(pairwise(columns), 1):
        out[2 * place :: width] = [column.after + following.before] * records
    return b"".join(out)


def _before(key: str) -> bytes:
    return b', "%b": ' % key.encode()


def _itself(value: Any) -> Any:
    return value
