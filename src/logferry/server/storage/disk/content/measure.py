"""Counts what a range of a segment holds: bytes, lines and their CRC-32. Only reads; a megabyte at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from logferry import checksum
from logferry.server.storage.disk.content.segment_bytes import SegmentBytes, blocks

_BLOCK_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class Measure:
    """What a range of a segment holds."""

    bytes: int = 0
    lines: int = 0
    crc32: int = 0


def unfinished_bytes(content: SegmentBytes) -> int:
    """Return how many bytes follow the last newline of a segment. Raises OSError."""
    end = content.size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        newline = b"".join(blocks(content, start, end - start)).rfind(b"\n")
        if newline >= 0:
            return content.size - (start + newline + 1)
        end = start
    return content.size


def measure(
    content: SegmentBytes, position: int, size: int, *, on_block: Callable[[int], None] | None = None
) -> Measure:
    """Count a range, or as much of the range as there is. Raises OSError.

    `on_block` is called with how much was read for each block, and may wait or raise.
    """
    found = Measure()
    before = content.bytes_read
    for block in blocks(content, position, size):
        found.bytes += len(block)
        found.lines += block.count(b"\n")
        found.crc32 = checksum.crc32(block, found.crc32)
        if on_block:
            on_block(content.bytes_read - before)
            before = content.bytes_read
    return found
