"""One open log file: whole lines from it, a chunk at a time, and the proof that it is still the same file.

Nothing read is kept between calls but an offset and the last bytes before it: an unfinished line is simply read again
once it has grown, so memory is bounded whatever the file holds. Every read begins with the bytes that end at the
offset; when they are not what they were, the file was truncated or rewritten, however long it is by now.
"""

import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logferry.errors import SourceError

# One read. Large enough that the cost of a call does not matter (rendering one takes a millisecond), small enough that
# a few of them in flight stay far below the memory promised.
CHUNK_BYTES: Final = 256 * 1024

# How many bytes before the offset are compared at every read.
TAIL_BYTES: Final = 256

# A line that is longer than a chunk is searched for its end in steps of this size, with other work in between.
SCAN_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """One file's life, from creation or truncation to its end, under whatever name."""

    path: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole raw lines `[start, end)` of a source; a `truncated` one is the kept beginning of one long line."""

    source: Source
    start: int
    end: int
    data: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Bytes `[start, end)` of a source that can never be read."""

    source: Source
    start: int
    end: int
    reason: str


class SourceFile:
    """An open file that is read forward from `offset`, which is always the beginning of a line."""

    def __init__(self, path: Path, *, max_line_bytes: int) -> None:
        """Open `path`. Raises SourceError when it is not a readable regular file, FileNotFoundError when missing."""
        self._fd = _open_regular(path)
        self._max_line_bytes = max_line_bytes
        self._long_line = _long_line_pattern(max_line_bytes)
        self.path = path
        self.source = Source(str(path))
        self.offset = 0
        self.lost: list[Lost] = []  # for the owner to report and clear
        self._tail = b""  # the bytes that end at the offset
        self._scanned = 0  # up to where an over-long line at the offset has no newline
        self.is_scanning = False  # the end of a long line is being searched: read again at once
        status = os.fstat(self._fd)
        self.identity = (status.st_dev, status.st_ino)
        self._seen_size = status.st_size

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)

    def size(self) -> int:
        """Return the file's size now, in bytes."""
        size = os.fstat(self._fd).st_size
        self._seen_size = max(self._seen_size, size)
        return size

    @property
    def is_deleted(self) -> bool:
        """Whether no name is left for the file."""
        return os.fstat(self._fd).st_nlink == 0

    def skip_to_end(self) -> None:
        """Begin after the last whole line that is there now."""
        end = self.size()
        while end > self.offset:
            start = max(self.offset, end - CHUNK_BYTES)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                self._advance(start + newline + 1)
                return
            end = start

    def read(self, *, limit: int | None = None, is_final: bool = False, max_lines: int | None = None) -> Chunk | None:
        """Return the next chunk, or None when no whole line is there.

        No byte from `limit` on is read. `is_final` says that the file will not grow: a last line without newline is
        then a line too. Raises SourceError when the file system fails.
        """
        try:
            return self._read(limit, is_final, max_lines)
        except OSError as error:
            raise SourceError(str(self.path), error.strerror or str(error)) from error

    def _read(self, limit: int | None, is_final: bool, max_lines: int | None) -> Chunk | None:
        wanted = CHUNK_BYTES if limit is None else min(CHUNK_BYTES, limit - self.offset)
        known = len(self._tail)
        data = os.pread(self._fd, known + wanted, self.offset - known)
        if not data.startswith(self._tail):
            self._start_over()
            return None
        end = data.rfind(b"\n") + 1
        if end > known:
            return self._chunk_of_lines(data[known:end], max_lines)
        if len(data) - known == wanted == CHUNK_BYTES or len(data) - known > self._max_line_bytes:
            return self._read_long_line(limit, is_final)
        if is_final and len(data) > known:
            return self._chunk(data[known:], len(data) - known)
        return None

    def _start_over(self) -> None:
        """The bytes before the offset have changed: what is in the file now is another source."""
        if self._seen_size > self.offset:
            self.lost.append(
                Lost(self.source, self.offset, self._seen_size, "truncated or rewritten before it was read")
            )
        self.source = Source(str(self.path))
        self.offset = self._scanned = self._seen_size = 0
        self._tail = b""
        self.size()

    def _chunk_of_lines(self, data: bytes, max_lines: int | None) -> Chunk | None:
        if len(data) > self._max_line_bytes and (match := self._long_line.search(data)):
            if match.start() == 0:
                return self._cut(data[: self._max_line_bytes + 1], match.end())
            data = data[: match.start()]
        if max_lines is not None and data.count(b"\n") > max_lines:
            first_lines = re.match(rb"(?:[^\n]*+\n){%d}" % max_lines, data)
            data = first_lines[0] if first_lines else data
        return self._chunk(data, len(data))

    def _read_long_line(self, limit: int | None, is_final: bool) -> Chunk | None:
        """A line that is longer than one read, or than the limit: look for its end, a bounded way at a time."""
        position = max(self._scanned, self.offset)
        stop = position + SCAN_BYTES if limit is None else min(position + SCAN_BYTES, limit)
        while position < stop:
            block = os.pread(self._fd, min(CHUNK_BYTES, stop - position), position)
            newline = block.find(b"\n")
            if newline >= 0:
                return self._chunk_of_long_line(position + newline + 1 - self.offset)
            position += len(block)
            if not block:
                break
        at_end = position == limit or position < stop
        if at_end and is_final:
            return self._chunk_of_long_line(position - self.offset)
        self._scanned = position
        self.is_scanning = not at_end
        return None

    def _chunk_of_long_line(self, length: int) -> Chunk:
        """Return the line of `length` bytes, newline included, at the offset: whole, or cut at the limit."""
        head = os.pread(self._fd, min(length, self._max_line_bytes + len(b"x\r\n")), self.offset)
        if len(head.removesuffix(b"\n").removesuffix(b"\r")) <= self._max_line_bytes and len(head) == length:
            return self._chunk(head, length)
        return self._cut(head, length)

    def _cut(self, head: bytes, length: int) -> Chunk:
        """Cut the line that begins with `head` at the limit, not inside a UTF-8 character."""
        cut = self._max_line_bytes
        while cut > self._max_line_bytes - 4 and head[cut] & 0xC0 == 0x80:
            cut -= 1
        if head[cut] & 0xC0 == 0x80:  # no UTF-8 anyway
            cut = self._max_line_bytes
        return self._chunk(head[:cut], length, truncated=True)

    def _chunk(self, data: bytes, length: int, *, truncated: bool = False) -> Chunk:
        chunk = Chunk(self.source, self.offset, self.offset + length, data, truncated)
        self.is_scanning = False
        if truncated:
            self._advance(chunk.end)
        else:
            self.offset = chunk.end
            self._tail = data[-TAIL_BYTES:] if length >= TAIL_BYTES else (self._tail + data)[-TAIL_BYTES:]
        return chunk

    def _advance(self, offset: int) -> None:
        self.offset = offset
        start = max(0, offset - TAIL_BYTES)
        self._tail = os.pread(self._fd, offset - start, start)
        self._seen_size = max(self._seen_size, offset)


def _long_line_pattern(max_line_bytes: int) -> re.Pattern[bytes]:
    """Match a line of more bytes than that, its line ending (`\\n` or `\\r\\n`) not counted."""
    pattern = rb"(?m:^)(?![^\n]{%d}\r\n)[^\n]{%d,}+\n" % (max_line_bytes, max_line_bytes + 1)
    return re.compile(pattern)


def _open_regular(path: Path) -> int:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer; it means nothing for regular files.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SourceError(str(path), error.strerror or str(error)) from error
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise SourceError(str(path), "is a directory" if stat.S_ISDIR(mode) else "not a regular file")
    return fd
