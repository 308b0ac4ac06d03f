"""Gzip and the length-prefixed frame: `[4-byte big-endian length][gzip of NDJSON]`.

A frame's body is one gzip member (RFC 1952). Inflating is bounded, and goes in steps: a small frame that would inflate
to gigabytes is refused at `max_inflated_bytes`, before the memory is allocated.
"""

import struct
import zlib
from collections import deque
from typing import Any, Final

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


# What the inflater is given at a time: it copies what it has not used, and may find a block in every ten bits. Each
# block takes about a microsecond.
_PIECE_BYTES: Final = 8 * 1024

# So input is charged like what it usually gives, and like more if it gives less than itself.
_USUAL_RATIO: Final = 8
_FRUITLESS_RATIO: Final = 32

# The state of an inflater: isal's is this large, zlib's half of it.
_INFLATER_BYTES: Final = 88 * 1024

# What takes no longer than the request that it belongs to.
_SMALL_BYTES: Final = 128

# The last bytes of a gzip member: how many bytes it inflates to, modulo 2^32 (RFC 1952, section 2.3.1).
_SIZE: Final = struct.Struct("<I")


class Inflation:
    """Inflates one gzip member in steps. Holds the body, and what it has inflated to so far."""

    def __init__(self, body: bytes | memoryview, *, max_inflated_bytes: int) -> None:
        self._body = memoryview(body)
        self._max_inflated_bytes = max_inflated_bytes
        self._declared = _SIZE.unpack(self._body[-_SIZE.size :])[0] if len(self._body) >= _SIZE.size else 0
        self._engine = speedups.isal_zlib() or zlib
        self._inflater: Any = (
            None  # from the first step on: while a message waits for its turn, it costs its body alone
        )
        self._given = 0  # bytes of the body
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self.is_done = False

    @property
    def is_empty(self) -> bool:
        """Whether the body has inflated to nothing so far."""
        return not self._pieces

    @property
    def held_bytes(self) -> int:
        """How many bytes are held."""
        return len(self._body) + self._size + (_INFLATER_BYTES if self._inflater and not self.is_done else 0)

    @property
    def rest_bytes(self) -> int:
        """How many more bytes the body may inflate to: no more than its end says."""
        return max(0, min(self._declared, self._max_inflated_bytes) - self._size)

    def step(self, max_bytes: int) -> int:
        """Inflate at most about `max_bytes`, at least one; return how many bytes of work that was.

        Raises FrameError if the body is not exactly one complete gzip member of at most `max_inflated_bytes`.
        """
        self._inflater = self._inflater or self._engine.decompressobj(_GZIP_WBITS)
        given = self._inflater.unconsumed_tail
        if not given:
            given = self._body[self._given : self._given + _PIECE_BYTES]
            self._given += len(given)
        try:
            piece: bytes = self._inflater.decompress(given, max(1, max_bytes))
        except self._engine.error as error:
            raise FrameError(f"bad gzip: {error}") from None
        self._size += len(piece)
        if self._size > self._max_inflated_bytes:
            raise FrameError(f"frame inflates to more than {self._max_inflated_bytes} bytes")
        if piece:
            self._pieces.append(piece)
        if self._inflater.eof:
            self._finish()
        elif self._size > self._declared:
            raise FrameError("bad gzip: it inflates to more bytes than its end says")
        elif not piece and self._given == len(self._body) and not self._inflater.unconsumed_tail:
            raise FrameError("bad gzip: the data ends too early")
        return max(len(piece), len(given) * _ratio(len(given), len(piece)))

    def _finish(self) -> None:
        if self._inflater.unused_data or self._given < len(self._body):
            raise FrameError("bad gzip: data after the end of the gzip member")
        self._body = memoryview(b"")
        self._inflater = None
        self.is_done = True

    def payload(self) -> bytes:
        """Return what the body inflated to, once it is done."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def next_lines(self, most: int) -> bytes:
        """Take the next complete lines of what the body inflated to: about `most` bytes, or one line; b"" at the end.

        The end of the payload ends a line.
        """
        taken: list[bytes] = []
        size = 0
        while self._pieces:
            piece = self._pieces.popleft()
            size += len(piece)
            is_last = not self._pieces
            end = piece.rfind(b"\n") + 1 if size >= most and not is_last else 0
            if end:
                self._pieces.appendleft(piece[end:])
                piece = piece[:end]
            taken.append(piece)
            if is_last and not piece.endswith(b"\n"):
                taken.append(b"\n")
            if end:
                break
        lines = b"".join(taken)
        self._size -= len(lines)
        return lines


def _ratio(given: int, piece: int) -> int:
    """Return by how much to charge each byte of input that inflated to `piece` bytes."""
    if given <= _SMALL_BYTES:
        return 1
    return _USUAL_RATIO if piece >= given else _FRUITLESS_RATIO


def inflate(body: bytes | memoryview, *, max_inflated_bytes: int) -> bytes:
    """Return the NDJSON in a frame's body at once. Raises FrameError as `Inflation.step` does."""
    inflation = Inflation(body, max_inflated_bytes=max_inflated_bytes)
    while not inflation.is_done:
        inflation.step(max_inflated_bytes + 1)
    return inflation.payload()
