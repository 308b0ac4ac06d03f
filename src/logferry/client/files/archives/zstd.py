"""Decodes a Zstandard frame (RFC 8878) a block at a time, with the library `zstandard`.

The extra `logferry[zstd]` had this library before, and what was installed then goes on working without the present one
(zstd_library.py). The library returns everything that its input decodes to, which may be 32,768 times as much. So this
module finds the borders of the blocks itself and passes one block at a time: a block decodes to at most 128 KiB. Must
never pass on more than one block, and never decode anything itself.
"""

import importlib
from collections.abc import Generator
from typing import Any, Final

from logferry.client.files.archives.decoder import DamagedData

_SKIPPABLE_MAGIC: Final = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5f
_RLE_BLOCK: Final = 1
_MAX_BLOCK_BYTES: Final = 128 * 1024
_SKIPPED_BYTES: Final = 64 * 1024

# Asks for the size of each next piece, and is sent the piece.
Pieces = Generator[int, bytes, None]


class ZstdDecoder:
    """Decodes one frame (see Decoder)."""

    def __init__(self, *, max_window_bytes: int) -> None:
        """Raise ImportError without the library."""
        zstandard: Any = importlib.import_module("zstandard")
        self._error: type[Exception] = zstandard.ZstdError
        self._frame = zstandard.ZstdDecompressor(max_window_size=max_window_bytes).decompressobj()
        self._data = bytearray()
        self._is_skippable = False
        self._pieces = self._borders()
        self._wanted = next(self._pieces)
        self.eof = False

    @property
    def needs_input(self) -> bool:
        """See Decoder."""
        return len(self._data) < self._wanted and not self.eof

    @property
    def unused_data(self) -> bytes:
        """See Decoder."""
        return bytes(self._data) if self.eof else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """See Decoder: one block is the least that is returned."""
        self._data += data
        decoded = b""
        while not (decoded or self.needs_input or self.eof):
            piece = bytes(self._data[: self._wanted])
            del self._data[: self._wanted]
            try:
                decoded = b"" if self._is_skippable else self._frame.decompress(piece)
                self._wanted = self._pieces.send(piece)
            except self._error as error:
                raise DamagedData(str(error).rpartition(": ")[2]) from None
            except StopIteration:
                self.eof = True
        return decoded

    def _borders(self) -> Pieces:
        """Find the pieces of a frame: header, blocks, checksum."""
        magic = yield 4
        if magic[1:] == _SKIPPABLE_MAGIC:
            self._is_skippable = True
            yield from _skippable_rest(int.from_bytes((yield 4), "little"))
            return
        descriptor = (yield 1)[0]
        has_checksum = descriptor >> 2 & 1
        yield _rest_of_header(descriptor)
        is_last = 0
        while not is_last:
            header = int.from_bytes((yield 3), "little")
            is_last, kind, size = header & 1, header >> 1 & 3, header >> 3
            if size > _MAX_BLOCK_BYTES:
                raise DamagedData("a block is too large")
            if size:
                yield 1 if kind == _RLE_BLOCK else size
        if has_checksum:
            yield 4


def _rest_of_header(descriptor: int) -> int:
    """Return the size of what follows the frame header's first byte (RFC 8878, 3.1.1.1)."""
    is_single_segment = descriptor >> 5 & 1
    content_size = (is_single_segment, 2, 4, 8)[descriptor >> 6]
    return (1 - is_single_segment) + (0, 1, 2, 4)[descriptor & 3] + content_size


def _skippable_rest(size: int) -> Pieces:
    while size:
        size -= len((yield min(size, _SKIPPED_BYTES)))
