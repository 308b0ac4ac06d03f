"""Reads whole lines from one open log file, a chunk at a time, and checks that it is still the same file.

Between calls it keeps only an offset and the last bytes before it: an unfinished line is read again once it has grown,
so memory is bounded for any file. Every read begins with the bytes that end at the offset; when these have changed, the
file was truncated or rewritten, whatever its size is now.
"""

import copy
import sys
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from logferry.client.files.content import Content, FileContent
from logferry.client.files.holes import NUL, end_of_hole, first_hole, without_holes, without_trailing_nuls
from logferry.client.files.identity import (
    HEAD_BYTES,
    TAIL_BYTES,
    extended_head,
    extended_tail,
    has_bytes,
    identity_of,
)
from logferry.client.files.line_splitter import Piece, first_lines, splitter_for
from logferry.client.files.overwritten import OverwrittenSource
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.loss import Loss, LossKind
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source

# One read. Large enough that the cost of a call does not matter (rendering a chunk takes a millisecond), small enough
# that a few chunks in flight stay far below the promised memory limit.
CHUNK_BYTES: Final = 256 * 1024

# The end of a line that is longer than a chunk is searched for in steps of this size, with other work in between.
SCAN_BYTES: Final = 32 * 1024 * 1024

# A read of more bytes may return some of what a file held before a truncation, and some of what it held after that.
_ATOMIC_BYTES: Final = 4096


class SourceFile:
    """An open file that is read forward from `offset`, which is always the beginning of a line."""

    # There may be tens of thousands of instances: without slots each would take 1.3 KB more.
    __slots__ = (
        "_beginning",
        "_content",
        "_epoch",
        "_hole_end",
        "_one_by_one_until",
        "_scanned",
        "_seen_size",
        "_splitter",
        "_starts_event",
        "_tail",
        "identity",
        "is_pending",
        "is_scanning",
        "lost",
        "offset",
        "overwritten",
        "path",
        "rendering",
        "rendering_decided_for",
        "source",
        "text_begin",
    )

    passes_last_hole = True  # at the end of a file that will not grow

    def __init__(self, path: Path, *, max_line_bytes: int, content: Content | None = None) -> None:
        """Open `path`, or take over an open `content`.

        Raises SourceError when `path` is not a readable regular file, FileNotFoundError when it is missing.
        """
        self._content: Content = content or FileContent.open(path)
        self.path = path
        self.offset = 0
        self._epoch = 0
        self._one_by_one_until = 0
        self.overwritten: list[OverwrittenSource] = []  # the owner handles and clears these
        self.lost: list[Loss] = []  # the owner handles and clears these too
        self._tail = b""  # the bytes that end at the offset
        # The first bytes that were seen, as long as nothing was read and there is no tail; without NULs at their end:
        # text may still be written over those.
        self._beginning = b""
        self._hole_end = 0  # the NULs at the offset, or behind what is scanned of a long line, reach at least this far
        self.text_begin = 0  # where the file's text begins, behind the hole that the file begins with
        self._scanned = 0  # the over-long line at the offset has no newline before this offset
        self.is_scanning = False  # the end of a long line or a hole is not found yet: read again immediately
        self.is_pending = False  # whole lines are held back: their event may continue
        self._starts_event = True  # an event begins at the offset, not the rest of one
        self.rendering_decided_for: Source | None = None  # for the owner
        self.render_as(RenderSpec(max_line_bytes=max_line_bytes))
        try:
            self.identity = identity_of(self._content.status())
            self.source = self._new_source()
            self._seen_size = 0
            self.size()
        except BaseException:
            self._content.close()
            raise

    def render_as(self, rendering: RenderSpec) -> None:
        """Return chunks for this rendering from now on: it decides how long a line may be and where an event ends."""
        self.rendering = rendering
        self._splitter = splitter_for(rendering)

    def close(self) -> None:
        """Release the file."""
        self._content.close()

    def size(self) -> int:
        """Return the file's size now, in bytes."""
        size = self._content.size()
        # If the file has changed, the next read detects that. If it was truncated between these calls, its size and the
        # bytes that `is_unchanged` remembers would belong to different contents.
        if size > self._seen_size and self.is_unchanged() and self._content.size() >= size:
            self._seen_size = size
        return size

    @property
    def readable_end(self) -> int:
        """The offset up to which bytes may be readable: the current size, or unlimited for a stream."""
        return sys.maxsize if self._content.is_stream else self.size()

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong with the part of the file that was read."""
        return self._content.problems

    def modified_ns(self) -> int:
        """Return when the file was last written, in nanoseconds of Unix time."""
        return self._content.status().st_mtime_ns

    @property
    def is_deleted(self) -> bool:
        """Whether the file has no name left."""
        return self._content.status().st_nlink == 0

    def peek(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes at `offset`, without moving."""
        return self._content.pread(size, offset)

    def resume(self, source: Source) -> None:
        """Continue a source that is known to be this file, from its committed offset. Raises OSError."""
        self._continue(source, source.committed)

    def take_over(self, overwritten: OverwrittenSource) -> None:
        """Continue the source of the file that this file is a copy of, from the offset there. Raises OSError."""
        self._continue(overwritten.source, overwritten.offset)
        self.source.device, self.source.inode = self.identity
        self._epoch = self.source.epoch

    def _continue(self, source: Source, offset: int) -> None:
        """Go to `offset` of a source; a file that cannot be read now keeps the source that it had."""
        before, self.source = self.source, source
        try:
            self._move_to(offset)
        except OSError:
            self.source = before
            raise

    @property
    def seen_size(self) -> int:
        """The size at which the file was last seen unchanged."""
        return self._seen_size

    @property
    def is_at_end(self) -> bool:
        """Whether the file has no bytes at or after the offset."""
        return not self.peek(self.offset, 1)

    @property
    def has_known_content(self) -> bool:
        """Whether any of the content is known, which tells the file from another one with its inode."""
        return bool(self._tail or self._beginning)

    @property
    def has_been_seen(self) -> bool:
        """Whether the file was ever seen with any content, perhaps nothing but NULs."""
        return bool(self.has_known_content or self._seen_size)

    def progress(self) -> OverwrittenSource:
        """Return what is known of the source: how far it was read, and what recognises it in another file."""
        return OverwrittenSource(self.source, self.offset, self._tail, self._beginning, self._seen_text_end)

    def learn_head(self) -> bool:
        """Give the source the first bytes of the file, if none were read yet; False if the file has changed."""
        if not self.source.head:
            head = self.peek(0, HEAD_BYTES)
            if not head.startswith(self._beginning):
                return False  # these are the bytes of another content, by which no copy of this one would be found
            self.source.head = head.rstrip(NUL)  # text may be written over NULs at its end
        return True

    def rewind(self, offset: int | None, *, one_by_one_until: int = 0) -> None:
        """Go back to `offset`, the beginning of a line, and return single lines up to `one_by_one_until`.

        None starts a new source at the beginning of the file.
        """
        if offset is None:
            before, self.source = self.source, self._new_source()
            self.source.holes_until = before.holes_until
        self._epoch = self.source.epoch
        self._scanned = 0
        self._one_by_one_until = one_by_one_until
        self._move_to(offset or 0)

    def duplicate(self) -> Self:
        """Open the same file once more, under any name, with a position of its own."""
        duplicate = copy.copy(self)
        duplicate._content = self._content.duplicate()
        duplicate.source = copy.copy(self.source)  # the owner keeps changing the original
        duplicate.overwritten, duplicate.lost = [], []
        return duplicate

    def skip_to(self, offset: int) -> None:
        """Continue at `offset` without reading what is before it."""
        self._move_to(offset)

    def skip_to_end(self) -> None:
        """Continue after the last whole line that the file has now."""
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
        """Return the next chunk, or None when the file has no whole line, or no whole event, yet.

        Bytes from `limit` on are not read. `is_final` says that the file will not grow: a last line without a newline
        then counts as a line. `is_settled` says that the last event will not continue. Raises SourceError when the
        file system fails.
        """
        if self.offset < self._one_by_one_until:
            max_lines = 1
        try:
            return self._read(limit, is_final, max_lines, is_settled or is_final)
        except OSError as error:
            raise SourceError(str(self.path), cause_of(error)) from error

    def detect_rewrite(self) -> bool:
        """Whether the file was truncated or rewritten; if so, start over, as the next read would."""
        if self.is_unchanged():
            return False
        self._start_over()
        return True

    def _read(self, limit: int | None, is_final: bool, max_lines: int | None, is_settled: bool) -> Chunk | None:
        wanted = CHUNK_BYTES if limit is None else min(CHUNK_BYTES, limit - self.offset)
        known = len(self._tail)
        data = self._content.pread(known + wanted, self.offset - known)
        if not data.startswith(self._tail or self._beginning[:wanted]) or not self._is_of_one_content(data):
            self._start_over()
            return None
        self._note_size(self.offset - known + len(data), is_whole=len(data) < known + wanted)
        if not known:
            self._beginning = max(self._beginning, data[:TAIL_BYTES].rstrip(NUL), key=len)
        if self.rendering.skips_nuls and data[known : known + 1] == NUL:
            return self._read_hole(limit, is_final)
        end = data.rfind(b"\n") + 1
        if end > known:
            has_more = len(data) - known == CHUNK_BYTES and self.offset + CHUNK_BYTES != limit
            return self._chunk_of_lines(data[known:end], max_lines, has_more=has_more, is_settled=is_settled)
        if len(data) - known == wanted == CHUNK_BYTES or len(data) - known > self._splitter.max_line_bytes:
            return self._read_long_line(limit, is_final)
        if is_final and len(data) > known:
            rest = data[known:]
            if self._is_cut_at(self.offset + len(rest)):
                return self._chunk(self._splitter.incomplete(rest, len(rest)), rest)
            return self._chunk(Piece(rest, len(rest), ends_event=self._starts_event), rest)
        return None

    def _is_cut_at(self, end: int) -> bool:
        """Whether a line that ends there is known not to be whole."""
        self._content.pread(1, end)  # an archive knows what follows only when it is asked
        return self._next_cut(end - 1) == end

    def _next_cut(self, offset: int) -> int:
        """Return where the next line ends that is known not to be whole; far away if there is none."""
        ends = self._content.cut_ends
        index = bisect_right(ends, offset)
        return ends[index] if index < len(ends) else sys.maxsize

    def _is_of_one_content(self, data: bytes) -> bool:
        """Whether the file still begins as `data`, just read before the offset, does.

        A read of several pages is not atomic: the file may have been truncated and written to in its middle.
        """
        if len(data) <= _ATOMIC_BYTES or self._content.is_stream:
            return True
        return has_bytes(self, self.offset - len(self._tail), data[:TAIL_BYTES])

    def _chunk_of_lines(self, data: bytes, max_lines: int | None, *, has_more: bool, is_settled: bool) -> Chunk | None:
        if (length := self._next_cut(self.offset) - self.offset) <= len(data):
            begin = data.rfind(b"\n", 0, length - 1) + 1
            if not begin:
                return self._chunk(self._splitter.incomplete(data[: length - 1], length), data[:length])
            data, has_more, is_settled = data[:begin], False, True  # a cut line does not belong to an event
        text = data
        if self.rendering.skips_nuls and (hole := first_hole(data)) >= 0:
            if self._splitter.joins_lines:  # a hole ends an event, however the file is read
                text = data = data[:hole]
                has_more, is_settled = False, True
            else:
                text = without_holes(data)
        piece = self._splitter.split(
            text, starts_event=self._starts_event, max_lines=max_lines, has_more=has_more, is_settled=is_settled
        )
        self.is_pending = piece is None
        if piece is None:
            return None
        is_raw = text is data and not piece.truncated
        return self._chunk(piece, piece.data if is_raw else first_lines(data, text.count(b"\n", 0, piece.length)))

    def _read_hole(self, limit: int | None, is_final: bool) -> Chunk | None:
        """Pass the NULs at the offset, once text follows them; until then, text may still be written over them.

        Reads at most SCAN_BYTES per call. If `is_final`, also passes NULs that nothing follows.
        """
        start = self._hole_end if self.offset < self._hole_end <= self._content.size() else self.offset
        stop = sys.maxsize if limit is None else limit
        end = self._hole_end = end_of_hole(self._content, start, limit=stop, max_read=SCAN_BYTES)
        following = self._content.pread(1, end) if end < stop else b""
        self.is_scanning = following == NUL
        self._seen_size = max(self._seen_size, end)
        if self.is_scanning or not (following or (is_final and self.passes_last_hole)):
            return None
        if self.offset == self.text_begin:
            self.text_begin = end
        length = end - self.offset
        return self._chunk(Piece(b"", length), None, nuls=length)

    @property
    def is_at_last_hole(self) -> bool:
        """Whether the last read found nothing but NULs from the offset on."""
        return self._hole_end > self.offset

    def _note_size(self, size: int, *, is_whole: bool) -> None:
        """Note that the file has at least this size, or if `is_whole` exactly; record vanished unread bytes as lost."""
        if is_whole and size < self._seen_text_end:
            reason = "truncated before it was read, and written again since"
            self.lost.append(Loss(self.source, size, self._seen_size, reason, kind=LossKind.OVERWRITTEN))
        self._seen_size = size if is_whole else max(self._seen_size, size)

    @property
    def _seen_text_end(self) -> int:
        """The size at which the file was last seen unchanged; without what is unread if that is only a hole."""
        return max(self.offset, self._scanned) if self._hole_end >= self._seen_size else self._seen_size

    def is_unchanged(self) -> bool:
        """Whether the known bytes before the offset and at the beginning of the file are unchanged."""
        if self._tail:
            is_same = has_bytes(self, self.offset - len(self._tail), self._tail)
            head = self.source.head
            return is_same and (len(head) <= len(self._tail) or has_bytes(self, 0, head))
        beginning = self.peek(0, TAIL_BYTES)
        if not beginning.startswith(self._beginning):
            return False
        self._beginning = beginning.rstrip(NUL)
        return True

    def _start_over(self) -> None:
        """Begin a new source: the bytes before the offset have changed."""
        self.overwritten.append(self.progress())
        self.source = self._new_source()
        self.offset = self._scanned = self._hole_end = self.text_begin = self._seen_size = self._epoch = 0
        self._tail = self._beginning = b""
        self.is_scanning = self.is_pending = False
        self._starts_event = True
        self.size()

    def _read_long_line(self, limit: int | None, is_final: bool) -> Chunk | None:
        """Search for the end of a line that is longer than one read or than the limit, at most SCAN_BYTES per call."""
        position = text_end = max(self._scanned, self.offset)
        if position < self._hole_end <= self._content.size() and self._content.pread(1, position) == NUL:
            position = self._hole_end
        stop = position + SCAN_BYTES if limit is None else min(position + SCAN_BYTES, limit)
        while position < stop:
            block = self._content.pread(min(CHUNK_BYTES, stop - position), position)
            newline = block.find(b"\n")
            if newline >= 0:
                return self._chunk_of_long_line(position + newline + 1 - self.offset)
            if not block:
                break
            if text := without_trailing_nuls(block):
                text_end = position + len(text)
            position += len(block)
            self._seen_size = max(self._seen_size, position)
        at_end = position == limit or position < stop
        if at_end and is_final:
            return self._chunk_of_long_line(position - self.offset)
        self._scanned, self._hole_end = text_end, position  # text may still be written over NULs at the end of a file
        self.is_scanning = not at_end
        return None

    def _chunk_of_long_line(self, length: int) -> Chunk | None:
        """Return the line of `length` bytes, newline included, at the offset: whole, or cut at the limit."""
        wanted = self._splitter.head_bytes(length)
        head = self._content.pread(wanted, self.offset)
        if len(head) < wanted:  # truncated since; the next read detects that
            return None
        piece = self._splitter.whole_or_cut(head, length, starts_event=self._starts_event)
        if not piece.truncated and self._is_cut_at(self.offset + length):
            piece = self._splitter.incomplete(head.removesuffix(b"\n"), length)
        return self._chunk(piece, None if piece.truncated else head)

    def _chunk(self, piece: Piece, raw: bytes | None, *, nuls: int = 0) -> Chunk:
        """Go behind a piece, and return it. `raw` is what the file has there; None if that is too much to read."""
        start, end = self.offset, self.offset + (piece.length if raw is None else len(raw))
        self.source.read_until = max(self.source.read_until, end)
        self.is_scanning = False
        self._hole_end = 0
        if raw is None:
            self._move_to(end)
        else:
            self.offset = end
            self._tail = extended_tail(self._tail, raw)
            self.source.head = extended_head(self.source.head, raw, start)
            nuls = len(raw) - piece.length
        self._starts_event = piece.ends_event
        return Chunk(
            *(self.source, start, end, piece.data, piece.truncated),
            *(self._tail, self._epoch, self.rendering, piece.continues_event),
            nuls=nuls,
            is_incomplete=piece.is_incomplete,
        )

    def _move_to(self, offset: int) -> None:
        """Go to `offset`, and read the bytes before it that are needed to recognise the file.

        The bytes before the present offset recognise the file if it has to be reopened, so the offset changes last.
        """
        start = max(0, offset - TAIL_BYTES)
        tail = self._content.pread(offset - start, start)
        if len(self.source.head) < min(HEAD_BYTES, offset):
            self.source.head = self._content.pread(min(HEAD_BYTES, offset), 0)
        self.offset = offset
        self._tail = tail
        self._hole_end = 0
        self._starts_event = offset == 0
        self._seen_size = max(self._seen_size, offset)

    def _new_source(self) -> Source:
        device, inode = self.identity
        return Source(str(self.path), device=device, inode=inode)
