"""Reads whole lines from one open log file, a chunk at a time.

Between calls it keeps only an offset and the last bytes before it: an unfinished line is read again once it has grown,
so memory is bounded for any file. Every read begins with the bytes that end at the offset: known_file.py decides by
them whether it is still the same file.

Offsets are those of the file; the lines of a chunk are in UTF-8, whatever the file's encoding is.
"""

import sys
from pathlib import Path
from typing import Final

from logferry.client.files.content.content import Content
from logferry.client.files.content.holes import NUL, end_of_hole, first_hole, without_holes, without_trailing_nuls
from logferry.client.files.identity import TAIL_BYTES, extended_head, extended_tail, has_bytes
from logferry.client.files.lines.format_choice import FormatChoice
from logferry.client.files.lines.header_lines import HeaderLines
from logferry.client.files.lines.line_splitter import Piece, first_lines, splitter_for
from logferry.client.files.lines.text_file import TextFile
from logferry.errors import SourceError, cause_of
from logferry.model.chunk import Chunk
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from logferry.rendering.encodings import encoding_named, without_ending

# One read. Large enough that the cost of a batch hardly matters (a tenth of the time of rendering), small enough that a
# chunk and its records fit into the second cache of a core, and a few in flight into the promised memory.
CHUNK_BYTES: Final = 384 * 1024

# The end of a line that is longer than a chunk is searched for in steps of this size, with other work in between.
SCAN_BYTES: Final = 32 * 1024 * 1024

# A read of more bytes may return some of what a file held before a truncation, and some of what it held after that.
_ATOMIC_BYTES: Final = 4096


class SourceFile(TextFile):
    """An open file that is read forward from `offset`, which is always the beginning of a line."""

    __slots__ = (
        "_one_by_one_until",
        "_rendering_until",
        "_splitter",
        "_stops_there",
        "format_choice",
        "header_lines",
        "rendering",
        "rendering_decided_for",
    )

    passes_last_hole = True  # at the end of a file that will not grow

    def __init__(self, path: Path, *, max_line_bytes: int, content: Content | None = None) -> None:
        """Open `path`, or take over an open `content`.

        Raises SourceError when `path` is not a readable regular file, FileNotFoundError when it is missing.
        """
        self._one_by_one_until = 0
        self.rendering_decided_for: Source | None = None  # for the owner, as are the next two
        self.format_choice: FormatChoice | None = None
        self.header_lines: HeaderLines | None = None
        self.render_as(RenderSpec(max_line_bytes=max_line_bytes))
        super().__init__(path, content, self.rendering.encoding)

    def render_as(self, rendering: RenderSpec, *, until: int = sys.maxsize, stops_there: bool = False) -> None:
        """Return chunks for this rendering from now on: it decides how long a line may be and where an event ends.

        Lines from `until` on, which is the end of a line, are not returned: how to render them is not known yet, or
        known to be another way (`stops_there`), so that no event goes on there.
        """
        self.rendering = rendering
        self._encoding = encoding_named(rendering.encoding)
        self._splitter = splitter_for(rendering)
        self._rendering_until, self._stops_there = until, stops_there

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

    def skip_to(self, offset: int) -> None:
        """Continue at `offset` without reading what is before it."""
        self._move_to(offset)

    def skip_to_end(self) -> None:
        """Continue after the last whole line that the file has now."""
        if (end := self.end_of_lines()) > self.offset:
            self._move_to(end)

    def end_of_lines(self) -> int:
        """Return where the last whole line that the file has now ends, or the offset if none follows it."""
        end = self.size()
        while end > self.offset:
            start = max(self.offset, self._aligned(end - CHUNK_BYTES))
            length = self._encoding.lines_end(self._content.pread(end - start, start), self._shift(start))
            if length:
                return start + length
            end = start
        return self.offset

    def read(
        self,
        *,
        limit: int | None = None,
        is_final: bool = False,
        max_lines: int | None = None,
        is_settled: bool = False,
    ) -> Chunk | None:
        """Return the next chunk, or None when the file has no whole line, or no whole event, yet.

        Bytes from `limit` on are not read, nor lines for which there is no rendering yet. `is_final` says that the file
        will not grow: a last line without a newline then counts as a line. `is_settled` says that the last event will
        not continue. Raises SourceError when the file system fails.
        """
        if self.offset < self._one_by_one_until:
            max_lines = 1
        try:
            return self._read(limit, is_final, max_lines, is_settled or is_final)
        except OSError as error:
            raise SourceError(str(self.path), cause_of(error)) from error

    def _read(self, limit: int | None, is_final: bool, max_lines: int | None, is_settled: bool) -> Chunk | None:
        most = CHUNK_BYTES * self._encoding.width
        wanted = most if limit is None else min(most, limit - self.offset)
        known = len(self._tail)
        data = self._content.pread(known + wanted, self.offset - known)
        if not data.startswith(self._tail or self._beginning[:wanted]) or not self._is_of_one_content(data):
            self._start_over()
            return None
        self._note_size(self.offset - known + len(data), is_whole=len(data) < known + wanted)
        if not known:
            self._beginning = max(self._beginning, data[:TAIL_BYTES].rstrip(NUL), key=len)
        if self.rendering.skips_nuls and self.begins_with_nul(data[known : known + 2], self.offset):
            return self._read_hole(limit, is_final)
        until = known + self._rendering_until - self.offset
        if until <= known:
            return None
        end = self._end_of_lines_in(data[:until] if until < len(data) else data, known)
        if end > known:
            has_more = len(data) - known == most and self.offset + most != limit
            if is_final and end < len(data) and not has_more:
                begin = self._last_event_in(data[known:])
                if begin == 0:
                    return self._last_event(data[known:])
                end = known + begin if begin else end
            if until <= len(data):
                has_more, is_settled = False, is_settled or self._stops_there
            return self._chunk_of_lines(data[known:end], max_lines, has_more=has_more, is_settled=is_settled)
        if until < len(data):
            return None
        if len(data) - known == wanted == most or len(data) - known > self._splitter.max_line_bytes:
            return self._read_long_line(limit, is_final)
        if is_final and len(data) > known:
            return self._last_line(data[known:])
        return None

    def _last_event_in(self, data: bytes) -> int | None:
        """Return where the event begins that the file ends with, without a newline; None if it is only the last line.

        Holes and cut lines end events, so where these are, the last line is left alone.
        """
        text = self._encoding.decoded(data, self._shift(self.offset))
        if self._next_cut(self.offset) - self.offset <= len(data) or first_hole(text) >= 0:
            return None
        begin = self._splitter.last_event_begins(text)
        return self._encoding.encoded_length(text[:begin]) if begin else begin

    def _last_event(self, data: bytes) -> Chunk:
        text = self._encoding.decoded(data, self._shift(self.offset))
        starts = self._starts_event
        return self._chunk(Piece(text, len(data), continues_event=not starts, ends_event=starts), data)

    def _last_line(self, rest: bytes) -> Chunk:
        text = self._encoding.decoded(rest, self._shift(self.offset))
        if self._is_cut_at(self.offset + len(rest)):
            return self._chunk(self._splitter.incomplete(text, len(rest)), rest)
        piece = self._splitter.whole_or_cut(text, len(text), starts_event=self._starts_event)
        return self._chunk(piece._replace(length=len(rest)), rest)

    def _is_of_one_content(self, data: bytes) -> bool:
        """Whether the file still begins as `data`, just read before the offset, does.

        A read of several pages is not atomic: the file may have been truncated and written to in its middle.
        """
        if len(data) <= _ATOMIC_BYTES or self._content.is_stream:
            return True
        return has_bytes(self, self.offset - len(self._tail), data[:TAIL_BYTES])

    def _chunk_of_lines(self, data: bytes, max_lines: int | None, *, has_more: bool, is_settled: bool) -> Chunk | None:
        shift = self._shift(self.offset)
        if (length := self._next_cut(self.offset) - self.offset) <= len(data):
            begin = self._encoding.lines_end(data[: length - 1], shift)
            if not begin:
                line = self._encoding.decoded(without_ending(self._encoding, data[:length], shift), shift)
                piece = self._splitter.incomplete(line, length) if line else Piece(line, length)
                return self._chunk(piece, data[:length])
            data, has_more, is_settled = data[:begin], False, True  # a cut line does not belong to an event
        text = whole = self._encoding.decoded(data, shift)
        if self.rendering.skips_nuls and (hole := first_hole(whole)) >= 0:
            if self._splitter.joins_lines:  # a hole ends an event, however the file is read
                text = whole[:hole]
                has_more, is_settled = False, True
            else:
                text = without_holes(whole)
        found = self._splitter.split(
            text, starts_event=self._starts_event, max_lines=max_lines, has_more=has_more, is_settled=is_settled
        )
        self.is_pending = found is None
        if found is None:
            return None
        taken = found.data
        if found.truncated or len(text) < len(whole):
            taken = first_lines(whole, text.count(b"\n", 0, found.length))
        nuls = (len(taken) - found.length) * self._encoding.width
        if whole is data:
            return self._chunk(found, taken, nuls=nuls)
        end = len(data) if len(taken) == len(whole) else self._encoding.encoded_length(taken)
        return self._chunk(found, data[:end], nuls=nuls)

    def _read_hole(self, limit: int | None, is_final: bool) -> Chunk | None:
        """Pass the NULs at the offset, once text follows them; until then, text may still be written over them.

        Reads at most SCAN_BYTES per call. If `is_final`, also passes NULs that nothing follows.
        """
        start = self._hole_end if self.offset < self._hole_end <= self._content.size() else self.offset
        stop = sys.maxsize if limit is None else limit
        last = self._hole_end = end_of_hole(self._content, start, limit=stop, max_read=SCAN_BYTES)
        end = self._aligned(last)
        following = self._content.pread(min(self._encoding.width, stop - end), end)
        self.is_scanning = following == bytes(self._encoding.width)
        self._seen_size = max(self._seen_size, last)
        if self.is_scanning or not (following.strip(NUL) or (is_final and self.passes_last_hole)):
            return None
        if not following.strip(NUL):
            end = last
        if self.offset == self.text_begin:
            self.text_begin = end
        length = end - self.offset
        return self._chunk(Piece(b"", length), None, nuls=length)

    @property
    def is_at_last_hole(self) -> bool:
        """Whether the last read found nothing but NULs from the offset on."""
        return self._hole_end > self.offset

    def _read_long_line(self, limit: int | None, is_final: bool) -> Chunk | None:
        """Search for the end of a line that is longer than one read or than the limit, at most SCAN_BYTES per call."""
        position = text_end = max(self._scanned, self.offset)
        if position < self._hole_end <= self._content.size() and self._content.pread(1, position) == NUL:
            position = self._hole_end
        stop = position + SCAN_BYTES if limit is None else min(position + SCAN_BYTES, limit)
        while position < stop:
            begin = self._aligned(position)
            block = self._content.pread(min(CHUNK_BYTES, stop - begin), begin)
            if end := self._line_end_in(block, begin):
                return self._chunk_of_long_line(begin + end - self.offset)
            if begin + len(block) <= position:
                break
            if text := without_trailing_nuls(block):
                text_end = begin + len(text)
            position = begin + len(block)
            self._seen_size = max(self._seen_size, position)
        at_end = position == limit or position < stop
        if at_end and is_final:
            return self._chunk_of_long_line(position - self.offset)
        self._scanned, self._hole_end = text_end, position  # text may still be written over NULs at the end of a file
        self.is_scanning = not at_end
        return None

    def _chunk_of_long_line(self, length: int) -> Chunk | None:
        """Return the line of `length` bytes, newline included, at the offset: whole, or cut at the limit."""
        wanted = min(length, self._splitter.head_bytes(length) * self._encoding.width)
        head = self._content.pread(wanted, self.offset)
        if len(head) < wanted:  # truncated since; the next read detects that
            return None
        shift = self._shift(self.offset)
        text = self._encoding.decoded(head, shift)
        text_length = len(text) + length - wanted
        piece = self._splitter.whole_or_cut(text, text_length, starts_event=self._starts_event)
        if not piece.truncated and self._is_cut_at(self.offset + length):
            line = self._encoding.decoded(without_ending(self._encoding, head, shift), shift)
            piece = self._splitter.incomplete(line, length)
        return self._chunk(piece._replace(length=length), None if piece.truncated else head)

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
        self._starts_event = piece.ends_event
        return Chunk(
            *(self.source, start, end, piece.data, piece.truncated),
            *(self._tail, self._epoch, self.rendering, piece.continues_event),
            nuls=nuls,
            is_incomplete=piece.is_incomplete,
        )
