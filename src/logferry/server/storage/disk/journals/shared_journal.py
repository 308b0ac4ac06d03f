"""The shared journal: what segments without a journal of their own have for one, in one file below `segments`.

A file for each new segment costs the writer more than the lines of a small one. So the entries of new segments are
appended here, and journals.py gives a segment its own journal once it is closed or has many entries.

Layout: lines as in the journal of a segment (journal.py). A "j" names the segment of what follows. What follows a
damaged line counts for no segment, up to the next "j". One kind of line is only here:

    ["x", path]       nothing above is about this segment: it has its own journal, or it is deleted

The name begins with a dot: no host has such a name. Versions without a shared journal ignore it.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from logferry.durable import replace_file
from logferry.server.storage.disk.files.regular import open_file, open_sized
from logferry.server.storage.disk.files.segment_names import is_segment_path
from logferry.server.storage.disk.journals.journal import LINES_PER_PIECE, MAX_LINE_BYTES, is_intact, parsed
from logferry.telemetry.pieces import in_pieces

SHARED_NAME: Final = ".new-segments.journal"

Pieces = dict[str, list[bytes]]
"""The lines of each segment, by its path below the folder of the segments."""


def shared_pieces(root: Path) -> Pieces:
    """Read the shared journal; it may be missing. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), open(open_file(root / SHARED_NAME), "rb") as file:
        return pieces_of(iter(lambda: file.readline(MAX_LINE_BYTES), b""))
    return {}


def pieces_of(lines: Iterable[bytes]) -> Pieces:
    """Return the lines of each segment. A damaged line belongs to the segment before it, and ends what it has."""
    pieces: Pieces = {}
    current: list[bytes] | None = None
    for line in lines:
        kind = line[9:13] if is_intact(line) else b""
        if kind == b'["j"':
            entry = parsed(line)
            current = pieces.setdefault(entry[3], []) if entry and is_segment_path(entry[3]) else None
        elif kind == b'["x"':
            entry = parsed(line)
            current = None
            if entry:
                pieces.pop(entry[1], None)
        if current is not None and line.strip():
            current.append(line)
            current = current if kind else None
    return pieces


class SharedJournal:
    """The shared journal of a store that is open. Used by one thread at a time; `read` by any."""

    def __init__(self, root: Path) -> None:
        self._path = root / SHARED_NAME
        self._descriptor: int | None = None
        self.size = 0  # since it was opened, known after the first `append`

    def append(self, data: bytes) -> None:
        """Append all of `data`, or nothing. Raises OSError."""
        if self._descriptor is None:
            self._descriptor, self.size = open_sized(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            data = b"\n" + data if self.size else data  # after a line that a crash may have left unfinished
        try:
            write_whole(self._descriptor, data, size=self.size)
        except OSError:
            self.close()
            raise
        self.size += len(data)

    def read(self, start: int, end: int, *, pause: Callable[[], object] = lambda: None) -> Pieces:
        """Read what was appended between two sizes; `pause` lets other threads run. Raises OSError."""
        if start >= end:
            return {}
        with open(open_file(self._path), "rb") as file:
            file.seek(start)
            lines = file.read(end - start).splitlines(keepends=True)
        return pieces_of(in_pieces(lines, LINES_PER_PIECE, pause))

    def replace(self, pieces: Sequence[bytes]) -> None:
        """Replace all that it has; without `pieces`, remove it. Raises OSError."""
        self.close()
        if pieces:
            replace_file(self._path, b"".join(pieces), mode=0o640, is_synced=False)
            self.size = sum(map(len, pieces))
        else:
            self._path.unlink(missing_ok=True)
            self.size = 0

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def write_whole(descriptor: int, data: bytes, *, size: int) -> None:
    """Append to a file of `size` bytes all of `data`, or nothing. Raises OSError."""
    try:
        if os.write(descriptor, data) < len(data):
            raise OSError(errno.ENOSPC, "the disk accepted only a part")
    except OSError:
        with contextlib.suppress(OSError):  # what stays of it is true, and its last line is ignored
            os.ftruncate(descriptor, size)
        raise
