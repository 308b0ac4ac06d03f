"""A file whose size is not the number of its bytes, as in /proc and /sys: read once to its end, and kept in memory.

Owns the recognition of such a file, and the limit of its memory. The kernel makes the bytes when they are read, so a
second read may give others. Must never take a file for such a one whose size has only just changed.
"""

import os
from collections.abc import Sequence
from typing import Final

from logferry.client.files.content.content import Content

_PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")

# What a lying size is: nothing in /proc, a page in /sys.
_LYING_SIZES: Final = (0, _PAGE_BYTES)

_READ_BYTES: Final = 256 * 1024

# The largest such files, lists of kernel symbols, have about 15 MB.
_MAX_BYTES: Final = 64 * 1024 * 1024


class Snapshot:
    """The bytes (see Content) that a file had when it was opened."""

    is_stream = False

    def __init__(self, raw: Content, data: bytes, problems: Sequence[str] = ()) -> None:
        """Take over the open file. `problems` say why the file has more bytes than these."""
        self._raw = raw
        self._data = data
        self.problems = problems
        self.cut_ends: Sequence[int] = (len(data),) if problems else ()

    def pread(self, size: int, offset: int) -> bytes:
        """See Content."""
        return self._data[offset : offset + size]

    def next_data(self, offset: int) -> int:
        """See Content."""
        return offset

    def size(self) -> int:
        """See Content: the true size."""
        return len(self._data)

    def status(self) -> os.stat_result:
        """See Content."""
        return self._raw.status()

    def duplicate(self) -> "Snapshot":
        """See Content."""
        return Snapshot(self._raw.duplicate(), self._data, self.problems)

    def close(self) -> None:
        """See Content."""
        self._raw.close()


def with_true_size(raw: Content) -> Content:
    """Return a snapshot of a file whose size lies; otherwise the file as it is. Raises OSError."""
    size = raw.size()
    if size not in _LYING_SIZES:
        return raw
    begin = raw.pread(_PAGE_BYTES, 0)
    if len(begin) == size or raw.size() != size:
        return raw
    return _snapshot(raw)


def _snapshot(raw: Content) -> Snapshot:
    data = bytearray()
    while len(data) <= _MAX_BYTES and (block := raw.pread(_READ_BYTES, len(data))):
        data += block
    problems = []
    if len(data) > _MAX_BYTES:
        problems.append(f"its size is unknown, and it has more than {_MAX_BYTES} bytes")
    return Snapshot(raw, bytes(data[:_MAX_BYTES]), problems)
