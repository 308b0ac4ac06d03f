"""Counts stored lines by level, by the minute of their timestamp, and by the pattern of their message.

Chunk at a time: the compiled part (src/native/counting.c) counts all lines that are certain, and this module, the
reference, the others. A minute is the text of a timestamp with the seconds set to zero: what instant that is belongs to
event_times.py, which so reads a few texts instead of every line. Pure.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import IntFlag
from json.decoder import scanstring  # type: ignore[attr-defined]  # it is missing in the stubs
from typing import Final, NamedTuple

from logferry import speedups
from logferry.reading.counting.message_patterns import pattern_of


class Part(IntFlag):
    """What a count distinguishes."""

    LEVEL = 1
    MINUTE = 2
    PATTERN = 4


class Key(NamedTuple):
    """What counted lines have in common: "" for what a line lacks, or nobody asked for.

    `minute` is a timestamp, `pattern` escaped for JSON.
    """

    level: bytes
    minute: bytes
    pattern: bytes


_MOST_WORD_BYTES: Final = 64
_SEPARATOR: Final = b"\0"

_SECONDS: Final = re.compile(rb"[0-9]{10}(?:\.[0-9]*+)?+")
_PARTS_OF_SECONDS: Final = {13: 60_000, 16: 60_000_000}
_TIME_OF_DAY: Final = re.compile(rb"((?<![0-9])[0-9]{2}:[0-9]{2}:)[0-5][0-9](?![0-9])(?:[.,][0-9]++)?+")

_SPACE: Final = re.compile(r"[ \t\r]*+")
_NUMBER: Final = re.compile(r"-?+[0-9].*", re.DOTALL)

# Numbers stay as they are written: Python refuses to convert some of thousands of digits.
_decode: Final = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode


def count_lines(lines: bytes, parts: Part) -> Counter[Key]:
    """Count whole stored lines; what is not a record counts as a line without level, timestamp and pattern.

    A line without a timestamp, as one of a stack trace, counts for the minute of the line before it.
    """
    if not speedups.compiled:
        return Counter(_keys_of(lines, _extents(lines), parts))
    known, left = speedups.compiled.count_records(lines, parts)
    counts = Counter({Key(*key.split(_SEPARATOR)): count for key, count in known.items()})
    counts.update(_keys_of(lines, left, parts))
    return counts


def _extents(lines: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while (end := lines.find(b"\n", start) + 1) > 0:
        yield start, end
        start = end


def _keys_of(lines: bytes, extents: Iterable[tuple[int, int]], parts: Part) -> Iterator[Key]:
    """Yield the keys of lines; one without a timestamp has the minute of the line before it."""
    last_end, minute = 0, b""
    for start, end in extents:
        key = _key_of(lines[start : end - 1], parts)
        if parts & Part.MINUTE:
            before = minute if last_end == start else _minute_before(lines, start)
            minute = key.minute or before
            key = key._replace(minute=minute)
        last_end = end
        yield key


def _minute_before(lines: bytes, end: int) -> bytes:
    """Return the minute of the last line with one before a position; "" if there is none."""
    while end:
        start = lines.rfind(b"\n", 0, end - 1) + 1
        if minute := _key_of(lines[start : end - 1], Part.MINUTE).minute:
            return minute
        end = start
    return b""


def minute_of(timestamp: bytes) -> bytes:
    """Return the timestamp of the beginning of the minute, as far as its text shows that; "" for more than 64 bytes."""
    if len(timestamp) > _MOST_WORD_BYTES:
        return b""
    if _SECONDS.fullmatch(timestamp):
        return _whole_minute(timestamp[:10], 60)
    if timestamp.isdigit() and len(timestamp) in _PARTS_OF_SECONDS:
        return _whole_minute(timestamp, _PARTS_OF_SECONDS[len(timestamp)])
    return _TIME_OF_DAY.sub(rb"\g<1>00", timestamp, count=1)


def _whole_minute(number: bytes, minute: int) -> bytes:
    return b"%0*d" % (len(number), int(number) // minute * minute)


def _key_of(line: bytes, parts: Part) -> Key:
    try:
        members = dict(_members(line.decode("utf-8", "surrogateescape")))
    except (ValueError, RecursionError):
        members = {}
    level = members.get("level", "") if parts & Part.LEVEL else ""
    timestamp = members.get("timestamp", "") if parts & Part.MINUTE else ""
    message = members.get("message", "") if parts & Part.PATTERN else ""
    return Key(
        _bytes(_value(level))[:_MOST_WORD_BYTES].replace(_SEPARATOR, b" "),
        minute_of(_bytes(_value(timestamp)).replace(_SEPARATOR, b" ")),
        pattern_of(_bytes(message[1:-1])) if message.startswith('"') else b"",
    )


def _value(text: str) -> str:
    """Return the text that a value stands for, or a number as written; "" for any other value."""
    if text.startswith('"'):
        return str(json.loads(text))
    return text if _NUMBER.match(text) else ""


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, which was written as an escape
        return text.encode("utf-8", "replace")


def _members(line: str) -> Iterator[tuple[str, str]]:
    """Yield each key of an object with its value as written. Raises ValueError for a line that is not an object."""
    at = _after(line, 0, "{")
    while not line.startswith("}", at):
        key, at = _scan(line, _after(line, at, '"'))
        start = _after(line, _skip(line, at), ":")
        at = _decode(line, start)[1]
        yield key, line[start:at]
        at = _skip(line, at)
        if not line.startswith("}", at):
            at = _after(line, at, ",")
            if line.startswith("}", at):
                raise ValueError("a member is missing")
    if len(line) != at + 1:
        raise ValueError("something follows the object")


_scan: Final[Callable[[str, int], tuple[str, int]]] = scanstring


def _after(line: str, at: int, mark: str) -> int:
    """Return the position after a mark, and after the space behind it, unless a string begins there."""
    if not line.startswith(mark, at):
        raise ValueError(f"{mark} is missing")
    return at + 1 if mark == '"' else _skip(line, at + 1)


def _skip(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    return match.end() if match else at
