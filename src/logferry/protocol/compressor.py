"""Gzip and the length-prefixed frame: `[4-byte big-endian length][gzip of NDJSON]`.

A frame's body is one gzip member (RFC 1952). Inflating is bounded: a small frame that would inflate to gigabytes is
refused at `max_inflated_bytes`, before the memory is allocated.
"""

import struct
import zlib
from typing import Final

from logferry import speedups
from logferry.errors import FrameError

LENGTH_BYTES: Final = 4
GZIP_MAGIC: Final = b"\x1f\x8b"

# A length below 2**24 has a first byte of zero, and a line of text never begins with NUL: that one byte distinguishes a
# frame from a line (rule M4). 16 MiB is also far more than any sensible batch.
MAX_LEGAL_FRAME_BYTES: Final = 2**24 - 1

_GZIP_WBITS: Final = 31  # zlib's number for "gzip wrapper, 32 KiB window"

# At these levels isal compresses about as well as zlib, four times as fast.
_LEVELS_OF_ISAL: Final = range(1, 4)


def encode_frame(payload: bytes | memoryview, *, level: int) -> bytes:
    """Return `payload` as one frame, gzipped at `level` (0 to 9).

    Raises FrameError if the compressed body does not fit into a legal frame.
    """
    body = gzipped(payload, level=level)
    if len(body) > MAX_LEGAL_FRAME_BYTES:
        raise FrameError(f"a batch of {len(payload)} bytes does not fit into a frame")
    return struct.pack(">I", len(body)) + body


def gzipped(payload: bytes | memoryview, *, level: int) -> bytes:
    """Return `payload` as one gzip member, compressed at `level` (0 to 9)."""
    isal = speedups.isal_zlib() if level in _LEVELS_OF_ISAL else None
    body: bytes = (isal or zlib).compress(payload, level, wbits=_GZIP_WBITS)
    return body


def frame_length(header: bytes) -> int:
    """Return the body length that the first four bytes of a frame declare."""
    (length,) = struct.unpack_from(">I", header)
    return int(length)


def inflate(body: bytes | memoryview, *, max_inflated_bytes: int) -> bytes:
    """Return the NDJSON in a frame's body.

    Raises FrameError if the body is not exactly one complete gzip member of at most `max_inflated_bytes`.
    """
    engine = speedups.isal_zlib() or zlib
    inflater = engine.decompressobj(_GZIP_WBITS)
    try:
        payload: bytes = inflater.decompress(body, max_inflated_bytes + 1)
    except engine.error as error:
        raise FrameError(f"bad gzip: {error}") from None
    if len(payload) > max_inflated_bytes:
        raise FrameError(f"frame inflates to more than {max_inflated_bytes} bytes")
    if not inflater.eof:
        raise FrameError("bad gzip: the data ends too early")
    if inflater.unused_data:
        raise FrameError("bad gzip: data after the end of the gzip member")
    return payload
