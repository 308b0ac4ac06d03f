"""Stored records as values: level, message, timestamp and the other fields of a line.

A stored line is an object of JSON; one that cannot be parsed is shown as it is, as a message. Never fails, whatever
the bytes are. Numbers stay the text that was stored.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


# The decoder keeps numbers as they are written: a number may have thousands of digits.
_decode: Final = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number).decode

# What nests deeper is shown as the text that was stored. No client of ours sends that.
_MAX_DEPTH: Final = 8


class Record(NamedTuple):
    """What a line says. `fields` are all other members, by name. Texts may hold anything."""

    level: str
    message: str
    timestamp: str
    fields: Mapping[str, Any]

    def fields_as_text(self) -> Iterator[str]:
        """Yield each other field as `key=value`, those in objects and lists inside, too, each by its own key."""
        for key, value in self.fields.items():
            yield from _leaves(key, value, 0)


def record_of(line: bytes) -> Record:
    """Parse a stored line, without its newline."""
    try:
        value = _decode(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return Record("", line.decode("utf-8", "surrogateescape"), "", {})
    level, message, timestamp = (value.get(name) for name in ("level", "message", "timestamp"))
    return Record(
        _taken(value, "level", level), _taken(value, "message", message), _taken(value, "timestamp", timestamp), value
    )


def _taken(members: dict[str, Any], name: str, value: Any) -> str:
    """Take a text out of the members, and return it; anything else stays a field."""
    if isinstance(value, str):
        del members[name]
        return value
    return ""


def as_text(value: Any) -> str:
    """Return a value without members as text."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


def plain_value(value: Any) -> Any:
    """Return a value for JSON output: numbers are numbers, if programs can read them, and else texts."""
    if isinstance(value, _Number):
        return _plain_number(value)
    if isinstance(value, dict):
        return {key: plain_value(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain_value(each) for each in value]
    return value


def utc(milliseconds: int | None) -> str | None:
    """Return a time for JSON output: RFC 3339 in UTC; None for one that is not known, or that no calendar has."""
    if milliseconds is None:
        return None
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain_number(text: str) -> int | float | str:
    if len(text) > 30:
        return str(text)
    try:
        number = int(text)
    except ValueError:
        number = float(text)  # type: ignore[assignment]
    is_plain = -(2.0**53) <= number <= 2.0**53 or "." in text or "e" in text.lower()
    return number if is_plain and abs(number) < 1e308 else str(text)


def _leaves(key: str, value: Any, depth: int) -> Iterator[str]:
    if depth < _MAX_DEPTH and isinstance(value, dict) and value:
        for inner, each in value.items():
            yield from _leaves(inner, each, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(value, list) and value:
        for each in value:
            yield from _leaves(key, each, depth + 1)
    else:
        yield f"{key}={as_text(value)}"
