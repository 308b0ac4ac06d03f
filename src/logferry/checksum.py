"""CRC-32 of NDJSON, as zlib computes it, and of concatenated pieces whose CRC-32s are known.

A source, a segment and an extent each have a CRC-32, and a batch is appended to all three. The server checks the CRC-32
of a batch when the batch arrives, and combines it with the other three without reading the bytes again.
"""

import zlib
from functools import cache, lru_cache
from typing import Final

from logferry import speedups

crc32: Final = getattr(speedups.compiled, "crc32", zlib.crc32)
"""Return the CRC-32 of `data`, or of `data` after bytes whose CRC-32 is `value`."""

# The polynomial of the CRC, and x, with the coefficient of x^0 as the highest of 32 bits.
_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 0x80000000
_X: Final = 0x40000000

# Without the compiled part, joining two CRCs takes as long as the CRC of this many bytes (0.03 ms).
_WORTH_JOINING_BYTES: Final = 64 * 1024


def joined(first: int, second: int, size: int) -> int:
    """Return the CRC-32 of two consecutive pieces, given the CRC-32 of each and the size of the second in bytes.

    A CRC is a remainder modulo a polynomial. Appending `size` zero bytes to the first piece multiplies its remainder by
    x^(8 * size); adding the remainder of the second piece gives that of both.
    """
    if speedups.compiled:
        return speedups.compiled.crc32_joined(first, second, size)
    return _multiplied(first, _shift(size)) ^ second


def extended(first: int, data: bytes, second: int) -> int:
    """Return the CRC-32 of a piece with CRC `first` followed by `data` with CRC `second`, whichever way is faster."""
    if speedups.compiled or len(data) >= _WORTH_JOINING_BYTES:
        return joined(first, second, len(data))
    return zlib.crc32(data, first)


@lru_cache(maxsize=16)
def _shift(size: int) -> int:
    """Return x^(8 * size). Cached, because a batch of one size is appended to several CRCs."""
    product = _ONE
    for place, power in enumerate(_powers_of_x(), -3):
        if place >= 0 and size >> place & 1:
            product = _multiplied(product, power)
    return product


@cache
def _powers_of_x() -> list[int]:
    """Return x to the power of 2^0, 2^1, ... 2^63."""
    powers = [_X]
    while len(powers) < 64:
        powers.append(_multiplied(powers[-1], powers[-1]))
    return powers


def _multiplied(left: int, right: int) -> int:
    """Return the product of two polynomials, modulo the polynomial of the CRC."""
    product = 0
    bit = _ONE
    while bit:
        if left & bit:
            product ^= right
        right = right >> 1 ^ _POLYNOMIAL if right & 1 else right >> 1
        bit >>= 1
    return product
