"""The compression formats of archives: how a member of each begins, and how its bytes are decoded.

Owns the table of formats that the client can read; client/finding/compressed.py has the suffixes and magic numbers.
Must never read a file: client/files/archives/archive.py does.
"""

import errno
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from logferry.client.files.archives.decoder import MAX_DECODER_BYTES, DamagedData, Decoder
from logferry.client.files.archives.zstd import ZstdDecoder
from logferry.client.finding.compressed import MAGICS_BY_SUFFIX
from logferry.zstd_library import MODULE, REMEDY, zstd_library

# The longest beginning of a member that a format requires.
LONGEST_BEGINNING: Final = 10


@dataclass(frozen=True, slots=True)
class Codec:
    """One compression format; `beginning` matches the first bytes of a member, which are at most LONGEST_BEGINNING."""

    name: str
    beginning: re.Pattern[bytes]
    module: str  # what decodes it
    remedy: str  # what to do where that module is missing
    make: Callable[[], Decoder]

    def decoder(self) -> Decoder:
        """Return a decoder for the next member. Raises OSError, with what to do about it, if this Python has none."""
        try:
            return self.make()
        except ImportError:
            reason = f"{self.name} archives need the Python module {self.module}: {self.remedy}"
            raise OSError(errno.ENOSYS, reason) from None


def codec_of(beginning: bytes) -> Codec | None:
    """Return the format of a file that begins with these LONGEST_BEGINNING bytes; None if it is not an archive."""
    return next((codec for codec in CODECS if codec.beginning.match(beginning)), None)


class _GzipDecoder:
    """zlib with the interface of the other decoders."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inflater.eof

    @property
    def needs_input(self) -> bool:
        return not self._inflater.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflater.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return self._inflater.decompress(self._inflater.unconsumed_tail + data, max_length)
        except zlib.error as error:
            raise DamagedData(str(error).rpartition(": ")[2]) from None


class _StandardDecoder:
    """A decoder of the standard library, whose exceptions differ from format to format."""

    def __init__(self, decoder: Any, error: type[Exception]) -> None:
        self._decoder = decoder
        self._error = error

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._decoder.needs_input)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._decoder.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return bytes(self._decoder.decompress(data, max_length))
        except self._error as error:
            raise DamagedData(str(error)) from None


# The modules are imported on use: most runs read no archive, and a Python may have been built without them.


def _bzip2_decoder() -> Decoder:
    import bz2

    return _StandardDecoder(bz2.BZ2Decompressor(), OSError)


def _xz_decoder() -> Decoder:
    import lzma

    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_DECODER_BYTES)
    return _StandardDecoder(decoder, lzma.LZMAError)


def _zstd_decoder() -> Decoder:
    library: Any = zstd_library()
    if library is None:
        return ZstdDecoder(max_window_bytes=MAX_DECODER_BYTES)
    limits = {library.DecompressionParameter.window_log_max: MAX_DECODER_BYTES.bit_length() - 1}
    return _StandardDecoder(library.ZstdDecompressor(options=limits), library.ZstdError)


def _beginning(suffix: str, rest: bytes = b"") -> re.Pattern[bytes]:
    """Match the magic numbers that belong to a suffix, and what must follow them."""
    return re.compile(b"(?:" + b"|".join(map(re.escape, MAGICS_BY_SUFFIX[suffix])) + b")" + rest)


_REBUILD: Final = "install a Python that has it"

CODECS: Final = (
    # RFC 1952 defines one method, deflate.
    Codec("gzip", _beginning(".gz", rb"(\x08|\Z)"), "zlib", _REBUILD, _GzipDecoder),
    # A level, then a block or, without content, the end of the stream: a line of text may begin with BZh.
    Codec("bzip2", _beginning(".bz2", rb"[1-9](1AY&SY|\x17rE8P\x90)"), "bz2", _REBUILD, _bzip2_decoder),
    Codec("xz", _beginning(".xz"), "lzma", _REBUILD, _xz_decoder),
    Codec("zstd", _beginning(".zst"), MODULE, REMEDY, _zstd_decoder),
)
