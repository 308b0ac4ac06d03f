"""One open log file as text: where its characters and lines begin and end, in its encoding.

Owns what damage does to both: it ends a line, perhaps in the middle of a character, and what follows begins anew. Must
never decode text (rendering/encodings.py does), and never move.
"""

import sys
from bisect import bisect_right
from pathlib import Path

from logferry.client.files.content.content import Content
from logferry.client.files.content.holes import NUL
from logferry.client.files.lines.known_file import KnownFile
from logferry.rendering.encodings import TextEncoding, encoding_named


class TextFile(KnownFile):
    """A file that has its text in an encoding. All but the width of a newline is nothing while that is one byte."""

    __slots__ = ("_encoding",)

    def __init__(self, path: Path, content: Content | None, encoding: str) -> None:
        """See KnownFile."""
        self._encoding: TextEncoding = encoding_named(encoding)
        super().__init__(path, content)

    @property
    def encoding(self) -> TextEncoding:
        """The encoding that its lines are read in; the same object for all files of it."""
        return self._encoding

    def _is_cut_at(self, end: int) -> bool:
        """Whether a line that ends there is known not to be whole."""
        self._content.pread(1, end)  # an archive knows what follows only when it is asked
        return self._next_cut(end - 1) == end

    def _next_cut(self, offset: int) -> int:
        """Return where the next line ends that is known not to be whole; far away if there is none."""
        ends = self._content.cut_ends
        index = bisect_right(ends, offset)
        return ends[index] if index < len(ends) else sys.maxsize

    def _shift(self, offset: int) -> int:
        """Return how many bytes at an offset belong to a character that begins before it, as far as was read."""
        if self._encoding.width == 1:
            return 0
        ends = self._content.cut_ends
        index = bisect_right(ends, offset)
        return (offset - (ends[index - 1] if index else 0)) % self._encoding.width

    def _aligned(self, offset: int) -> int:
        """Return where the character begins that has the byte at an offset."""
        return offset - self._shift(offset)

    def begins_with_nul(self, data: bytes, offset: int) -> bool:
        """Whether `data`, read at `offset`, begins with a NUL or with a part of one."""
        nul = data[: self._encoding.width - self._shift(offset)] if data[:1] == NUL else b"x"
        return not nul.strip(NUL)

    def lines_end(self, data: bytes, offset: int) -> int:
        """Return where the whole lines in `data` end, which begins at a line's beginning, `offset`; 0 if none does."""
        return self._encoding.lines_end(data, self._shift(offset))

    def lines_of(self, data: bytes, offset: int) -> list[bytes]:
        """Return the lines in `data`, read at `offset`, in UTF-8 and without newlines; the last one may have none."""
        return self._encoding.decoded(data, self._shift(offset)).removesuffix(b"\n").split(b"\n")

    def length_of(self, line: bytes) -> int:
        """Return how many bytes of the file have become a line, with its newline."""
        return self._encoding.encoded_length(line) + self._encoding.width

    def end_of_whole_nuls(self, offset: int, *, max_read: int) -> tuple[int, bool]:
        """Return where NULs that begin at `offset` end, as far as `max_read` bytes show, and whether text follows."""
        end = self._aligned(self.end_of_hole(offset, max_read=max_read))
        return end, bool(self.peek(end, self._encoding.width).strip(NUL))

    def _end_of_lines_in(self, data: bytes, known: int) -> int:
        """Return where the whole lines in `data` end, which has `known` bytes before the offset.

        Where damage may have ended a line in the middle of a character, no line behind it is looked for.
        """
        if self._encoding.width > 1:
            cut = self._next_cut(self.offset) - self.offset + known
            if cut <= len(data):
                return cut
        return self._encoding.lines_end(data, (self._shift(self.offset) + known) % self._encoding.width)

    def _line_end_in(self, block: bytes, position: int) -> int:
        """Return where the line at the offset ends in a block that was read at `position`; 0 if it does not."""
        shift = self._shift(position)
        if self._encoding.width > 1:
            cut = self._next_cut(self.offset) - position
            if cut <= len(block):
                return self._encoding.line_end(block[: cut - 1], shift) or cut
        return self._encoding.line_end(block, shift)
