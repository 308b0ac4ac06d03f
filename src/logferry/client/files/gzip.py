"""A gzip file as the bytes that it was made from: RFC 1952, any number of members one after the other.

Owns what becomes of damaged files: the damage ends a line, is skipped and reported, and reading goes on with the next
member that can be inflated. A file is inflated from front to back, with a window of the latest bytes; reading further
back inflates it again from its beginning. How many bytes there are, and whether all are sound, is known at the end.
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
from logferry.protocol.compressor import GZIP_MAGIC

_MAGIC_AND_METHOD: Final = GZIP_MAGIC + b"\x08"  # deflate, the only method there is

# One read of the compressed file.
_READ_BYTES: Final = 64 * 1024

# How much is kept for going back, besides a long line: a chunk is read again when its source is sent back.
_WINDOW_BYTES: Final = 4 * 1024 * 1024

# The most that --max-line-bytes may be. What is read must not depend on the settings: they may change until it is
# verified.
_LONGEST_LINE_BYTES: Final = 16 * 1024 * 1024

# Three bytes look like the beginning of a member once in 16 MiB. A hostile file may be full of them.
_MOST_FALSE_BEGINNINGS: Final = 100


class GzipContent:
    """The inflated bytes (see Content) of a gzip file. For one thread at a time."""

    is_stream = True

    def __init__(self, raw: Content, *, compressed_bytes: int | None = None) -> None:
        """Take over the compressed file, up to its end now, or up to `compressed_bytes`."""
        self._raw = raw
        self._end = raw.size() if compressed_bytes is None else compressed_bytes
        self._head = b""  # kept: it tells whether a file is one that was shipped before
        self._begin()

    @property
    def problems(self) -> Sequence[str]:
        """See Content: what is damaged, with its place in the compressed file."""
        return self._problems

    def pread(self, size: int, offset: int) -> bytes:
        """See Content."""
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        if offset < self._spool.begin:
            self._begin()
        try:
            while self._spool.end < offset + size and (block := next(self._blocks, b"")):
                self._take(block, offset)
        except OSError:
            self._begin()  # else it would go on as if this were the end
            raise
        return self._spool.read(size, offset)

    def size(self) -> int:
        """See Content: how much has been inflated so far."""
        return self._spool.end

    def status(self) -> os.stat_result:
        """See Content."""
        return self._raw.status()

    def duplicate(self) -> "GzipContent":
        """See Content. It is inflated on its own."""
        return GzipContent(self._raw.duplicate(), compressed_bytes=self._end)

    def close(self) -> None:
        """See Content."""
        self._raw.close()

    def _begin(self) -> None:
        self._problems: list[str] = []
        self._spool = ReplayBuffer(max_line_bytes=_LONGEST_LINE_BYTES)
        self._blocks = _inflate(self._raw, self._end, self._problems)

    def _take(self, block: bytes, wanted_from: int) -> None:
        if self._spool.end < HEAD_BYTES:
            self._head = (self._spool.read(self._spool.end, 0) + block)[:HEAD_BYTES]
        self._spool.append(block)
        wanted = max(0, self._spool.end - wanted_from)
        self._spool.trim_to(_WINDOW_BYTES + 2 * self._spool.longest_line + wanted)


def open_content(path: Path) -> Content:
    """Open a file to be read from its beginning to its end. Raises SourceError, or FileNotFoundError."""
    raw = FileContent.open(path)
    try:
        return inflated(raw)
    except OSError as error:
        raw.close()
        raise SourceError(str(path), cause_of(error)) from error


def inflated(raw: Content, *, compressed_bytes: int | None = None) -> Content:
    """Return what a file is to be read as: inflated if it begins as gzip does, whatever its name, else as it is.

    Raises OSError. Of a compressed file nothing from `compressed_bytes` on is read.
    """
    if raw.pread(len(GZIP_MAGIC), 0) != GZIP_MAGIC:
        return raw
    return GzipContent(raw, compressed_bytes=compressed_bytes)


def _inflate(raw: Content, end: int, problems: list[str]) -> Iterator[bytes]:
    """Yield the bytes of all members, in blocks of up to BLOCK_BYTES; add to `problems` what is damaged, and where."""
    offset, line_is_open = 0, False
    while offset < end:
        member = _Member(raw, offset, end)
        for block in member.blocks():
            yield block
            line_is_open = not block.endswith(b"\n")
        offset, problem = _end_of_padding(raw, member.end, end), member.problem
        if offset < end and not problem and raw.pread(len(GZIP_MAGIC), offset) != GZIP_MAGIC:
            problem = f"what follows at compressed byte {offset} is no gzip"
        if problem:
            offset = _next_member(raw, offset, end)
            if offset < end:
                problem += f"; it goes on at compressed byte {offset}"
                if line_is_open:
                    yield b"\n"
            problems.append(problem)


class _Member:
    """One member of a gzip file; `end` is how far it was understood, and `problem` why no further."""

    def __init__(self, raw: Content, start: int, file_end: int) -> None:
        self._raw = raw
        self._file_end = file_end
        self.end = start
        self.problem = ""
        self.is_truncated = False

    def blocks(self) -> Iterator[bytes]:
        """Yield its bytes, including those before a damaged place."""
        inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        data = b""
        while not (inflater.eof or self.problem):
            data = data or self._raw.pread(min(_READ_BYTES, self._file_end - self.end), self.end)
            before = inflater.copy()
            try:
                block = inflater.decompress(data, BLOCK_BYTES)
                understood = len(data) - len(inflater.unused_data if inflater.eof else inflater.unconsumed_tail)
                if not data and not block:
                    self.is_truncated = True
                    self.problem = f"truncated at compressed byte {self.end}"
            except zlib.error as error:
                block, understood = _inflate_by_byte(before, data)
                reason = str(error).rpartition(": ")[2]
                self.problem = f"damaged at compressed byte {self.end + understood} ({reason})"
            self.end += understood
            data = data[understood:]
            if block:
                yield block


def _inflate_by_byte(inflater: "zlib._Decompress", data: bytes) -> tuple[bytes, int]:
    """Return what comes out before the first byte that is damaged, and which one that is."""
    inflated = bytearray()
    for index in range(len(data)):
        try:
            inflated += inflater.decompress(data[index : index + 1])
        except zlib.error:
            return bytes(inflated), index
    return bytes(inflated), len(data)


def _end_of_padding(raw: Content, offset: int, end: int) -> int:
    """Skip NULs: tapes and block devices leave them behind."""
    while data := raw.pread(min(_READ_BYTES, end - offset), offset):
        rest = data.lstrip(b"\0")
        offset += len(data) - len(rest)
        if rest:
            break
    return offset


def _next_member(raw: Content, offset: int, end: int) -> int:
    """Return where the next member begins that is sound; if there is none, one that is as far as the file goes.

    Anything may look like the beginning of a truncated member, so that is the one that gives most. `end` is none.
    """
    truncated, most = end, 0
    for _ in range(_MOST_FALSE_BEGINNINGS):
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
    """Return where there is something, from `offset` on, that looks like the beginning of a member; else `end`."""
    overlap = len(_MAGIC_AND_METHOD) - 1
    while len(data := raw.pread(min(_READ_BYTES, end - offset), offset)) > overlap:
        found = data.find(_MAGIC_AND_METHOD)
        if found >= 0:
            return offset + found
        offset += len(data) - overlap
    return end
