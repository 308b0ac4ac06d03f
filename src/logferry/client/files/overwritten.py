"""A source whose file was truncated or rewritten in place, so that the file now holds other content.

Owns what is remembered of such a source to find a copy with its bytes (copytruncate of logrotate). Must never decide
what is read: it only compares other files with the source.
"""

from dataclasses import dataclass
from typing import Protocol

from logferry.client.files.identity import Peekable, has_bytes, has_head_and_tail
from logferry.model.loss import Loss
from logferry.model.source import Source


class Comparable(Peekable, Protocol):
    """A file that may contain bytes of an overwritten source."""

    def size(self) -> int:
        """Return the file's size now, in bytes."""


@dataclass(frozen=True, slots=True)
class OverwrittenSource:
    """What was known of a source when its file turned out to hold other content.

    The source was read up to `offset`, just after the bytes `tail`, and had at least `seen_size` bytes. If nothing was
    read, `beginning` holds the first bytes that were seen.
    """

    source: Source
    offset: int
    tail: bytes
    beginning: bytes
    seen_size: int

    def is_continued_in(self, file: Comparable) -> bool:
        """Whether a file has all known bytes of the source, so that it may be a copy made before the truncation."""
        head = self.source.head or self.beginning
        return bool(self.tail or head) and has_head_and_tail(file, head=head, tail=self.tail, end=self.offset)

    def bytes_read_of(self, file: Comparable) -> int:
        """Return how many of the first bytes of a file, if it may be a copy, were already read from the source."""
        if self.is_continued_in(file):
            return self.offset
        size, head = file.size(), self.source.head
        return size if 0 < size < self.offset and has_bytes(file, 0, head[:size]) else 0

    def lost(self) -> list[Loss]:
        """Return the bytes that are lost unless a copy exists."""
        if self.seen_size <= self.offset:
            return []
        return [Loss(self.source, self.offset, self.seen_size, "truncated or rewritten before it was read")]
