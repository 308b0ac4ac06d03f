"""Mutations of what one end sends: of bytes, and of the numbers and texts inside control lines.

Each takes the random generator, so that a seed repeats a run exactly.
"""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

# Values that stand for kinds: out of range, of another type, too deep, too long, not encodable.
_VALUES: Final = [
    *(b"-1", b"0", b"1", b"7", b"2147483648", b"9007199254740993", b"9223372036854775807", b"9223372036854775808"),
    *(b"1180591620717411303424", b"1e999", b"-1e999", b"1.0", b"NaN", b"Infinity", b"true", b"null"),
    *(b'""', b'"\\ud800"', b'"\\u0000"', b'"a\\u001b[31mb"', b'"../../etc"', b'"' + b"x" * 70_000 + b'"'),
    *(b"[]", b"{}", b"[" * 2000 + b"]" * 2000, b'["s1"]', b'{"a": 1, "a": 2}', b"1" * 5000),
]
_VALUE_IN_JSON: Final = re.compile(rb'(?<=: )(?:-?\d+|"[^"\n]*"|true|false|null|\[[^\]\n]*\])')
_BYTES: Final = [
    b"\n",
    b"\0",
    b"{",
    b"}",
    b'"',
    b"\\",
    b"\x1f\x8b",
    b"\xff",
    b"\xed\xa0\x80",
    b"\r\n",
    b"",
    b"logferry",
]

Mutation = Callable[[Random, bytes], bytes]


def replace_value(random: Random, data: bytes) -> bytes:
    """Put another value in the place of one in a control line."""
    places = list(_VALUE_IN_JSON.finditer(data[:200_000]))
    if not places:
        return data
    place = random.choice(places)
    return data[: place.start()] + random.choice(_VALUES) + data[place.end() :]


def flip(random: Random, data: bytes) -> bytes:
    """Change one byte."""
    at = random.randrange(len(data) + 1)
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]


def insert(random: Random, data: bytes) -> bytes:
    """Put a piece that means something somewhere into the data."""
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(_BYTES) + data[at:]


def remove(random: Random, data: bytes) -> bytes:
    """Leave out some bytes."""
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice([1, 2, 16, 300]) :]


def repeat(random: Random, data: bytes) -> bytes:
    """Say some lines twice."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    at = random.randrange(len(lines))
    some = lines[at : at + random.randrange(1, 4)]
    return b"".join([*lines[:at], *some, *lines[at:]])


def swap(random: Random, data: bytes) -> bytes:
    """Say two lines in the other order."""
    lines = data.splitlines(keepends=True)
    if len(lines) < 2:
        return data
    first, second = random.randrange(len(lines)), random.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def cut_off(random: Random, data: bytes) -> bytes:
    """End in the middle."""
    return data[: random.randrange(len(data) + 1)]


_MUTATIONS: Final[Sequence[Mutation]] = [replace_value] * 4 + [flip, insert, remove, repeat, swap, cut_off]


def mutate(random: Random, data: bytes) -> bytes:
    """Apply at most four mutations; sometimes none, so that what is valid takes part."""
    for _ in range(random.choice([0, 1, 1, 1, 2, 2, 4])):
        data = random.choice(_MUTATIONS)(random, data)
    return data


def in_pieces(random: Random, data: bytes) -> list[bytes]:
    """Cut data into pieces as a network may."""
    places = sorted(random.randrange(len(data) + 1) for _ in range(random.choice([0, 0, 1, 3, 8])))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True) if start < end]
