"""Finds the layouts of JSON lines, and makes the patterns that parse whole chunks of lines of one layout.

A layout is the sequence of the keys that may have a role (`roles`), and the kinds of their values. Other members may
stand before, between and after these keys.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

from logferry.rendering.engine.fields import upper_levels
from logferry.rendering.engine.layouts import INSIDE_STRING, PLAIN_CHARACTERS, Piece, composed
from logferry.rendering.engine.levels import LEVEL_WORDS
from logferry.rendering.engine.records import LinePattern, Texts, Written
from logferry.rendering.formats.json.members import members_of
from logferry.rendering.formats.json.roles import ALL_KEYS, SCALARS, TIME, Roles, kind_of, roles_of

# Lines with more deeply nested objects and arrays go one by one: patterns grow with the square of the depth.
_MAX_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """`names` holds the keys that may have a role, each with the kind of its value (`roles.kind_of`)."""

    names: tuple[tuple[str, str], ...]
    is_nested: bool


def layout_of(text: str) -> Layout | None:
    """Return the layout of a line; None if the line cannot be matched by a pattern."""
    members = members_of(text)
    if not members:
        return None
    depth = max(_depth(member.value) for member in members)
    if depth > _MAX_DEPTH or any(text[member.key_start : member.key_end] != f'"{member.key}"' for member in members):
        return None
    names = [(member.key, kind_of(member.key, member.value)) for member in members if member.key in ALL_KEYS]
    return Layout(tuple(names), depth > 0)


def _depth(value: object) -> int:
    """Return how deeply a value is nested, counting at most to one more than `_MAX_DEPTH`."""
    depth = 0
    inner = [value]
    while inner := [part for part in inner if isinstance(part, dict | list)]:
        depth += 1
        if depth > _MAX_DEPTH:
            break
        inner = [part for whole in inner for part in (whole.values() if isinstance(whole, dict) else whole)]
    return depth


# All quantifiers are possessive: the time is linear in the bytes for any input.
_STRING: Final = f'"{INSIDE_STRING}"'
_NUMBER: Final = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
_CONSTANT: Final = "true|false|null"
_COMMA: Final = ", ?+"
_COLON: Final = ": ?+"


def _one_of(keys: Iterable[str]) -> str:
    """Return a pattern of one of the keys. Their first characters decide, which is quicker than to try them all."""
    rests = dict[str, list[str]]()
    for key in keys:
        rests.setdefault(key[0], []).append(re.escape(key[1:]))
    return "|".join(f"{re.escape(first)}(?:{'|'.join(others)})" for first, others in rests.items())


# A key that cannot have a role.
_OTHER_KEY: Final = f'"(?!(?:{_one_of(ALL_KEYS)})"){PLAIN_CHARACTERS}"'


def _nested(depth: int) -> str:
    """Return a pattern of objects and arrays nested up to `depth`; for 0, a pattern that never matches."""
    if not depth:
        return "(?!)"
    value = _value(depth - 1)
    member = rf'"{PLAIN_CHARACTERS}"{_COLON}(?:{value})'
    return rf'\{{(?:{member}(?:{_COMMA}(?=")|(?=\}})))*+\}}|\[(?:(?:{value})(?:{_COMMA}(?!\])|(?=\])))*+\]'


def _value(depth: int) -> str:
    scalar = f"{_STRING}|{_NUMBER}|{_CONSTANT}"
    return f"{scalar}|{_nested(depth)}" if depth else scalar


# A word that is a level wherever a level may stand.
_LEVEL_WORD: Final = f"(?i:{'|'.join(LEVEL_WORDS)})"


def _kinds(depth: int) -> dict[str, str]:
    """Return a pattern of each kind of value. A converted value is in a group that has the name of its key."""
    member = rf'"(?!level"){PLAIN_CHARACTERS}"{_COLON}(?:{_value(depth - 1)})' if depth else "(?!)"
    return {
        "text": _STRING,
        "number": _NUMBER,
        "other": f"(?:{_CONSTANT}|{_nested(depth)})",
        "t text": rf'(?!"{TIME}")"{PLAIN_CHARACTERS}"',
        "t time": f'"{TIME}"',
        "t date": rf'\{{"\$date"{_COLON}"(?P<t>{TIME})"\}}',
        "t other": rf'(?!\{{"\$date")(?:{_CONSTANT}|{_nested(depth)})',
        "log levelled": rf'\{{(?:{member}{_COMMA})*+"level"{_COLON}"(?P<log>{_LEVEL_WORD})"(?:{_COMMA}{member})*+\}}',
        "log other": rf"(?:{_CONSTANT}|(?!\{{)(?:{_nested(depth)})|\{{(?:{member}(?:{_COMMA}{member})*+)?+\}})",
    }


@lru_cache(maxsize=64)
def pattern_of(layout: Layout) -> LinePattern:
    """Return the pattern of the lines of a layout, with the records that they become."""
    roles = roles_of(layout.names)
    converted = {role: (conversion.key, conversion.edit) for role, conversion in roles.converted.items()}
    sources = roles.renamed.values()
    return composed([(r"\{", b""), *_pieces(layout, roles), (r"\}", b"")], sources, converted)


def _pieces(layout: Layout, roles: Roles) -> Iterator[Piece]:
    """Yield the pieces between the braces of an object, each with what the record gets for it."""
    depth = _MAX_DEPTH if layout.is_nested else 0
    other = f"{_OTHER_KEY}{_COLON}(?:{_value(depth)})"
    if not layout.names:
        yield f"{other}(?:{_COMMA}{other})*+", None
        return
    kinds = _kinds(depth)
    captured = {conversion.key for conversion in roles.converted.values()}
    yield f"(?:{other}{_COMMA})*+", None
    for place, (name, kind) in enumerate(layout.names, start=1):
        role = roles.renamed.get(name, name) if kind in SCALARS else name
        value = kinds.get(f"{name} {kind}") or kinds[kind]
        yield f'"{re.escape(name)}"', None if role == name else f'"{role}"'.encode()
        yield _COLON, None
        if role == "level" and kind == "text":
            yield '"', None
            yield "[A-Za-z]++", upper_levels
            yield '"', None
        elif role == "level" and kind == "number" and roles.numbers:
            yield value, partial(_words, roles.numbers)
        elif name in captured:
            yield value if "(?P<" in value else f"(?P<{name}>{value})", None
            captured.discard(name)
        else:
            yield re.sub(r"\(\?P<\w+>", "(?:", value), None
        is_last = place == len(layout.names)
        yield f"(?:{_COMMA}{other})*+" if is_last else f"{_COMMA}(?:{other}{_COMMA})*+", None


def _words(words: Mapping[str, str], texts: Texts) -> Written:
    """Return numeric levels as words; a number without a word stays."""
    written = {text: words.get(text.decode()) for text in set(texts)}
    return Written([f'"{written[text]}"'.encode() if written[text] else text for text in texts])
