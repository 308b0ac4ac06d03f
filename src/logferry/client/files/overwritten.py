"""A source whose file was truncated or rewritten in place, so that the file holds other content now.

Owns what is remembered of such a source, to find the copy (copytruncate of logrotate) in which its bytes may go on.
Must never decide what is read: it only answers what another file has of the source.
"""

from dataclasses import dataclass
from typing import Protocol

from logferry.client.files.identity import Peekable, has_bytes, has_head_and_tail
from logferry.model.loss import Loss
from logferry.model.source import Source


class Comparable(Peekable, Protocol):
    """A file that may have bytes of an overwritten source."""

    def size(self) -> int:
        """Return the file's size now, in bytes."""


@dataclass(frozen=True, slots=True)
class OverwrittenSource:
    """What was known of a source when its file turned out to hold other content.

    It was read up to `offset`, where the bytes before were `tail`, and had at least `seen_size` bytes. Where nothing
    was read, `beginning` are the first bytes that were seen.
    """

    source: Source
    offset: int
    tail: bytes
    beginning: bytes
    seen_size: int

    def is_continued_in(self, file: Comparable) -> bool:
        """Whether a file has all that is known of the source: then it may be a copy that was made in time."""
        head = self.source.head or self.beginning
        return bool(self.tail or head) and has_head_and_tail(file, head=head, tail=self.tail, end=self.offset)

    def bytes_read_of(self, file: Comparable) -> int:
        """Return how many of the first bytes of a file were read from the source, if the file may be a copy of it."""
        if self.is_continued_in(file):
            return self.offset
        size, head = file.size(), self.source.head
        return size if 0 < size <= self.offset and has_bytes(file, 0, head[:size]) else 0

    def lost(self) -> list[Loss]:
        """Return the bytes that nobody can read any more, unless there is a copy."""
        if self.seen_size <= self.offset:
            return []
        return [Loss(self.source, self.offset, self.seen_size, "truncated or rewritten before it was read")]
