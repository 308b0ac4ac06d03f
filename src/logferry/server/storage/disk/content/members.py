"""Members: the pieces of a compressed segment. Each is about a MiB of whole lines, and is decompressed by itself.

Layout of a file: one member behind the other, and nothing else. A member begins with a head that programs like zcat and
zstdcat skip: a field of the gzip header, or a skippable frame of zstd. The head holds the mark `LF`, the length of what
follows, and, little-endian, the member's position in the plain bytes (8 bytes), its size there (4), its size in the
file with its head (4), and the CRC-32 of these three. So the members are found by walking through the file (`walk`);
the ledger's table `members` has their positions, packed, so that nobody needs to.

Bytes of a file and of the table are believed only as far as they fit together. Pure, but for `walk`, which reads.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from logferry.server.storage.disk.files.segment_forms import MARK

# Plain bytes of a member, unless its only line is longer: large enough to compress well, small enough to seek in.
MEMBER_BYTES: Final = 1024 * 1024

# A record has at most 16 MiB. What claims to be larger is not decompressed.
MAX_MEMBER_BYTES: Final = 32 * 1024 * 1024

_PLACE: Final = struct.Struct("<QII")
_ENTRY: Final = struct.Struct("<QQ")
_MAX_OVERHEAD: Final = 64 * 1024  # of a member that cannot be compressed
_ENTRIES_PER_ROW: Final = 1024
_BLOCK_BYTES: Final = 256 * 1024

HEAD_BYTES: Final = len(MARK) + _PLACE.size + 4


class Member(NamedTuple):
    """Plain bytes `[position, position + size)` of a segment, and where they are in the compressed file."""

    position: int
    size: int
    stored_position: int
    stored_size: int

    @property
    def end(self) -> int:
        """Where the plain bytes end."""
        return self.position + self.size

    @property
    def stored_end(self) -> int:
        """Where the compressed bytes end."""
        return self.stored_position + self.stored_size

    @property
    def is_possible(self) -> bool:
        """Whether a member may be as large, or as small, as this one."""
        return 0 < self.size <= MAX_MEMBER_BYTES and 0 < self.stored_size <= self.size + _MAX_OVERHEAD


def head_of(member: Member) -> bytes:
    """Return the head of a member, without what the format has before it."""
    place = _PLACE.pack(member.position, member.size, member.stored_size)
    return MARK + place + zlib.crc32(place).to_bytes(4, "little")


def packed(members: Sequence[Member]) -> Iterator[tuple[int, bytes]]:
    """Yield the rows of the table `members`: the position of the first member, and the entries of the row."""
    for start in range(0, len(members), _ENTRIES_PER_ROW):
        some = members[start : start + _ENTRIES_PER_ROW]
        yield some[0].position, b"".join(_ENTRY.pack(member.position, member.stored_position) for member in some)


def unpacked(rows: Iterable[tuple[int, bytes]], *, size: int, stored_size: int) -> Sequence[Member]:
    """Return the members of a segment of `size` bytes in a file of `stored_size` bytes; none if the rows do not fit."""
    blobs = [data for _, data in rows]
    if not all(type(data) is bytes for data in blobs):
        return ()
    data = b"".join(blobs)
    if not data or len(data) % _ENTRY.size:
        return ()
    borders = [*_ENTRY.iter_unpack(data), (size, stored_size)]
    members = [
        Member(position, end - position, stored, stored_end - stored)
        for (position, stored), (end, stored_end) in pairwise(borders)
    ]
    return members if borders[0] == (0, 0) and all(member.is_possible for member in members) else ()


def are_all(members: Sequence[Member], size: int, stored_size: int) -> bool:
    """Whether members are a whole segment, in a file in which nothing else is."""
    ends = [(0, 0), *((member.end, member.stored_end) for member in members)]
    starts = [*((member.position, member.stored_position) for member in members), (size, stored_size)]
    return ends == starts


def walk(descriptor: int, size: int, opening: bytes) -> Iterator[Member]:
    """Yield the members of a file by their heads, each of which follows `opening`. Raises OSError.

    A damaged head, and what follows up to the next one, is left out. So the members may leave gaps.
    """
    position = end = 0
    openings = _Openings(descriptor, opening + MARK)
    while position < size:
        member = _member_at(descriptor, position, opening)
        if member and member.position >= end and member.stored_end <= size:
            yield member
            position, end = member.stored_end, member.end
        else:
            position = openings.next(position + 1)


def _member_at(descriptor: int, position: int, opening: bytes) -> Member | None:
    data = os.pread(descriptor, len(opening) + HEAD_BYTES, position)
    if len(data) < len(opening) + HEAD_BYTES:
        return None
    plain_position, size, stored_size = _PLACE.unpack_from(data, len(opening) + len(MARK))
    member = Member(plain_position, size, position, stored_size)
    return member if member.is_possible and data == opening + head_of(member) else None


class _Openings:
    """Where something begins in a file that looks like a head. Each block is read once, however many there are."""

    def __init__(self, descriptor: int, begin: bytes) -> None:
        self._descriptor = descriptor
        self._begin = begin
        self._block, self._start = b"", 0

    def next(self, position: int) -> int:
        """Return where the next one is from a position on; past every file if there is none. Raises OSError."""
        begin = self._begin
        if not self._start <= position < self._start + len(self._block):
            self._read(position)
        while len(self._block) >= len(begin):
            found = self._block.find(begin, max(0, position - self._start))
            if found >= 0:
                return self._start + found
            self._read(self._start + len(self._block) - len(begin) + 1)
        return 1 << 63

    def _read(self, position: int) -> None:
        self._block, self._start = os.pread(self._descriptor, _BLOCK_BYTES, position), position
