"""Reads an archive as its uncompressed bytes: one compressed file, of any number of consecutive members.

Owns the handling of damaged files: damage ends a line, is skipped and reported, and reading resumes at the next member
that can be decoded. An archive is decoded from front to back, with a window of the latest bytes; reading before the
window decodes the archive again from its beginning. The size, and whether all bytes are sound, is known only at the
end. Must never hold more than the window and one long line, and must never depend on a format: codecs.py does.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from logferry.client.files.archives.codecs import LONGEST_BEGINNING, Codec, codec_of
from logferry.client.files.archives.decoder import DamagedData
from logferry.client.files.content.content import Content, FileContent
from logferry.client.files.content.replay_buffer import BLOCK_BYTES, ReplayBuffer
from logferry.client.files.content.snapshot import with_true_size
from logferry.client.files.identity import HEAD_BYTES
from logferry.errors import SourceError, cause_of
from logferry.model.render_spec import LONGEST_LINE_BYTES

# One read of the compressed file.
_READ_BYTES: Final = 64 * 1024

# The bytes kept for going back, besides a long line: a chunk is read again when its source is sent back.
_WINDOW_BYTES: Final = 4 * 1024 * 1024

# In random data, three bytes look like the beginning of a member once in 16 MiB. A hostile file may be full of them.
_MAX_FALSE_BEGINNINGS: Final = 100


class ArchiveContent:
    """The uncompressed bytes (see Content) of an archive. For one thread at a time."""

    is_stream = True

    def __init__(self, raw: Content, codec: Codec, *, compressed_bytes: int | None = None) -> None:
        """Take over the compressed file, up to its end now, or up to `compressed_bytes`."""
        self._raw = raw
        self._codec = codec
        self._end = raw.size() if compressed_bytes is None else compressed_bytes
        self._head = b""  # kept to recognise a file that was shipped before
        self._begin()

    @property
    def problems(self) -> Sequence[str]:
        """See Content: each damaged place, by its offset in the compressed file."""
        return self._problems

    @property
    def cut_ends(self) -> Sequence[int]:
        """See Content: damage ends a line."""
        return self._cut_ends

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

    def next_data(self, offset: int) -> int:
        """See Content."""
        return offset

    def size(self) -> int:
        """See Content: the number of bytes decoded so far."""
        return self._buffer.end

    def status(self) -> os.stat_result:
        """See Content."""
        return self._raw.status()

    def duplicate(self) -> "ArchiveContent":
        """See Content. The duplicate decodes the archive independently."""
        return ArchiveContent(self._raw.duplicate(), self._codec, compressed_bytes=self._end)

    def close(self) -> None:
        """See Content."""
        self._raw.close()

    def _begin(self) -> None:
        self._problems: list[str] = []
        self._cut_ends: list[int] = []
        # Not the setting but its maximum: the bytes returned must be the same if the setting changes before a verify.
        self._buffer = ReplayBuffer(max_line_bytes=LONGEST_LINE_BYTES)
        self._blocks = _decoded(self._raw, self._codec, self._end, self._problems, self._cut_ends)

    def _take(self, block: bytes, wanted_from: int) -> None:
        if self._buffer.end < HEAD_BYTES:
            self._head = (self._buffer.read(self._buffer.end, 0) + block)[:HEAD_BYTES]
        self._buffer.append(block)
        wanted = max(0, self._buffer.end - wanted_from)
        self._buffer.trim_to(_WINDOW_BYTES + 2 * self._buffer.longest_line + wanted)


def open_content(path: Path) -> Content:
    """Open a plain file or an archive to be read from beginning to end. Raises SourceError, or FileNotFoundError."""
    raw = FileContent.open(path)
    try:
        return uncompressed(raw)
    except OSError as error:
        raw.close()
        raise SourceError(str(path), cause_of(error)) from error


def uncompressed(raw: Content, *, compressed_bytes: int | None = None) -> Content:
    """Return the content to read from a file: decoded if the file begins as an archive does, under any name.

    A file whose size is not the number of its bytes is read at once. Reads an archive only up to `compressed_bytes`.
    Raises OSError, also for an archive that this Python cannot decode.
    """
    codec = codec_of(raw.pread(LONGEST_BEGINNING, 0))
    if codec is None:
        return with_true_size(raw)
    codec.decoder()  # raises if there is none
    return ArchiveContent(raw, codec, compressed_bytes=compressed_bytes)


def _decoded(raw: Content, codec: Codec, end: int, problems: list[str], cut_ends: list[int]) -> Iterator[bytes]:
    """Yield the bytes of all members, in blocks of up to BLOCK_BYTES; append each damaged place to `problems`.

    Appends to `cut_ends` where, in the bytes yielded, a line ends because of damage.
    """
    offset, size, line_is_open = 0, 0, False
    while offset < end:
        member = _Member(raw, codec, offset, end)
        for block in member.blocks():
            size += len(block)
            yield block
            line_is_open = not block.endswith(b"\n")
        offset, problem = _end_of_padding(raw, member.end, end), member.problem
        if offset < end and not problem and not _begins_member(raw, codec, offset):
            problem = f"what follows at compressed byte {offset} is not {codec.name} data"
        if problem:
            offset = _next_member(raw, codec, offset, end)
            if offset < end:
                problem += f"; reading resumes at compressed byte {offset}"
            problems.append(problem)
            if line_is_open and offset < end:
                size, line_is_open = size + 1, False
                cut_ends.append(size)
                yield b"\n"
            elif line_is_open and member.problem:
                cut_ends.append(size)


class _Member:
    """One member of an archive: decoded up to `end`; `problem` says why no further."""

    def __init__(self, raw: Content, codec: Codec, start: int, file_end: int) -> None:
        self._raw = raw
        self._codec = codec
        self._file_end = file_end
        self._start = start
        self.end = start
        self.problem = ""
        self.is_truncated = False

    def blocks(self, *, to_last_byte: bool = True) -> Iterator[bytes]:
        """Yield the bytes of the member, including those before a damaged place: all, or most if not `to_last_byte`."""
        decoder, read_at, decoded = self._codec.decoder(), self._start, 0
        while not (decoder.eof or self.problem):
            data, is_hungry = b"", decoder.needs_input
            if is_hungry:
                read_at, data = self.end, self._read(_READ_BYTES)
                self.end += len(data)
            try:
                block = decoder.decompress(data, BLOCK_BYTES)
            except DamagedData as error:
                block = self._bytes_before_damage(read_at, decoded) if to_last_byte else b""
                self.problem = f"damaged at compressed byte {self.end} ({error})"
            else:
                if is_hungry and not data and not block:
                    self.is_truncated = True
                    self.problem = f"truncated at compressed byte {self.end}"
            decoded += len(block)
            if block:
                yield block
        self.end -= len(decoder.unused_data)

    def _read(self, size: int) -> bytes:
        return self._raw.pread(min(size, self._file_end - self.end), self.end)

    def _bytes_before_damage(self, read_at: int, known: int) -> bytes:
        """Decode the member again to its damaged place, byte by byte from `read_at` on, and leave `end` there.

        Returns the bytes after the `known` first ones; these are at most what one call of the decoder returns.
        """
        decoder, decoded, found = self._codec.decoder(), 0, bytearray()
        self.end = self._start
        while not decoder.eof:
            before, data, is_hungry = self.end, b"", decoder.needs_input
            if is_hungry:
                data = self._read(min(_READ_BYTES, read_at - before) if before < read_at else 1)
            try:
                block = decoder.decompress(data, min(BLOCK_BYTES, known - decoded) if decoded < known else 1)
            except DamagedData:
                break
            if is_hungry and not data and not block:
                break  # another error than before: the file was overwritten
            self.end += len(data)
            found += block[max(0, known - decoded) :]
            decoded += len(block)
        return bytes(found)


def _begins_member(raw: Content, codec: Codec, offset: int) -> bool:
    return codec.beginning.match(raw.pread(LONGEST_BEGINNING, offset)) is not None


def _end_of_padding(raw: Content, offset: int, end: int) -> int:
    """Skip NULs, which tapes and block devices leave behind; return the offset after them."""
    while data := raw.pread(min(_READ_BYTES, end - offset), offset):
        rest = data.lstrip(b"\0")
        offset += len(data) - len(rest)
        if rest:
            break
    return offset


def _next_member(raw: Content, codec: Codec, offset: int, end: int) -> int:
    """Return the offset of the next sound member; failing that, of a truncated one; `end` if neither exists.

    Any bytes may look like the beginning of a truncated member, so the one that yields the most bytes is chosen.
    """
    truncated, most = end, 0
    for _ in range(_MAX_FALSE_BEGINNINGS):
        offset = _find_beginning(raw, codec, offset, end)
        if offset == end:
            break
        member = _Member(raw, codec, offset, end)
        size = sum(map(len, member.blocks(to_last_byte=False)))
        if not member.problem:
            return offset
        if member.is_truncated and size > most:
            truncated, most = offset, size
        offset += 1
    return truncated


def _find_beginning(raw: Content, codec: Codec, offset: int, end: int) -> int:
    """Return the first offset, from `offset` on, that looks like the beginning of a member; else `end`."""
    overlap = LONGEST_BEGINNING - 1
    while data := raw.pread(min(_READ_BYTES, end - offset), offset):
        found = codec.beginning.search(data)
        if found is not None:
            return offset + found.start()
        if len(data) <= overlap:
            break
        offset += len(data) - overlap
    return end
