"""The shapes of short texts: for each of up to 16 bytes, bits that are set before it is compared, and two bounds."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from logferry.rendering.engine.compiled.tree import NEWLINE

LONGEST: Final = 16

# Bits that are set in a byte, and the lowest and the highest value that it may have then.
Bounds = tuple[int, int, int]

# The bit by which capitals differ from small letters.
_CASE: Final = 0x20


@lru_cache(maxsize=1024)
def exact_bounds(found: int) -> Bounds | None:
    """Return the bounds that exactly the bytes of a set fit; None if there are none."""
    values = bytes_in(found)
    for mask in (0, _CASE):
        low, high = min(value | mask for value in values), max(value | mask for value in values)
        if sum(low <= byte | mask <= high for byte in range(256)) == len(values):
            return mask, low, high
    return None


@lru_cache(maxsize=1024)
def outer_bounds(found: int) -> Bounds | None:
    """Return bounds that the bytes of a set fit, and others, but not a newline; None if there are none."""
    values = bytes_in(found)
    newline = NEWLINE.bit_length() - 1
    return None if min(values) <= newline else (0, min(values), max(values))


def packed(bounds: Sequence[Bounds]) -> bytes:
    """Return a shape as matcher.c takes it."""
    columns = zip(*bounds, *[(0, 0, 255)] * (LONGEST - len(bounds)), strict=True)
    return b"".join(map(bytes, columns)) + bytes([len(bounds)])


@lru_cache(maxsize=1024)
def bytes_in(found: int) -> tuple[int, ...]:
    """Return the bytes of a set."""
    return tuple(byte for byte in range(256) if found >> byte & 1)
