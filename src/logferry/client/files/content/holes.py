"""Finds the NULs at the beginnings of lines: the hole that a writer leaves whose file was truncated behind its back.

A program that does not append (O_APPEND) goes on writing at its old offset after logrotate's copytruncate: the file
begins with as many NULs as it had bytes, most of them in no block of the disk. Owns how a hole is passed, in chunks or
at once. Must never touch a NUL inside a line.
"""

import re
from typing import Final

from logferry.client.files.content.content import Content

# One read while the end of a hole is searched for.
_READ_BYTES: Final = 256 * 1024

NUL: Final = b"\0"
_HOLE_BEHIND_LINE: Final = b"\n\0"
_AT_BEGINNINGS: Final = re.compile(rb"\n\0+")


# Python strips byte by byte; most of a large hole is compared as a whole.
_NULS: Final = bytes(_READ_BYTES)


def leading_nuls(data: bytes) -> int:
    """Return how many NULs `data` begins with."""
    return len(data) if _NULS.startswith(data) else len(data) - len(data.lstrip(NUL))


def without_trailing_nuls(data: bytes) -> bytes:
    """Return `data` without the NULs at its end."""
    return b"" if _NULS.startswith(data) else data.rstrip(NUL)


def first_hole(data: bytes) -> int:
    """Return where in whole lines, which do not begin with a NUL, the first hole begins; -1 if there is none."""
    # Most data has no NUL at all, and one byte is found much faster than two.
    return data.find(_HOLE_BEHIND_LINE) + 1 or -1 if NUL in data else -1


def without_holes(data: bytes) -> bytes:
    """Return lines without the NULs at their beginnings."""
    return _AT_BEGINNINGS.sub(b"\n", data.lstrip(NUL)) if NUL in data else data


def end_of_hole(content: Content, start: int, *, limit: int, max_read: int) -> int:
    """Return the offset of the first byte at or after `start` that is not NUL, but at most `limit`.

    Reads at most `max_read` bytes, and only up to the end of the content: there may be NULs at the offset returned, or
    nothing. Raises OSError.
    """
    position, left = start, max_read
    while position < limit and left > 0:
        block = content.pread(min(_READ_BYTES, limit - position), position)
        nuls = leading_nuls(block)
        position += nuls
        if nuls < len(block) or not block:
            break
        left -= len(block)
        position = min(limit, max(position, content.next_data(position)))
    return position
