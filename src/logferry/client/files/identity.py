"""What identifies a file: device and inode while it exists, its first and last known bytes at any time.

Owns how many bytes of a file are remembered to recognise it, and the fingerprint of those bytes. Checkpoints of earlier
versions contain fingerprints: neither the sizes nor the hash may change unless those stay readable. Must never open a
file.
"""

import os
from collections.abc import Callable
from typing import Final, Protocol

from logferry import speedups

# The number of first bytes that distinguish a file from others.
HEAD_BYTES: Final = 1024

# The number of bytes before an offset that show whether a file is the one that was read up to that offset.
TAIL_BYTES: Final = 256

# Files with fewer equal first bytes may be alike by chance: a banner, a line without a timestamp.
LEAST_PROOF_BYTES: Final = 128

FileIdentity = tuple[int, int]
"""Device and inode."""

FINGERPRINT_OF_NOTHING: Final = "cae66941d9efbd404e4d88758ea67670"


class Peekable(Protocol):
    """A file that can be read at any offset."""

    def peek(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes at `offset`; fewer only when the file ends there. Raises OSError."""


def identity_of(status: os.stat_result) -> FileIdentity:
    """Return the identity of a file while it exists. Later another file may get the same identity."""
    return status.st_dev, status.st_ino


def fingerprint(data: bytes) -> str:
    """Return a hash of the first or last bytes of a file, as the checkpoints store it."""
    if not data:
        return FINGERPRINT_OF_NOTHING
    compiled: Callable[[bytes], str] | None = getattr(speedups.compiled, "fingerprint", None)
    if compiled is not None:
        return compiled(data)
    from hashlib import blake2b  # imported here because it also loads OpenSSL: 5 ms and 3.9 MB

    return blake2b(data, digest_size=16).hexdigest()


def has_bytes(file: Peekable, offset: int, expected: bytes) -> bool:
    """Whether a file has exactly these bytes at `offset`."""
    return file.peek(offset, len(expected)) == expected


def has_head_and_tail(file: Peekable, *, head: bytes, tail: bytes, end: int) -> bool:
    """Whether a file begins with `head`, and has `tail` just before the offset `end`."""
    return has_bytes(file, 0, head) and has_bytes(file, end - len(tail), tail)


def begins_alike(file: Peekable, other: Peekable, size: int) -> bool:
    """Whether two files seem to have the same first `size` bytes; compares only both ends of that range."""
    head, tail = min(size, HEAD_BYTES), min(size, TAIL_BYTES)
    return all(file.peek(at, length) == other.peek(at, length) for at, length in ((0, head), (size - tail, tail)))


def extended_head(head: bytes, data: bytes, offset: int) -> bytes:
    """Return the remembered first bytes of a file after `data` was read at `offset`."""
    if offset <= len(head) < HEAD_BYTES:
        return (head[:offset] + data[:HEAD_BYTES])[:HEAD_BYTES]
    return head


def extended_tail(tail: bytes, data: bytes) -> bytes:
    """Return the remembered last bytes before an offset after `data` was read there."""
    return data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (tail + data)[-TAIL_BYTES:]
