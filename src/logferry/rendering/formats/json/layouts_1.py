"""Finds the layouts of JSON lines by rules 1, and makes the patterns that parse whole chunks of lines of one layout.

A layout is the sequence of the keys that may have a role (`field_roles`), and the kinds of their values. Other members
may stand before, between and after these keys.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from logferry.rendering.engine.field_roles import ALL_NAMES, sources_of
from logferry.rendering.engine.fields import upper_levels
from logferry.rendering.engine.layouts import INSIDE_STRING, PLAIN_CHARACTERS, Piece, composed
from logferry.rendering.engine.records import LinePattern
from logferry.rendering.formats.json.members import members_of

# Lines with more deeply nested objects and arrays go one by one: patterns grow with the square of the depth.
_MAX_DEPTH: Final = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """`names` holds the keys that may have a role, each with the kind of its value: `text`, `number` or `other`."""

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
    names = [(member.key, _kind(member.value)) for member in members if member.key in ALL_NAMES]
    return Layout(tuple(names), depth > 0)


def _kind(value: object) -> str:
    return {str: "text", float: "number"}.get(type(value), "other")


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

# A key that cannot have a role.
_OTHER_KEY: Final = f'"(?!(?:{"|".join(map(re.escape, ALL_NAMES))})"){PLAIN_CHARACTERS}"'


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


@lru_cache(maxsize=64)
def pattern_of(layout: Layout) -> LinePattern:
    """Return the pattern of the lines of a layout, with the records that they become."""
    sources = sources_of((name, kind != "other") for name, kind in layout.names)
    roles = {source: role for role, source in sources.items()}
    return composed([(r"\{", b""), *_pieces(layout, roles), (r"\}", b"")], sources)


def _pieces(layout: Layout, roles: dict[str, str]) -> Iterator[Piece]:
    """Yield the pieces between the braces of an object, each with what the record gets for it."""
    depth = _MAX_DEPTH if layout.is_nested else 0
    kinds = {"text": _STRING, "number": _NUMBER, "other": f"(?:{_CONSTANT}|{_nested(depth)})"}
    other = f"{_OTHER_KEY}{_COLON}(?:{_value(depth)})"
    if not layout.names:
        yield f"{other}(?:{_COMMA}{other})*+", None
        return
    yield f"(?:{other}{_COMMA})*+", None
    for place, (name, kind) in enumerate(layout.names, start=1):
        role = roles.get(name, name) if kind != "other" else name
        yield f'"{re.escape(name)}"', None if role == name else f'"{role}"'.encode()
        yield _COLON, None
        if role == "level" and kind == "text":
            yield '"', None
            yield "[A-Za-z]++", upper_levels
            yield '"', None
        else:
            yield kinds[kind], None
        is_last = place == len(layout.names)
        yield f"(?:{_COMMA}{other})*+" if is_last else f"{_COMMA}(?:{other}{_COMMA})*+", None
