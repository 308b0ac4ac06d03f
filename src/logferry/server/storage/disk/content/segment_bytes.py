"""The plain bytes of one segment, read from its file: a plain one, or a compressed one.

What a file does not have is left out at the end of what is read. Bytes that a compressed file has lost are an OSError
with EBADMSG, as for a file whose bytes the disk has lost. Memory is bounded by one member, whatever the file says.
Never writes; an object is used by one thread at a time.
"""

import contextlib
import errno
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, Self

from logferry.server.storage.disk.content.codecs import Codec, DamagedMember, codec_of
from logferry.server.storage.disk.content.members import Member, are_all, walk
from logferry.server.storage.disk.files.regular import open_sized
from logferry.server.storage.disk.files.segment_forms import forms_of, stored_path
from logferry.server.storage.records import Compression

BLOCK_BYTES: Final = 1024 * 1024

# A segment that is compressed, or made plain, has its files exchanged once between two looks.
_LOOKS: Final = 3

_MOST_KEPT: Final = 2  # a range may end in one member and begin in the one before


class SegmentBytes(Protocol):
    """The plain bytes of a segment."""

    compression: Compression
    file_size: int
    """Of the file, when it was opened."""
    size: int
    """Of the plain bytes, as far as the file says; when it was opened."""
    bytes_read: int
    """How many plain bytes were read or decompressed for what was asked, which may be more than was asked."""

    def is_sound(self) -> bool:
        """Whether everything can be read that the file must have, and nothing else is in it. Raises OSError."""

    def block(self, position: int, size: int) -> bytes:
        """Return some bytes from a position on, at most `size`, b"" at the end. Raises OSError."""

    def surplus(self, size: int) -> int:
        """Return how many bytes the file has beyond those in which `size` plain bytes are."""

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None:
        """Close the file."""


class _OpenFile:
    def __init__(self, path: Path, compression: Compression) -> None:
        self.compression = compression
        self._path = path
        self._descriptor, self.file_size = open_sized(path, os.O_RDONLY)
        self.size = self.file_size
        self.bytes_read = 0

    def let_go(self) -> None:
        """Keep nothing in memory."""

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class PlainBytes(_OpenFile):
    """A segment in a plain file."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        super().__init__(path, "")

    def is_sound(self) -> bool:
        """See SegmentBytes: of a plain file, nobody knows."""
        return True

    @property
    def changed_ns(self) -> int:
        """When the file was written to last."""
        return os.fstat(self._descriptor).st_mtime_ns

    def block(self, position: int, size: int) -> bytes:
        """See SegmentBytes."""
        data = os.pread(self._descriptor, min(size, BLOCK_BYTES), position)
        self.bytes_read += len(data)
        return data

    def surplus(self, size: int) -> int:
        """See SegmentBytes."""
        return self.file_size - size


class _Kept:
    """A member that was read: its plain bytes, None if it is damaged, and how many of them nobody has asked for."""

    __slots__ = ("plain", "unread")

    def __init__(self, plain: bytes | None, unread: int) -> None:
        self.plain = plain
        self.unread = unread


class CompressedBytes(_OpenFile):
    """A segment in a compressed file. Keeps a member until all of it was asked for, and two at most.

    So each is decompressed once, whether it is read forward or backward, and many open files take little memory.
    """

    def __init__(self, path: Path, compression: Compression, members: Sequence[Member] = ()) -> None:
        """Without `members`, they are found in the file. Raises OSError."""
        codec = codec_of(compression)
        super().__init__(path, compression)
        self._codec: Codec = codec
        self._may_be_others = bool(members)  # the ledger's table may be damaged, too
        try:
            self.members = members or self._members_by_file()
        except BaseException:
            self.close()
            raise
        self.size = self.members[-1].end if self.members else 0
        self._kept: dict[Member, _Kept] = {}  # oldest first

    def is_sound(self) -> bool:
        """See SegmentBytes."""
        is_complete = are_all(self.members, self.size, self.file_size)
        return is_complete and all(self._read(member) is not None for member in self.members)

    def block(self, position: int, size: int) -> bytes:
        """See SegmentBytes."""
        if position >= self.size or size <= 0:
            return b""
        found = self.members[bisect_right(self.members, position, key=lambda member: member.position) - 1]
        if not found.position <= position < found.end:
            raise self._damaged(position)
        begin = position - found.position
        kept = self._kept.get(found) or self._keep(found)
        if kept.plain is None and self._are_others():
            return self.block(position, size)
        if kept.plain is None:
            raise self._damaged(found.position)
        data = kept.plain[begin : begin + size]
        kept.unread -= len(data)
        if kept.unread <= 0:
            del self._kept[found]
        return data

    def let_go(self) -> None:
        """Keep no member in memory."""
        self._kept.clear()

    def surplus(self, size: int) -> int:
        """See SegmentBytes."""
        last = self.members[-1].stored_end if self.members else 0
        return max(self.size - size, 0) or self.file_size - last

    def _members_by_file(self) -> Sequence[Member]:
        return tuple(walk(self._descriptor, self.file_size, self._codec.opening))

    def _are_others(self) -> bool:
        """Whether the file has other members than was said, and all of them. Then these are taken. Raises OSError."""
        if not self._may_be_others:
            return False
        self._may_be_others = False
        members = self._members_by_file()
        if members == tuple(self.members) or not are_all(members, self.size, self.file_size):
            return False
        self.members = members
        self._kept.clear()
        return True

    def _keep(self, member: Member) -> _Kept:
        if len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        kept = self._kept[member] = _Kept(self._read(member), member.size)
        return kept

    def _read(self, member: Member) -> bytes | None:
        stored = os.pread(self._descriptor, member.stored_size, member.stored_position)
        self.bytes_read += member.size
        try:
            return self._codec.plain(member, stored)
        except DamagedMember:
            return None

    def _damaged(self, position: int) -> OSError:
        return OSError(errno.EBADMSG, f"what was compressed from byte {position} on is damaged", str(self._path))


AnyForm = PlainBytes | CompressedBytes


def any_form(segment: Path, compression: Compression = "") -> AnyForm:
    """Open the file that a segment has, preferably the one that is compressed in this way. Raises OSError.

    The members of a compressed one are found in the file.
    """
    for _ in range(_LOOKS):
        for form in sorted(forms_of(segment), key=lambda form: form != compression):
            with contextlib.suppress(FileNotFoundError):  # exchanged or deleted since
                return CompressedBytes(stored_path(segment, form), form) if form else PlainBytes(segment)
    return PlainBytes(segment)


def blocks(content: SegmentBytes, position: int, size: int) -> Iterator[bytes]:
    """Yield the bytes of a range, about a MiB at a time, as far as there are any. Raises OSError."""
    end = position + size
    while position < end and (block := content.block(position, end - position)):
        yield block
        position += len(block)
