"""Finds the members of a JSON object in its text, so that a key can be replaced while the rest stays unchanged."""

import json
from dataclasses import dataclass
from typing import Final, NoReturn

from logferry.protocol.patterns import compile_pattern

_white_space: Final = compile_pattern(r"[ \t\r\n]*+")


@dataclass(frozen=True, slots=True)
class Member:
    """A key, its value, and their positions in the text. Every number is a float."""

    key: str
    key_start: int
    key_end: int
    value: object
    start: int
    end: int

    @property
    def is_scalar(self) -> bool:
        """Whether the value is a string or a number."""
        return isinstance(self.value, str | float)


def members_of(text: str) -> list[Member] | None:
    """Return the members, including duplicates, of a JSON object (RFC 8259); None if the text is not an object."""
    try:
        return _members_of(text)
    except (ValueError, RecursionError):
        return None


def is_object(text: str) -> bool:
    """Whether a text is a JSON object: what `members_of` finds out, in a tenth of the time."""
    try:
        return isinstance(_decoder.decode(text), dict)
    except (ValueError, RecursionError):
        return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# A number of a million digits is legal JSON. int() would reject it; float() does not.
_decoder: Final = json.JSONDecoder(parse_int=float, parse_constant=_refuse_constant)


def _members_of(text: str) -> list[Member]:
    members: list[Member] = []
    position = _expect("{", text, 0)
    is_more = text[position : position + 1] != "}"
    while is_more:
        key, key_end = _decoder.raw_decode(text, position)
        if not isinstance(key, str):
            raise ValueError("a key is not a string")
        start = _expect(":", text, key_end)
        value, end = _decoder.raw_decode(text, start)
        members.append(Member(key, position, key_end, value, start, end))
        position = _skip(text, end)
        is_more = text[position : position + 1] == ","
        if is_more:
            position = _skip(text, position + 1)
    if _expect("}", text, position) != len(text):
        raise ValueError("something follows the object")
    return members


def _skip(text: str, position: int) -> int:
    match = _white_space.match(text, position)
    return match.end() if match else position


def _expect(character: str, text: str, position: int) -> int:
    """Return the position after `character` and the white space that may surround it."""
    position = _skip(text, position)
    if not text.startswith(character, position):
        raise ValueError(f"no {character}")
    return _skip(text, position + 1)
