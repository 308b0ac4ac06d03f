"""Keeps the bytes of a stream that may be read again: appended at the end, dropped at the beginning, read by offset.

Of an over-long line, the buffer keeps only the beginning, the last TAIL_BYTES bytes and the length, so a stream without
newlines takes no more memory than one with them. The omitted middle of such a line reads as NULs: any byte except a
newline would do. NULs at the beginning of a line (see holes.py) do not count as part of it, and take no memory.
"""

from bisect import bisect_right
from typing import Final

from logferry.client.files.content.holes import leading_nuls
from logferry.client.files.identity import TAIL_BYTES

# The maximum size of one append. At least this much of every line is kept, so that the omitted bytes depend only on the
# lines, not on how they were split into appends.
BLOCK_BYTES: Final = 256 * 1024

# A stream may come a byte at a time; pieces are joined up to this size.
_PIECE_BYTES: Final = 64 * 1024

# A line's ending, and one byte more, which shows that the line is too long.
_BEYOND_LIMIT: Final = len(b"x\r\n") + 1


# At least this many NULs at the beginning of a line are counted rather than kept.
_HOLE_BYTES: Final = 4096

# The most pieces that `trim_to` keeps: a hostile file may have a hole before each line, and holes count as no bytes. It
# is more than the pieces of one read.
_MAX_PIECES: Final = 4096


class ReplayBuffer:
    """Bytes `[begin, end)` of a stream; `kept_bytes` of them are in memory. For one thread at a time."""

    def __init__(self, *, max_line_bytes: int) -> None:
        """Readers need at most `max_line_bytes` of a line, not counting its ending."""
        self._line_bytes = max(max_line_bytes + _BEYOND_LIMIT, BLOCK_BYTES)
        self._starts: list[int] = []
        self._pieces: list[bytes | bytearray | int] = []  # a number is a count of omitted bytes
        self._line_start = 0  # where the last, unfinished line begins, behind the NULs at its beginning
        self._hole_start = 0  # where these NULs begin
        self._has_last_bytes = False  # the last piece is the end of a line whose middle is omitted
        self.begin = 0
        self.end = 0
        self.kept_bytes = 0
        self.longest_line = 0  # the most bytes ever kept of a line that spans appends

    def append(self, data: bytes) -> None:
        """Add up to BLOCK_BYTES bytes at the end."""
        if self._line_start == self.end and data[:1] == b"\0":
            data = self._skip_nuls(data)
        newline = data.find(b"\n")
        of_line = len(data) if newline < 0 else newline
        kept = min(of_line, max(0, self._line_start + self._line_bytes - self.end))
        self.longest_line = max(self.longest_line, self.end + kept - self._line_start)
        end = self.end + len(data)
        if kept < of_line:
            self._keep(data[:kept])
            self._omit(data[kept:of_line])
            data = data[of_line:]
        if newline >= 0:
            last = data[data.rfind(b"\n") + 1 :]
            self._hole_start = end - len(last)
            self._line_start = self._hole_start + leading_nuls(last)
            self._has_last_bytes = False
        self._keep(data)

    def read(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset`; empty when they were already dropped."""
        if offset < self.begin:
            return b""
        stop = min(offset + size, self.end)
        index = bisect_right(self._starts, offset) - 1
        parts: list[bytes | bytearray] = []
        while offset < stop:
            piece, at = self._pieces[index], offset - self._starts[index]
            parts.append(
                bytes(min(piece - at, stop - offset)) if isinstance(piece, int) else piece[at : at + stop - offset]
            )
            offset += len(parts[-1])
            index += 1
        return b"".join(parts)

    def trim(self, offset: int) -> None:
        """Drop the whole pieces before `offset`."""
        count = bisect_right(self._starts, offset) - 1
        if count > 0:
            self._drop(count)

    def trim_to(self, max_bytes: int) -> None:
        """Drop pieces from the beginning until at most `max_bytes` plus one piece are kept, in a bounded number."""
        count, kept = 0, self.kept_bytes
        while (kept > max_bytes or len(self._pieces) - count > _MAX_PIECES) and count < len(self._pieces) - 1:
            piece = self._pieces[count]
            kept -= 0 if isinstance(piece, int) else len(piece)
            count += 1
        self._drop(count)

    def _drop(self, count: int) -> None:
        if not count:
            return
        self.kept_bytes -= sum(len(piece) for piece in self._pieces[:count] if not isinstance(piece, int))
        del self._pieces[:count], self._starts[:count]
        self.begin = self._starts[0]

    def _skip_nuls(self, data: bytes) -> bytes:
        """Add the NULs that `data` begins with; return the rest."""
        nuls = leading_nuls(data)
        if self.end + nuls - self._hole_start < _HOLE_BYTES:
            self._keep(data[:nuls])
        else:
            self._count(nuls)
            self.end += nuls
        self._line_start = self.end
        return data[nuls:]

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        last = self._pieces[-1] if self._pieces else 0
        if isinstance(last, int) or len(last) + len(data) > _PIECE_BYTES:
            self._add(data)
        else:
            if isinstance(last, bytes):
                self._pieces[-1] = last = bytearray(last)
            last += data
        self.end += len(data)
        self.kept_bytes += len(data)

    def _omit(self, data: bytes) -> None:
        """Add the next bytes of an over-long line, and keep only the last of them until more of the line arrives."""
        if self._has_last_bytes:
            data = self._take_back() + data
        length = len(data) - TAIL_BYTES
        if length > 0:
            self._count(length)
            self.end += length
            data = data[length:]
        self._add(data)
        self.end += len(data)
        self.kept_bytes += len(data)
        self._has_last_bytes = True

    def _take_back(self) -> bytes:
        last = self._pieces.pop()
        assert not isinstance(last, int)
        self._starts.pop()
        self.end -= len(last)
        self.kept_bytes -= len(last)
        return bytes(last)

    def _count(self, omitted: int) -> None:
        last = self._pieces[-1] if self._pieces else b""
        if isinstance(last, int):
            self._pieces[-1] = last + omitted
        else:
            self._add(omitted)

    def _add(self, piece: bytes | int) -> None:
        self._starts.append(self.end)
        self._pieces.append(piece)
