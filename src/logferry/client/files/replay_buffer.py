"""The bytes of a stream that may be read again: appended at the end, dropped at the beginning, addressed by offset.

Of a line that is longer than anybody will look at, only the beginning, the last TAIL_BYTES bytes and the length are
kept. So a stream without newlines takes no more memory than one with them. Where the middle of such a line was, NULs
are read: any byte but a newline would do.
"""

from bisect import bisect_right
from typing import Final

from logferry.client.files.identity import TAIL_BYTES

# The most that is appended at once. At least so much of every line is kept, so that what is not kept depends on the
# lines alone, and not on how they came.
BLOCK_BYTES: Final = 256 * 1024

# A stream may come a byte at a time; pieces are joined up to this size.
_PIECE_BYTES: Final = 64 * 1024

# A line's ending, and one byte more, which says that the line is too long.
_BEYOND_LIMIT: Final = len(b"x\r\n") + 1


class ReplayBuffer:
    """Bytes `[begin, end)` of a stream; `kept_bytes` of them are in memory. For one thread at a time."""

    def __init__(self, *, max_line_bytes: int) -> None:
        """Readers need at most `max_line_bytes` of a line, its ending not counted."""
        self._line_bytes = max(max_line_bytes + _BEYOND_LIMIT, BLOCK_BYTES)
        self._starts: list[int] = []
        self._pieces: list[bytes | bytearray | int] = []  # a number is how many bytes are not kept
        self._line_start = 0  # where the last line begins, which has no newline yet
        self._has_last_bytes = False  # the last piece is what is last in a line of which the middle is left out
        self.begin = 0
        self.end = 0
        self.kept_bytes = 0
        self.longest_line = 0  # the most that is, or was, kept of any line that did not come at once

    def append(self, data: bytes) -> None:
        """Add up to BLOCK_BYTES bytes at the end."""
        newline = data.find(b"\n")
        of_line = len(data) if newline < 0 else newline
        kept = min(of_line, max(0, self._line_start + self._line_bytes - self.end))
        self.longest_line = max(self.longest_line, self.end + kept - self._line_start)
        end = self.end + len(data)
        if kept < of_line:
            self._keep(data[:kept])
            self._leave_out(data[kept:of_line])
            data = data[of_line:]
        if newline >= 0:
            self._line_start = end - len(data) + data.rfind(b"\n") + 1
            self._has_last_bytes = False
        self._keep(data)

    def read(self, size: int, offset: int) -> bytes:
        """Return up to `size` bytes at `offset`; none when they were dropped already."""
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
        """Drop what is before `offset`, as far as that frees memory."""
        count = bisect_right(self._starts, offset) - 1
        if count > 0:
            self._drop(count)

    def trim_to(self, max_bytes: int) -> None:
        """Drop as much of the beginning as is needed to keep at most `max_bytes` and a piece."""
        count, kept = 0, self.kept_bytes
        while kept > max_bytes and count < len(self._pieces) - 1:
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

    def _leave_out(self, data: bytes) -> None:
        """Add the next bytes of a line that is too long: only the last ones are kept, until more of it comes."""
        if self._has_last_bytes:
            data = self._take_back() + data
        length = len(data) - TAIL_BYTES
        if length > 0:
            last = self._pieces[-1] if self._pieces else b""
            if isinstance(last, int):
                self._pieces[-1] = last + length
            else:
                self._add(length)
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

    def _add(self, piece: bytes | int) -> None:
        self._starts.append(self.end)
        self._pieces.append(piece)
