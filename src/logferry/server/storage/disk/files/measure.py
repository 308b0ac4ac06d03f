"""Counts what a range of a file holds: bytes, lines and their CRC-32. Only reads; a megabyte at a time."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry import checksum
from logferry.server.storage.disk.files.regular import open_file

_BLOCK_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class Measure:
    """What a range of a file holds."""

    bytes: int = 0
    lines: int = 0
    crc32: int = 0


def measure(path: Path, position: int, size: int, *, on_block: Callable[[int], None] | None = None) -> Measure:
    """Count a range of a file, or as much of the range as the file has. Raises OSError.

    `on_block` is called with the size of each block that was read, and may wait or raise.
    """
    found = Measure()
    descriptor = open_file(path)
    try:
        while found.bytes < size:
            block = os.pread(descriptor, min(_BLOCK_BYTES, size - found.bytes), position + found.bytes)
            if not block:
                break
            found.bytes += len(block)
            found.lines += block.count(b"\n")
            found.crc32 = checksum.crc32(block, found.crc32)
            if on_block:
                on_block(len(block))
    finally:
        os.close(descriptor)
    return found
