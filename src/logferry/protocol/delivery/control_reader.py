"""The strict reader of control lines and answers, for both ends (docs/protocol.md, rule E32).

To read a line, declare its keys as a `Shape`, one reader for each key, and call `read_line` (or `read_object`, choose
the shape by what the object says, and call `read_fields`). Every value is then of exactly the declared type and within
its bounds: `whole_number(most=99)` is an int, never a bool or a float. `text(200)` cuts, `short_text(255)` refuses.
`optional(reader, default)` is for a key that may be missing. Keys that a shape does not name are ignored.
Whatever is wrong raises `MalformedLine`, and nothing else, with a reason that quotes nothing from the line.

Pure. Must never take memory or time in proportion to more than the line.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from logferry.names import encodable
from logferry.protocol.messages.writing import MAX_OFFSET
from logferry.protocol.patterns import compile_pattern

# Our own lines have three levels: an object, a list in it, and rows. A key that is not known may have some more.
MAX_DEPTH: Final = 8

# What a list may have if nobody says otherwise: more than fit into the longest answer of our server.
MAX_ENTRIES: Final = 20_000

_MAX_CRC32: Final = 2**32 - 1
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_STRING: Final = compile_pattern(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TO_SQUARE_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


class MalformedLine(ValueError):
    """A line is not what its reader has declared; the text says what is wrong."""


Reader = Callable[[Any], Any]
"""Returns the value that it is given, if that is what it should be. Raises MalformedLine."""


class OptionalKey(NamedTuple):
    """The reader of a key that may be missing; then its value is `default`."""

    read: Reader
    default: Any


Shape = Mapping[str, Reader | OptionalKey]
"""The keys of an object, each with its reader."""


def read_line(line: bytes, shape: Shape) -> dict[str, Any]:
    """Return the fields of a line that has this shape. Raises MalformedLine."""
    return read_fields(read_object(line), shape)


def read_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object in a line, unread: no key twice, no NaN, UTF-8, at most MAX_DEPTH levels.

    Raises MalformedLine.
    """
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and not _is_flat(line):
        raise MalformedLine("it is nested too deeply")
    try:
        value = _DECODER.decode(line.decode())
    except MalformedLine:
        raise
    except (ValueError, RecursionError):
        raise MalformedLine("it is not JSON") from None
    if type(value) is not dict:
        raise MalformedLine("it is not an object")
    return value


def read_fields(given: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """Return the values of the keys of a shape, and no others. Raises MalformedLine, which names the key."""
    values: dict[str, Any] = {}
    for name, reader in shape.items():
        try:
            if isinstance(reader, OptionalKey):
                values[name] = reader.read(given[name]) if name in given else reader.default
            else:
                values[name] = reader(given.get(name))
        except MalformedLine as problem:
            raise MalformedLine(f"{name} {problem}") from None
    return values


def optional(reader: Reader, default: Any) -> OptionalKey:
    """Return the reader of a key that may be missing."""
    return OptionalKey(reader, default)


def whole_number(*, least: int = 0, most: int = MAX_OFFSET) -> Callable[[Any], int]:
    """Return a reader of an int from `least` to `most`."""

    def read(value: Any) -> int:
        if type(value) is not int:
            raise MalformedLine("is not a number")
        if not least <= value <= most:
            raise MalformedLine("is out of range")
        return value

    return read


def flag(value: Any) -> bool:
    """Read true or false."""
    if type(value) is not bool:
        raise MalformedLine("is not true or false")
    return value


def text(keep: int) -> Callable[[Any], str]:
    """Return a reader of a text that UTF-8 can encode, which cuts what is longer than `keep` characters.

    Early clients sent the bytes of a name as lone surrogates: these are escaped, as in a name.
    """

    def read(value: Any) -> str:
        if type(value) is not str:
            raise MalformedLine("is not a text")
        return encodable(value[:keep])

    return read


def short_text(most: int, *, least: int = 0) -> Callable[[Any], str]:
    """Return a reader of a text of `least` to `most` characters, for a text that must not be cut."""

    def read(value: Any) -> str:
        if type(value) is not str:
            raise MalformedLine("is not a text")
        if not least <= len(value) <= most:
            raise MalformedLine(f"does not have {least} to {most} characters")
        return encodable(value)

    return read


def source_id(value: Any) -> str:
    """Read the id of a source (rule E6)."""
    if type(value) is not str:
        raise MalformedLine("is not a text")
    if not _ID.fullmatch(value):
        raise MalformedLine("is not an id")
    return value


def one_of(*allowed: str) -> Callable[[Any], str]:
    """Return a reader of one of several words."""

    def read(value: Any) -> str:
        if type(value) is not str or value not in allowed:
            raise MalformedLine(f"is not {' or '.join(allowed)}")
        return value

    return read


def list_of(reader: Reader, *, least: int = 0, most: int = MAX_ENTRIES) -> Callable[[Any], tuple[Any, ...]]:
    """Return a reader of a list of `least` to `most` entries, which one reader reads."""

    def read(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise MalformedLine("is not a list")
        if not least <= len(value) <= most:
            raise MalformedLine(f"does not have {least} to {most} entries")
        return tuple(map(reader, value))

    return read


def row(make: Callable[..., Any], *readers: Reader) -> Reader:
    """Return a reader of a list with one entry for each of `readers`; `make` is called with their values."""

    def read(value: Any) -> Any:
        if type(value) is not list or len(value) != len(readers):
            raise MalformedLine(f"is not a list of {len(readers)}")
        return make(*(reader(entry) for reader, entry in zip(readers, value, strict=True)))

    return read


def pair_of(first: Reader, second: Reader) -> Reader:
    """Return a reader of a list of two values."""
    return row(lambda *values: values, first, second)


offset: Final = whole_number()
count: Final = whole_number()

# Times are shown to users: in the year 5138, every library still accepts them.
MAX_UNIX_TIME: Final = 10**11
moment_ms: Final = whole_number(most=MAX_UNIX_TIME * 1000)
crc32: Final = whole_number(most=_MAX_CRC32)


def _is_flat(line: bytes) -> bool:
    """Whether brackets are nested at most MAX_DEPTH deep; not if they do not match."""
    brackets = _STRING.sub(b"", line).translate(_TO_SQUARE_BRACKETS, _ALL_BUT_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    return not brackets


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedLine("it has a key twice")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedLine("it is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
