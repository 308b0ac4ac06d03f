"""One open log file: whole lines from it, a chunk at a time, and the proof that it is still the same file.

Nothing read is kept between calls but an offset and the last bytes before it: an unfinished line is simply read again
once it has grown, so memory is bounded whatever the file holds. Every read begins with the bytes that end at the
offset; when they are not what they were, the file was truncated or rewritten, however long it is by now.
"""

import copy
import functools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from logferry.client.files.content import Content, FileContent
from logferry.client.files.identity import (
    HEAD_BYTES,
    TAIL_BYTES,
    extended_head,
    extended_tail,
    has_bytes,
    has_head_and_tail,
    identity_of,
)
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.loss import Loss, LossKind
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from logferry.rendering.event_boundaries import EventBoundaries, event_boundaries

# One read. Large enough that the cost of a call does not matter (rendering one takes a millisecond), small enough that
# a few of them in flight stay far below the memory promised.
CHUNK_BYTES: Final = 256 * 1024

# A line that is longer than a chunk is searched for its end in steps of this size, with other work in between.
SCAN_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Left:
    """A source whose file holds something else by now.

    It was read up to `offset`, where it ended in `tail`, and seen up to `seen`; `beginning` are the first bytes of one
    of which nothing was read yet.
    """

    source: Source
    offset: int
    tail: bytes
    beginning: bytes
    seen: int

    def is_continued_in(self, file: "SourceFile") -> bool:
        """Whether what is known of the source is in another file too: it may be a copy of all that it was."""
        head = self.source.head or self.beginning
        return bool(self.tail or head) and has_head_and_tail(file, head=head, tail=self.tail, end=self.offset)

    def shipped_in(self, file: "SourceFile") -> int:
        """Return how many of the first bytes of another file were read of the source, if that may be a copy of it."""
        if self.is_continued_in(file):
            return self.offset
        size, head = file.size(), self.source.head
        return size if 0 < size <= self.offset and file.peek(0, len(head)) == head[:size] else 0

    def lost(self) -> list[Loss]:
        """Return what nobody can read any more."""
        if self.seen <= self.offset:
            return []
        return [Loss(self.source, self.offset, self.seen, "truncated or rewritten before it was read")]


class SourceFile:
    """An open file that is read forward from `offset`, which is always the beginning of a line."""

    # There may be tens of thousands of them: without slots each would take 1.3 KB more.
    __slots__ = (
        "_beginning",
        "_boundaries",
        "_content",
        "_epoch",
        "_is_clean",
        "_long_line",
        "_max_line_bytes",
        "_one_by_one_until",
        "_scanned",
        "_seen_size",
        "_tail",
        "identity",
        "is_pending",
        "is_scanning",
        "left",
        "lost",
        "offset",
        "path",
        "prepared_for",
        "rendering",
        "source",
    )

    def __init__(self, path: Path, *, max_line_bytes: int, content: Content | None = None) -> None:
        """Open `path`, or take over the `content` that stands for it.

        Raises SourceError when it is not a readable regular file, FileNotFoundError when it is missing.
        """
        self._content: Content = content or FileContent.open(path)
        self.path = path
        self.offset = 0
        self._epoch = 0
        self._one_by_one_until = 0
        self.left: list[Left] = []  # for the owner to look after, and to clear
        self.lost: list[Loss] = []  # likewise
        self._tail = b""  # the bytes that end at the offset
        self._beginning = b""  # before anything is read there is no tail: the first bytes that were seen
        self._scanned = 0  # up to where an over-long line at the offset has no newline
        self.is_scanning = False  # the end of a long line is being searched: read again at once
        self.is_pending = False  # whole lines are held back: the event that they belong to may go on
        self._is_clean = True  # the offset is where an event begins, not only where one was cut
        self.prepared_for: Source | None = None  # for the owner: the source for which the rendering was decided
        self.render_as(RenderSpec(max_line_bytes=max_line_bytes))
        self.identity = identity_of(self._content.status())
        self.source = self._new_source()
        self._seen_size = 0
        self.size()

    def render_as(self, rendering: RenderSpec) -> None:
        """Give chunks for this rendering from now on: it says how long a line may be, and where an event ends."""
        self.rendering = rendering
        self._max_line_bytes = rendering.max_line_bytes
        self._long_line = _long_line_pattern(rendering.max_line_bytes)
        self._boundaries = event_boundaries(rendering)

    def close(self) -> None:
        """Release the file."""
        self._content.close()

    def size(self) -> int:
        """Return the file's size now, in bytes."""
        size = self._content.size()
        if size > self._seen_size and self.is_unchanged():  # if it has changed, the next read will notice
            self._seen_size = size
        return size

    @property
    def readable_end(self) -> int:
        """Up to where there may be something to read: its size now, or more than any file has if only reading tells."""
        return sys.maxsize if self._content.is_stream else self.size()

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the file, as far as it was read."""
        return self._content.problems

    def modified_ns(self) -> int:
        """Return when the file was last written, in nanoseconds of Unix time."""
        return self._content.status().st_mtime_ns

    @property
    def is_deleted(self) -> bool:
        """Whether no name is left for the file."""
        return self._content.status().st_nlink == 0

    def peek(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes at `offset`, without moving."""
        return self._content.pread(size, offset)

    def resume(self, source: Source) -> None:
        """Go on with a source that is known to be this file, from where it is committed."""
        self.source = source
        self._move_to(source.committed)

    def take_over(self, left: Left) -> None:
        """Go on with the source of a file that this one is a copy of, from where that was left."""
        self.source = left.source
        self.source.device, self.source.inode = self.identity
        self._epoch = self.source.epoch
        self._move_to(left.offset)

    @property
    def seen_size(self) -> int:
        """The size that the file had when it was last looked at."""
        return self._seen_size

    @property
    def is_at_end(self) -> bool:
        """Whether there is nothing at or behind the offset now."""
        return not self.peek(self.offset, 1)

    @property
    def is_marked(self) -> bool:
        """Whether anything of its content is known, to tell it from another file with its inode."""
        return bool(self._tail or self._beginning)

    def read_again(self, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """Go back to `offset`, the beginning of a line, and give single lines up to `one_by_one_until`.

        With None the file is a new source, and read from its beginning.
        """
        if offset is None:
            self.source = self._new_source()
        self._epoch = self.source.epoch
        self._scanned = 0
        self._one_by_one_until = one_by_one_until
        self._move_to(offset or 0)

    def twin(self) -> Self:
        """Open the same file once more, whatever its name is by now; it has a position of its own."""
        twin = copy.copy(self)
        twin._content = self._content.twin()
        twin.source = copy.copy(self.source)  # its owner goes on changing it
        twin.left, twin.lost = [], []
        return twin

    def skip_to(self, offset: int) -> None:
        """Go on at `offset`: what is before it is not to be read."""
        self._move_to(offset)

    def skip_to_end(self) -> None:
        """Begin after the last whole line that is there now."""
        end = self.size()
        while end > self.offset:
            start = max(self.offset, end - CHUNK_BYTES)
            newline = self._content.pread(end - start, start).rfind(b"\n")
            if newline >= 0:
                self._move_to(start + newline + 1)
                return
            end = start

    def read(
        self,
        *,
        limit: int | None = None,
        is_final: bool = False,
        max_lines: int | None = None,
        is_settled: bool = False,
    ) -> Chunk | None:
        """Return the next chunk, or None when no whole line, or no whole event, is there.

        No byte from `limit` on is read. `is_final` says that the file will not grow: a last line without newline is
        then a line too. `is_settled` says that the last event there will not go on. Raises SourceError when the file
        system fails.
        """
        if self.offset < self._one_by_one_until:
            max_lines = 1
        try:
            return self._read(limit, is_final, max_lines, is_settled or is_final)
        except OSError as error:
            raise SourceError(str(self.path), cause_of(error)) from error

    def notice(self) -> bool:
        """Whether the file is still what was read; if not, it starts over, as it would when it is read."""
        if self.is_unchanged():
            return True
        self._start_over()
        return False

    def _read(self, limit: int | None, is_final: bool, max_lines: int | None, is_settled: bool) -> Chunk | None:
        wanted = CHUNK_BYTES if limit is None else min(CHUNK_BYTES, limit - self.offset)
        known = len(self._tail)
        data = self._content.pread(known + wanted, self.offset - known)
        if not data.startswith(self._tail or self._beginning[:wanted]):
            self._start_over()
            return None
        self._note_size(self.offset - known + len(data), is_whole=len(data) < known + wanted)
        if not known:
            self._beginning = max(self._beginning, data[:TAIL_BYTES], key=len)
        end = data.rfind(b"\n") + 1
        if end > known:
            has_more = len(data) - known == CHUNK_BYTES and self.offset + CHUNK_BYTES != limit
            return self._chunk_of_lines(data[known:end], max_lines, has_more=has_more, is_settled=is_settled)
        if len(data) - known == wanted == CHUNK_BYTES or len(data) - known > self._max_line_bytes:
            return self._read_long_line(limit, is_final)
        if is_final and len(data) > known:
            return self._chunk(data[known:], len(data) - known)
        return None

    def _note_size(self, size: int, *, is_whole: bool) -> None:
        """The file has at least this size, or if `is_whole` exactly. If it had more, those bytes are gone unread."""
        if is_whole and size < self._seen_size:
            reason = "truncated before it was read, and written again since"
            self.lost.append(Loss(self.source, size, self._seen_size, reason, kind=LossKind.OVERWRITTEN))
            self._seen_size = size
        self._seen_size = max(self._seen_size, size)

    def is_unchanged(self) -> bool:
        """Whether the known bytes before the offset, and at the beginning, are still there."""
        if self._tail:
            is_same = has_bytes(self, self.offset - len(self._tail), self._tail)
            head = self.source.head
            return is_same and (len(head) <= len(self._tail) or has_bytes(self, 0, head))
        beginning = self.peek(0, TAIL_BYTES)
        if not beginning.startswith(self._beginning):
            return False
        self._beginning = beginning
        return True

    def _start_over(self) -> None:
        """The bytes before the offset have changed: what is in the file now is another source."""
        self.left.append(Left(self.source, self.offset, self._tail, self._beginning, self._seen_size))
        self.source = self._new_source()
        self.offset = self._scanned = self._seen_size = self._epoch = 0
        self._tail = self._beginning = b""
        self.is_scanning = self.is_pending = False
        self._is_clean = True
        self.size()

    def _chunk_of_lines(self, data: bytes, max_lines: int | None, *, has_more: bool, is_settled: bool) -> Chunk | None:
        is_before_long_line = False
        if len(data) > self._max_line_bytes and (match := self._long_line.search(data)):
            if match.start() == 0:
                return self._cut(data[: self._max_line_bytes + 1], match.end())
            data = data[: match.start()]
            is_before_long_line = True  # a line that is cut belongs to no event
        if self._boundaries is not None:
            return self._chunk_of_events(
                self._boundaries,
                data,
                max_lines,
                has_more=has_more,
                is_whole=is_before_long_line,
                is_settled=is_settled,
            )
        if max_lines is not None and data.count(b"\n") > max_lines:
            first_lines = re.match(rb"(?:[^\n]*+\n){%d}" % max_lines, data)
            data = first_lines[0] if first_lines else data
        return self._chunk(data, len(data))

    def _chunk_of_events(
        self,
        boundaries: EventBoundaries,
        data: bytes,
        max_lines: int | None,
        *,
        has_more: bool,
        is_whole: bool,
        is_settled: bool,
    ) -> Chunk | None:
        """Return whole events; what may go on is held back until it is settled, or cannot go on."""
        whole = len(data) if is_whole else boundaries.complete_bytes(data)
        if not whole and has_more:  # what follows is a line so long that no event can have it
            whole = len(data)
        was_clean, is_clean = self._is_clean, True
        if not has_more and is_settled and whole < len(data):
            whole, is_clean = len(data), False
        self.is_pending = not whole
        if not whole:
            return None
        if max_lines is not None and data.count(b"\n", 0, whole) > max_lines:
            first = boundaries.bytes_of_groups(data[:whole], max_lines)
            whole, is_clean = first, is_clean or first < whole
        chunk = self._chunk(data[:whole], whole, is_split=not (was_clean or boundaries.begins_group(data)))
        self._is_clean = is_clean
        return chunk

    def _read_long_line(self, limit: int | None, is_final: bool) -> Chunk | None:
        """A line that is longer than one read, or than the limit: look for its end, a bounded way at a time."""
        position = max(self._scanned, self.offset)
        stop = position + SCAN_BYTES if limit is None else min(position + SCAN_BYTES, limit)
        while position < stop:
            block = self._content.pread(min(CHUNK_BYTES, stop - position), position)
            newline = block.find(b"\n")
            if newline >= 0:
                return self._chunk_of_long_line(position + newline + 1 - self.offset)
            position += len(block)
            if not block:
                break
            self._seen_size = max(self._seen_size, position)
        at_end = position == limit or position < stop
        if at_end and is_final:
            return self._chunk_of_long_line(position - self.offset)
        self._scanned = position
        self.is_scanning = not at_end
        return None

    def _chunk_of_long_line(self, length: int) -> Chunk | None:
        """Return the line of `length` bytes, newline included, at the offset: whole, or cut at the limit."""
        wanted = min(length, self._max_line_bytes + len(b"x\r\n"))
        head = self._content.pread(wanted, self.offset)
        if len(head) < wanted:  # truncated since; the next read will notice
            return None
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

    def _chunk(self, data: bytes, length: int, *, truncated: bool = False, is_split: bool = False) -> Chunk:
        start, end = self.offset, self.offset + length
        self.source.read_until = max(self.source.read_until, end)
        self.is_scanning = False
        if truncated:
            self._move_to(end)
            self._is_clean = True
        else:
            self.offset = end
            self._tail = extended_tail(self._tail, data)
            self.source.head = extended_head(self.source.head, data, start)
        return Chunk(self.source, start, end, data, truncated, self._tail, self._epoch, self.rendering, is_split)

    def _move_to(self, offset: int) -> None:
        """Go to `offset`, where nothing of what is before it was read in this run."""
        self.offset = offset
        self._is_clean = offset == 0
        start = max(0, offset - TAIL_BYTES)
        self._tail = self._content.pread(offset - start, start)
        if len(self.source.head) < min(HEAD_BYTES, offset):
            self.source.head = self._content.pread(min(HEAD_BYTES, offset), 0)
        self._seen_size = max(self._seen_size, offset)

    def _new_source(self) -> Source:
        device, inode = self.identity
        return Source(str(self.path), device=device, inode=inode)


@functools.lru_cache
def _long_line_pattern(max_line_bytes: int) -> re.Pattern[bytes]:
    """Match a line of more bytes than that, its line ending (`\\n` or `\\r\\n`) not counted."""
    pattern = rb"(?m:^)(?![^\n]{%d}\r\n)[^\n]{%d,}+\n" % (max_line_bytes, max_line_bytes + 1)
    return re.compile(pattern)
