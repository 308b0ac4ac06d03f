"""How a member of a segment is compressed and decompressed: gzip, and zstd where a library for that is there.

Owns the bytes of a member. What a member decompresses to is bounded by the size that it must have, whatever its bytes
say: one byte more is damage. Releases Python's lock for nearly all of the time. Never reads or writes a file.
"""

import errno
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from logferry.server.storage.disk.content.members import HEAD_BYTES, MAX_MEMBER_BYTES, Member, head_of
from logferry.server.storage.disk.files.segment_forms import OPENINGS
from logferry.server.storage.records import Compression
from logferry.zstd_library import MODULE, REMEDY, zstd_library

# Measured on rendered logs, in members of a MiB: gzip 6 leaves 0.091 at 47 MB/s of one core, zstd 9 0.078 at 53 MB/s,
# zstd 3 0.114 at 240 MB/s. A segment is compressed once, slowly anyway, and kept for long.
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 9


class DamagedMember(Exception):
    """The bytes of a member are not those that were written."""


class Codec:
    """One way to compress; each member of a file begins with `opening` and its head."""

    __slots__ = ("_compress", "_decompress", "name", "opening")

    def __init__(
        self,
        name: Compression,
        opening: bytes,
        compress: Callable[[bytes], bytes],
        decompress: Callable[[bytes, bytes, int], bytes],
    ) -> None:
        self.name: Final = name
        self.opening: Final = opening
        self._compress = compress
        self._decompress = decompress

    def member(self, data: bytes, *, position: int, stored_position: int) -> tuple[Member, bytes]:
        """Compress what a segment has from `position` on; return the member, and its bytes for the file."""
        body = self._compress(data)
        stored_size = len(self.opening) + HEAD_BYTES + len(body)
        member = Member(position, len(data), stored_position, stored_size)
        return member, self.opening + head_of(member) + body

    def plain(self, member: Member, stored: bytes) -> bytes:
        """Return the plain bytes of a member. Raises DamagedMember."""
        head = self.opening + head_of(member)
        if len(stored) != member.stored_size or not stored.startswith(head):
            raise DamagedMember
        data = self._decompress(head, stored[len(head) :], member.size)
        if len(data) != member.size or not data.endswith(b"\n"):
            raise DamagedMember
        return data


def codec_of(compression: Compression) -> Codec:
    """Return the codec with this name. Raises OSError, with what to do about it, if this Python has no library for it.

    The error says nothing about the bytes: they may be whole.
    """
    if compression == "gzip":
        return _GZIP
    library = zstd_library()
    if library is None:
        raise OSError(errno.ENOSYS, f"segments compressed with zstd need the Python module {MODULE}: {REMEDY}")
    return _zstd(library)


def chosen_compression(setting: str) -> Compression:
    """Return how to compress by a value of --segment-compression."""
    match setting:
        case "gzip" | "zstd":
            return setting
        case "auto":
            return "zstd" if zstd_library() else "gzip"
        case _:
            return ""


def _deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(data) + deflater.flush()
    return body + zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")


def _inflate(head: bytes, body: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        data = inflater.decompress(head + body, size + 1)
    except zlib.error:
        raise DamagedMember from None
    if not inflater.eof or inflater.unused_data:
        raise DamagedMember
    return data


_GZIP: Final = Codec("gzip", OPENINGS["gzip"], _deflate, _inflate)


def _zstd(library: ModuleType) -> Codec:
    zstd: Any = library
    options = {zstd.CompressionParameter.compression_level: _ZSTD_LEVEL, zstd.CompressionParameter.checksum_flag: 1}
    limits = {zstd.DecompressionParameter.window_log_max: MAX_MEMBER_BYTES.bit_length() - 1}

    def compress(data: bytes) -> bytes:
        return bytes(zstd.compress(data, options=options))

    def decompress(_: bytes, body: bytes, size: int) -> bytes:
        decompressor = zstd.ZstdDecompressor(options=limits)
        try:
            data = bytes(decompressor.decompress(body, size + 1))
        except (zstd.ZstdError, EOFError):
            raise DamagedMember from None
        if not decompressor.eof or decompressor.unused_data:
            raise DamagedMember
        return data

    return Codec("zstd", OPENINGS["zstd"], compress, decompress)
