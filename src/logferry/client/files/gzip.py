"""Reads a gzip file as its uncompressed bytes: RFC 1952, any number of consecutive members.

Owns the handling of damaged files: damage ends a line, is skipped and reported, and reading resumes at the next member
that can be inflated. A file is inflated from front to back, with a window of the latest bytes; reading before the
window inflates the file again from its beginning. The size, and whether all bytes are sound, is known only at the end.
Must never hold more than the window and one long line.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.content import Content, FileContent
from logferry.client.files.identity import HEAD_BYTES
from logferry.client.files.replay_buffer import BLOCK_BYTES, ReplayBuffer
from logferry.errors import SourceError, cause_of
from logferry.model.render_spec import LONGEST_LINE_BYTES
from logferry.protocol.compressor import GZIP_MAGIC

_MAGIC_AND_METHOD: Final = GZIP_MAGIC + b"\x08"  # deflate, the only method that RFC 1952 defines

# One read of the compressed file.
_READ_BYTES: Final = 64 * 1024

# The bytes kept for going back, besides a long line: a chunk is read again when its source is sent back.
_WINDOW_BYTES: Final = 4 * 1024 * 1024

# In random data, three bytes look like the beginning of a member once in 16 MiB. A hostile file may be full of them.
_MAX_FALSE_BEGINNINGS: Final = 100


class GzipContent:
    """The inflated bytes (see Content) of a gzip file. For one thread at a time."""

    is_stream = True

    def __init__(self, raw: Content, *, compressed_bytes: int | None = None) -> None:
        """Take over the compressed file, up to its end now, or up to `compressed_bytes`."""
        self._raw = raw
        self._end = raw.size() if compressed_bytes is None else compressed_bytes
        self._head = b""  # kept to recognise a file that was shipped before
        self._begin()

    @property
    def problems(self) -> Sequence[str]:
        """See Content: each damaged place, by its offset in the compressed file."""
        return self._problems

    def pread(self, size: int, offset: int) -> bytes:
        """See Content."""
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        if offset < self._buffer.begin:
            self._begin()
        try:
            while self._buffer.end < offset + size and (block := next(self._blocks, b"")):
                self._take(block, offset)
        except OSError:
            self._begin()  # the iterator is exhausted: without this, the next read would see the end of the file
            raise
        return self._buffer.read(size, offset)

    def size(self) -> int:
        """See Content: the number of bytes inflated so far."""
        return self._buffer.end

    def status(self) -> os.stat_result:
        """See Content."""
        return self._raw.status()

    def duplicate(self) -> "GzipContent":
        """See Content. The duplicate inflates the file independently."""
        return GzipContent(self._raw.duplicate(), compressed_bytes=self._end)

    def close(self) -> None:
        """See Content."""
        self._raw.close()

    def _begin(self) -> None:
        self._problems: list[str] = []
        # Not the setting but its maximum: the bytes returned must be the same if the setting changes before a verify.
        self._buffer = ReplayBuffer(max_line_bytes=LONGEST_LINE_BYTES)
        self._blocks = _inflate(self._raw, self._end, self._problems)

    def _take(self, block: bytes, wanted_from: int) -> None:
        if self._buffer.end < HEAD_BYTES:
            self._head = (self._buffer.read(self._buffer.end, 0) + block)[:HEAD_BYTES]
        self._buffer.append(block)
        wanted = max(0, self._buffer.end - wanted_from)
        self._buffer.trim_to(_WINDOW_BYTES + 2 * self._buffer.longest_line + wanted)


def open_content(path: Path) -> Content:
    """Open a plain or gzip file to be read from beginning to end. Raises SourceError, or FileNotFoundError."""
    raw = FileContent.open(path)
    try:
        return inflated(raw)
    except OSError as error:
        raw.close()
        raise SourceError(str(path), cause_of(error)) from error


def inflated(raw: Content, *, compressed_bytes: int | None = None) -> Content:
    """Return the content to read from a file: inflated if the file begins as gzip does, under any name, else unchanged.

    Reads a compressed file only up to `compressed_bytes`. Raises OSError.
    """
    if raw.pread(len(GZIP_MAGIC), 0) != GZIP_MAGIC:
        return raw
    return GzipContent(raw, compressed_bytes=compressed_bytes)


def _inflate(raw: Content, end: int, problems: list[str]) -> Iterator[bytes]:
    """Yield the bytes of all members, in blocks of up to BLOCK_BYTES; append each damaged place to `problems`."""
    offset, line_is_open = 0, False
    while offset < end:
        member = _Member(raw, offset, end)
        for block in member.blocks():
            yield block
            line_is_open = not block.endswith(b"\n")
        offset, problem = _end_of_padding(raw, member.end, end), member.problem
        if offset < end and not problem and raw.pread(len(GZIP_MAGIC), offset) != GZIP_MAGIC:
            problem = f"what follows at compressed byte {offset} is not gzip data"
        if problem:
            offset = _next_member(raw, offset, end)
            if offset < end:
                problem += f"; reading resumes at compressed byte {offset}"
                if line_is_open:
                    yield b"\n"
            problems.append(problem)


class _Member:
    """One member of a gzip file: decoded up to `end`; `problem` says why no further."""

    def __init__(self, raw: Content, start: int, file_end: int) -> None:
        self._raw = raw
        self._file_end = file_end
        self.end = start
        self.problem = ""
        self.is_truncated = False

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes of the member, including those before a damaged place."""
        inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        data = b""
        while not (inflater.eof or self.problem):
            data = data or self._raw.pread(min(_READ_BYTES, self._file_end - self.end), self.end)
            before = inflater.copy()
            try:
                block = inflater.decompress(data, BLOCK_BYTES)
                decoded = len(data) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
                if not data and not block:
                    self.is_truncated = True
                    self.problem = f"truncated at compressed byte {self.end}"
            except zlib.error as error:
                block, decoded = _inflate_by_byte(before, data)
                reason = str(error).rpartition(": ")[2]
                self.problem = f"damaged at compressed byte {self.end + decoded} ({reason})"
            self.end += decoded
            data = data[decoded:]
            if block:
                yield block


def _inflate_by_byte(inflater: "zlib._Decompress", data: bytes) -> tuple[bytes, int]:
    """Return the bytes inflated before the first damaged byte, and the index of that byte."""
    inflated = bytearray()
    for index in range(len(data)):
        try:
            inflated += inflater.decompress(data[index : index + 1])
        except zlib.error:
            return bytes(inflated), index
    return bytes(inflated), len(data)


def _end_of_padding(raw: Content, offset: int, end: int) -> int:
    """Skip NULs, which tapes and block devices leave behind; return the offset after them."""
    while data := raw.pread(min(_READ_BYTES, end - offset), offset):
        rest = data.lstrip(b"\0")
        offset += len(data) - len(rest)
        if rest:
            break
    return offset


def _next_member(raw: Content, offset: int, end: int) -> int:
    """Return the offset of the next sound member; failing that, of a truncated one; `end` if neither exists.

    Any bytes may look like the beginning of a truncated member, so the one that yields the most bytes is chosen.
    """
    truncated, most = end, 0
    for _ in range(_MAX_FALSE_BEGINNINGS):
        offset = _find_beginning(raw, offset, end)
        if offset == end:
            break
        member = _Member(raw, offset, end)
        size = sum(map(len, member.blocks()))
        if not member.problem:
            return offset
        if member.is_truncated and size > most:
            truncated, most = offset, size
        offset += 1
    return truncated


def _find_beginning(raw: Content, offset: int, end: int) -> int:
    """Return the first offset, from `offset` on, that looks like the beginning of a member; else `end`."""
    overlap = len(_MAGIC_AND_METHOD) - 1
    while len(data := raw.pread(min(_READ_BYTES, end - offset), offset)) > overlap:
        found = data.find(_MAGIC_AND_METHOD)
        if found >= 0:
            return offset + found
        offset += len(data) - overlap
    return end
