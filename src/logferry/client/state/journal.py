"""A file of lines that one process appends to, and replaces when it has grown too long; others may read it meanwhile.

Owns what an append leaves on disk: only whole lines count. After a crash, or on a full disk, the file may end with some
lines of the last append and an incomplete line; readers ignore the incomplete line, and the next append cuts it off.
Must never interpret the lines.
"""

import os
from pathlib import Path
from typing import Final

from logferry.durable import replace_file
from logferry.small_files import read_small_file

# A journal is read as a whole. A larger file, of more than two million lines, was written by another program.
_MAX_JOURNAL_BYTES: Final = 1024 * 1024 * 1024


class Journal:
    """A journal file. For one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._size: int | None = None  # of the whole lines; None when the content of the file is unknown
        self._inode = 0

    def read(self) -> bytes:
        """Return the content; only its whole lines count. Raises OSError, or ValueError if it is too large."""
        content = read_small_file(self.path, most=_MAX_JOURNAL_BYTES)
        self._inode = self.path.stat().st_ino
        self.lines, self._size = content.count(b"\n"), content.rfind(b"\n") + 1
        return content

    @property
    def can_be_appended_to(self) -> bool:
        """Whether the file is the one that was last read or written, with known content."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        return self._size is not None and status.st_ino == self._inode and status.st_size >= self._size

    def append(self, lines: bytes) -> None:
        """Append lines, each with its newline; on return they are on disk. Only if `can_be_appended_to`.

        Raises OSError; then some of the lines may stay in the file until the next append or replacement.
        """
        size = self._size
        if size is None:
            raise ValueError("the end of its last line is unknown")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size > size:
                os.ftruncate(descriptor, size)
            _write_all(descriptor, lines, size)
            self._size = None  # after a failed sync, the kernel may still report the lines as written
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._size = size + len(lines)
        self.lines += lines.count(b"\n")

    def replace(self, lines: bytes) -> None:
        """Replace the content of the file with these lines. Raises OSError as `replace_file` does."""
        self._size = None
        replace_file(self.path, lines)
        self._inode = self.path.stat().st_ino
        self._size, self.lines = len(lines), lines.count(b"\n")


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    """Write everything; only an almost full disk needs more than one system call."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
