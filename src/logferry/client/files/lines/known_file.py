"""One open log file, and what recognises it: the bytes before the offset, its first bytes, and the size that was seen.

Owns the source and the offset of the file, which is always the beginning of a line. When the bytes that recognise the
file have changed, the file was truncated or rewritten, whatever its size is now, and a new source begins. Must never
interpret the bytes: line_reader.py does.
"""

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from logferry.client.files.content.content import Content, FileContent
from logferry.client.files.content.holes import NUL, end_of_hole
from logferry.client.files.identity import HEAD_BYTES, TAIL_BYTES, has_bytes, identity_of
from logferry.client.files.overwritten import OverwrittenSource
from logferry.model.loss import Loss, LossKind
from logferry.model.source import Source


class KnownFile:
    """An open file that is read forward from `offset`, and checked for being the same file."""

    # There may be tens of thousands of instances: without slots each would take 1.3 KB more.
    __slots__ = (
        "_beginning",
        "_content",
        "_epoch",
        "_hole_end",
        "_scanned",
        "_seen_size",
        "_starts_event",
        "_tail",
        "identity",
        "is_pending",
        "is_scanning",
        "lost",
        "offset",
        "overwritten",
        "path",
        "source",
        "text_begin",
    )

    def __init__(self, path: Path, content: Content | None = None) -> None:
        """Open `path`, or take over an open `content`.

        Raises SourceError when `path` is not a readable regular file, FileNotFoundError when it is missing.
        """
        self._content: Content = content or FileContent.open(path)
        self.path = path
        self.offset = 0
        self._epoch = 0
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
        try:
            self.identity = identity_of(self._content.status())
            self.source = self._new_source()
            self._seen_size = 0
            self.size()
        except BaseException:
            self._content.close()
            raise

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

    def end_of_hole(self, offset: int, *, max_read: int) -> int:
        """Return where NULs that begin at `offset` end, as far as `max_read` bytes show that, without moving."""
        return end_of_hole(self._content, offset, limit=sys.maxsize, max_read=max_read)

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

    def duplicate(self) -> Self:
        """Open the same file once more, under any name, with a position of its own."""
        duplicate = copy.copy(self)
        duplicate._content = self._content.duplicate()
        duplicate.source = copy.copy(self.source)  # the owner keeps changing the original
        duplicate.overwritten, duplicate.lost = [], []
        return duplicate

    def detect_rewrite(self) -> bool:
        """Whether the file was truncated or rewritten; if so, start over, as the next read would."""
        if self.is_unchanged():
            return False
        self._start_over()
        return True

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
