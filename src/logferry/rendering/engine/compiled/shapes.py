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
    low, high = (found & -found).bit_length() - 1, found.bit_length() - 1
    if found == (2 << high) - (1 << low):
        return 0, low, high
    values = bytes_in(found)
    low, high = min(value | _CASE for value in values), max(value | _CASE for value in values)
    fitting = 2 * sum(byte & _CASE > 0 for byte in range(low, high + 1))  # with and without the bit
    return (_CASE, low, high) if fitting == len(values) else None


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
    values = list[int]()
    while found:
        lowest = found & -found
        values.append(lowest.bit_length() - 1)
        found ^= lowest
    return tuple(values)
