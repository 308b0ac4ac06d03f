"""Defines the kinds of fields that come from named groups of a pattern, each with two ways to write the field.

A field defines its value for the text of one line (the reference), and the NDJSON for a whole chunk of escaped texts.
Both give the same bytes. New kinds of fields belong here, not in the formats.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from logferry.rendering.engine.escape import to_json, unescape
from logferry.rendering.engine.records import Column, Texts, Written

# Stands for a missing value: the record does not have the key.
ABSENT: Final = object()


# What is between the fields of a record.
SEPARATOR: Final = b", "


@dataclass(frozen=True, slots=True)
class Copied:
    """A field that is the text of its group as it is: what a record has before and after the text.

    `missing` is what a record has instead if the group did not match (None: it always does) or its text is `nil`.
    """

    before: bytes
    after: bytes
    missing: bytes | None = None
    nil: bytes | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a record, whose value comes from the text of a group.

    The text is None if the group did not match or the pattern does not have it. `value` converts the text of one line
    (None: the text itself is the value). `written` is what a chunk of records has for the field: JSON from the comma
    before the key to the end of the value. `copied` says the same of a field that is only copied: the compiled part
    writes these fields itself. It calls `written` once for each of the few texts that other fields have.
    """

    key: str
    group: str
    value: Callable[[str | None], object] | None
    written: tuple[bytes | Column, ...]
    copied: Copied | None = None


def text(key: str, group: str = "") -> Field:
    """Return a field that is the text of its group, which always matches."""
    group, before = group or key, _before(key) + b'"'
    return Field(key, group, None, (before, Column(group), b'"'), Copied(before, b'"'))


def level(group: str = "level") -> Field:
    """Return the field of a level that is a word: in capitals, without `[]` and `:`. Its group always matches."""
    written = (_before("level") + b'"', Column(group, upper_levels), b'"')
    return Field("level", group, lambda text: (text or "").strip("[]:").upper(), written)


def with_space(key: str) -> Field:
    """Return a field that is the text of its group, which always matches, with a space for each tab in it."""

    def edit(texts: Texts) -> Written:
        return Written([text.replace(rb"\t", b" ") for text in texts], b'"', b'"')

    return Field(key, key, lambda text: (text or "").replace("\t", " "), (_before(key), Column(key, edit)))


def text_or_null(key: str, group: str = "", *, nil: str = "-") -> Field:
    """Return a field that is the text of its group; null if the group did not match, or its text is `nil`."""
    group, none = group or key, nil.encode()

    def edit(texts: Texts) -> Written:
        if None in texts or none in texts:
            return Written([b"null" if text is None or text == none else b'"%b"' % text for text in texts])
        return Written(texts, b'"', b'"')

    before = _before(key)
    copied = Copied(before + b'"', b'"', before + b"null", none)
    return Field(key, group, lambda text: None if text == nil else text, (before, Column(group, edit)), copied)


def always_null(key: str) -> Field:
    """Return a field that is null in every record."""
    return Field(key, "", None, (_before(key) + b"null",))


def number_or_null(key: str, group: str = "") -> Field:
    """Return a field that is a number, written as JSON writes it (no zero in front); null if `-` or not matched."""
    group = group or key

    def value(text: str | None) -> int | None:
        return None if text is None or text == "-" else int(text)

    return Field(key, group, value, (_before(key), Column(group, _numbers)), _copied_number(key))


class WrittenNumber(float):
    """A number that a record has as it was written: `0.000` stays `0.000`."""

    written: str

    def __new__(cls, written: str) -> Self:
        """Raises ValueError if it is not a number."""
        number = super().__new__(cls, written)
        number.written = written
        return number


def decimal_or_null(key: str, group: str = "") -> Field:
    """Return a field that is a number with a fraction, as JSON writes it; null if `-` or not matched."""
    group = group or key

    def value(text: str | None) -> WrittenNumber | None:
        return None if text is None or text == "-" else WrittenNumber(text)

    return Field(key, group, value, (_before(key), Column(group, _numbers)), _copied_number(key))


def _copied_number(key: str) -> Copied:
    return Copied(_before(key), b"", _before(key) + b"null", b"-")


def _numbers(texts: Texts) -> Written:
    if None in texts:
        texts = [b"-" if text is None else text for text in texts]
    return Written([b"null" if text == b"-" else text for text in texts])


def json_of(fields: Mapping[str, object]) -> str:
    """Return the record of these fields: JSON in one line."""
    if not any(type(value) is WrittenNumber for value in fields.values()):
        return to_json(fields)
    members = (
        f"{to_json(key)}: {value.written if isinstance(value, WrittenNumber) else to_json(value)}"
        for key, value in fields.items()
    )
    return f"{{{', '.join(members)}}}"


def of_each(key: str, group: str, value: Callable[[str | None], object]) -> Field:
    """Return a field that is computed once for each distinct text of its group; use it where texts are few."""

    def edit(texts: Texts) -> Written:
        values = {text: to_json(value(None if text is None else unescape(text))).encode() for text in set(texts)}
        return Written(list(map(values.__getitem__, texts)))

    return Field(key, group, value, (_before(key), Column(group, edit)))


def if_given(key: str, group: str = "") -> Field:
    """Return a field that a record has only if the group matched."""
    group, before = group or key, _before(key)

    def edit(texts: Texts) -> Written | None:
        missing = texts.count(None)
        if missing == len(texts):
            return None
        if missing:
            return Written([b"" if text is None else b'%b"%b"' % (before, text) for text in texts])
        return Written(texts, before + b'"', b'"')

    copied = Copied(before + b'"', b'"', b"")
    return Field(key, group, lambda text: ABSENT if text is None else text, (Column(group, edit),), copied)


def csv_text_if_given(key: str) -> Field:
    """Return a field that a record has only if the group matched: a text of CSV, in which each quote is doubled."""

    before = _before(key)

    def edit(texts: Texts) -> Written:
        given = (b"" if text is None else b'%b"%b"' % (before, text.replace(rb"\"\"", rb"\"")) for text in texts)
        return Written(list(given))

    def value(text: str | None) -> object:
        return ABSENT if text is None else text.replace('""', '"')

    return Field(key, key, value, (Column(key, edit),))


def csv_text(key: str) -> Field:
    """Return a field that is such a text; its group always matches."""

    def edit(texts: Texts) -> Written:
        return Written([text.replace(rb"\"\"", rb"\"") for text in texts], b'"', b'"')

    return Field(key, key, lambda text: (text or "").replace('""', '"'), (_before(key), Column(key, edit)))


def flag(key: str) -> Field:
    """Return a field that is true where its group matched, and absent from the other records."""
    given = _before(key) + b"true"

    def edit(texts: Texts) -> Written | None:
        return Written([b"" if text is None else given for text in texts]) if any(texts) else None

    return Field(key, key, lambda text: ABSENT if text is None else True, (Column(key, edit),))


def record_of(fields: Iterable[Field]) -> list[bytes | Column]:
    """Return what a record of these fields consists of. The first field must be in every record."""
    (first, *rest), *others = (field.written for field in fields)
    assert isinstance(first, bytes)
    pieces = [b"{" + first.removeprefix(SEPARATOR), *rest, *(piece for written in others for piece in written)]
    return [*pieces, b"}\n"]


def upper_levels(levels: Texts) -> Written:
    """Convert levels to upper case and strip `[]` and `:`, once per distinct spelling. ASCII letters only."""
    plain = {level: level.strip(b"[]:").upper() for level in set(levels)}
    if all(spelling == level for spelling, level in plain.items()):
        return Written(levels)
    return Written([plain[level] for level in levels])


def _before(key: str) -> bytes:
    return SEPARATOR + b'"%b": ' % key.encode()
