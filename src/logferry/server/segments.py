"""Segments: the append-only NDJSON files in which a server keeps lines.

Layout under the folder `segments`:

    <host>/<name>/<UTC date>-<n>.ndjson     n counts from 1 each day; plain-protocol lines have the name `plain`

Only the last segment of a folder (the greatest date, then the greatest n) is ever written to, and only at its end.
The next one begins when a delivery would push it over `segment_bytes` (a delivery is never split, so that one larger
than the limit gets a segment of its own) or when the UTC day ends. A clock that is set back does not reopen the past.

What a crash leaves: whole lines that nobody was told about, and perhaps the beginning of one line at the end of the
last segment. No ack follows before all of a delivery is written, so that beginning was never acked: recovery
cuts it off, counts the bytes, and touches nothing else. What a failed write leaves is cut back by `undo_if_needed`.
"""

import contextlib
import datetime
import hashlib
import ipaddress
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

logger = logging.getLogger(__name__)

# Linux takes 1024 pieces in one writev; every system that Python runs on takes at least 16.
IOV_MAX: Final = os.sysconf("SC_IOV_MAX") if os.sysconf("SC_IOV_MAX") > 0 else 16

# Enough that a thousand busy sources do not thrash, and few beside the descriptors of 10,000 clients.
MAX_OPEN_SEGMENTS: Final = 512

# File systems take 255 bytes a name; this leaves room for the hash that keeps cut names apart.
MAX_NAME_CHARS: Final = 100

_BLOCK: Final = 64 * 1024
_segment_name: Final = re.compile(r"(\d{4}-\d{2}-\d{2})-(\d{1,9})\.ndjson", re.ASCII)


class Stream(NamedTuple):
    """Whose lines: both parts are names of folders, made safe by `safe_name` or `host_name`."""

    host: str
    name: str


def safe_name(text: str) -> str:
    """Return `text` as the name of one folder: no separators, no leading dot, at most 109 characters, never empty.

    A name that had to be changed ends in a hash of the original, so that different texts stay different folders.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", text)[:MAX_NAME_CHARS]
    safe = re.sub(r"^\.+", "_", safe) or "_"
    if safe == text:
        return safe
    return f"{safe}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def host_name(address: str) -> str:
    """Return a peer's IP address as the name of a folder: `10.0.0.7`, `2001-db8--1`; no zone, no `::ffff:`."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return safe_name(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return safe_name(str(mapped or ip).replace(":", "-"))


class Files:
    """The operating system's file calls that the store makes. Tests put failing ones in its place."""

    def make_folder(self, path: Path) -> None:
        """Create one folder if it is missing."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o750)

    def open_for_append(self, path: Path) -> int:
        """Open a file at its end, creating it if it is missing; return the descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
        """Append some of `pieces` (at most IOV_MAX of them); return how many bytes were taken."""
        return os.writev(descriptor, pieces)

    def sync(self, descriptor: int) -> None:
        """Return when the file's content and length are on the disk."""
        getattr(os, "fdatasync", os.fsync)(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Return when the names of the files in a folder are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def truncate(self, path: Path, size: int) -> None:
        """Cut a file back to `size` bytes."""
        os.truncate(path, size)


@dataclass(slots=True)
class Segment:
    """The last segment of a folder, open for append. `size` is its length in bytes, `day` an ISO date."""

    path: Path
    day: str
    number: int
    descriptor: int
    size: int


def last_segment(folder: Path) -> tuple[str, int] | None:
    """Return the day and the number of a folder's last segment; None when it has none."""
    found = [_segment_name.fullmatch(name) for name in os.listdir(folder)]
    return max(((match[1], int(match[2])) for match in found if match), default=None)


def unfinished_bytes(path: Path) -> int:
    """Return how many bytes follow the last newline of a file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        position = size
        while position > 0:
            start = max(0, position - _BLOCK)
            file.seek(start)
            newline = file.read(position - start).rfind(b"\n")
            if newline >= 0:
                return size - (start + newline + 1)
            position = start
    return size


class Segments:
    """All segments under one folder. Not thread-safe: the store's writer thread owns it.

    `append` any number of times, then `sync` and `commit`. After an OSError from either, `undo_if_needed` cuts back
    everything since the last commit; it may itself raise, and must then be called again.
    """

    def __init__(
        self,
        root: Path,
        *,
        segment_bytes: int,
        durable: bool,
        files: Files,
        today: Callable[[], datetime.date],
        max_open: int = MAX_OPEN_SEGMENTS,
    ) -> None:
        self._root = root
        self._segment_bytes = segment_bytes
        self._durable = durable  # otherwise nothing is ever synced
        self._files = files
        self._today = today
        self.max_open: Final = max_open
        self._open: OrderedDict[Stream, Segment] = OrderedDict()
        self._lengths_before: dict[Path, int] = {}  # of everything touched since the last commit
        self._unsynced: dict[Path, int] = {}  # files to their descriptors
        self._unsynced_folders: set[Path] = set()

    def recover(self) -> int:
        """Cut the unfinished last line off every last segment; return how many bytes went."""
        return sum(self._recover_folder(folder) for folder in sorted(self._root.glob("*/*/")))

    def _recover_folder(self, folder: Path) -> int:
        last = last_segment(folder)
        return self._cut_unfinished_line(_segment_path(folder, *last)) if last else 0

    def _cut_unfinished_line(self, path: Path) -> int:
        unfinished = unfinished_bytes(path)
        if unfinished:
            self._files.truncate(path, path.stat().st_size - unfinished)
            logger.warning("cut %d bytes of an unfinished, never acknowledged line off %s", unfinished, path)
        return unfinished

    def append(self, stream: Stream, deliveries: Sequence[Sequence[bytes]]) -> None:
        """Write the pieces of each delivery, in order. Raises OSError, whose `filename` is set."""
        pieces: list[bytes] = []
        pending = 0
        segment = self._writable(stream)
        for delivery in deliveries:
            size = sum(map(len, delivery))
            if segment.size + pending and segment.size + pending + size > self._segment_bytes:
                self._write(segment, pieces)
                segment = self._roll(stream, segment)
                pieces, pending = [], 0
            pieces += delivery
            pending += size
        self._write(segment, pieces)

    def sync(self) -> int:
        """Put everything appended since the last commit on the disk; return the number of files synced."""
        count = len(self._unsynced)
        for path, descriptor in self._unsynced.items():
            with _naming(path):
                self._files.sync(descriptor)
        self._unsynced.clear()
        # Children first: the order does not matter to the disk, but makes failures predictable.
        for folder in sorted(self._unsynced_folders, reverse=True):
            with _naming(folder):
                self._files.sync_folder(folder)
            self._unsynced_folders.discard(folder)
        return count

    def commit(self) -> None:
        """What was appended stays."""
        self._lengths_before.clear()

    def undo_if_needed(self) -> None:
        """Cut every file back to its length at the last commit. Raises OSError; call it again then.

        Nothing happens unless there was an `append` without a `commit`.
        """
        if not self._lengths_before:
            return
        self.close()
        for path, length in list(self._lengths_before.items()):
            with _naming(path), contextlib.suppress(FileNotFoundError):
                self._files.truncate(path, length)
            del self._lengths_before[path]

    def close(self) -> None:
        """Close all files."""
        self._unsynced.clear()
        for segment in self._open.values():
            with contextlib.suppress(OSError):
                os.close(segment.descriptor)
        self._open.clear()

    def _writable(self, stream: Stream) -> Segment:
        """Return the segment to append to: open, still there, and of today."""
        segment = self._open.get(stream)
        # Somebody may have removed the file while we held it open: what we write there would be gone.
        if segment and os.fstat(segment.descriptor).st_nlink == 0:
            self._forget(stream)
            segment = None
        if segment is None:
            segment = self._open_last(stream)
        if segment.day < self._today().isoformat():
            segment = self._roll(stream, segment)
        self._open.move_to_end(stream)
        return segment

    def _open_last(self, stream: Stream) -> Segment:
        folder = self._make_folders(stream)
        with _naming(folder):
            day, number = last_segment(folder) or (self._today().isoformat(), 1)
        path = _segment_path(folder, day, number)
        with _naming(path):
            if path.exists():
                self._cut_unfinished_line(path)
        return self._open_segment(stream, path, day, number)

    def _roll(self, stream: Stream, old: Segment) -> Segment:
        self._forget(stream)
        day = max(old.day, self._today().isoformat())
        number = old.number + 1 if day == old.day else 1
        return self._open_segment(stream, _segment_path(old.path.parent, day, number), day, number)

    def _open_segment(self, stream: Stream, path: Path, day: str, number: int) -> Segment:
        while len(self._open) >= self.max_open:
            self._forget(next(iter(self._open)))
        with _naming(path):
            descriptor = self._files.open_for_append(path)
        segment = Segment(path, day, number, descriptor, os.fstat(descriptor).st_size)
        self._open[stream] = segment
        self._unsynced_folders |= {path.parent} if self._durable else set()
        return segment

    def _forget(self, stream: Stream) -> None:
        segment = self._open[stream]
        if segment.path in self._unsynced:
            with _naming(segment.path):
                self._files.sync(segment.descriptor)
            del self._unsynced[segment.path]
        os.close(self._open.pop(stream).descriptor)

    def _make_folders(self, stream: Stream) -> Path:
        """Create a stream's folders. Their names are synced even if they exist: a crash may have come in between."""
        folder = self._root / stream.host / stream.name
        for path in (self._root, folder.parent, folder):
            with _naming(path):
                self._files.make_folder(path)
        if self._durable:
            self._unsynced_folders |= {self._root.parent, self._root, folder.parent}
        return folder

    def _write(self, segment: Segment, pieces: Sequence[bytes]) -> None:
        """Write all of `pieces`, however little the system takes at a time."""
        if not pieces:
            return
        self._lengths_before.setdefault(segment.path, segment.size)
        if self._durable:
            self._unsynced[segment.path] = segment.descriptor
        with _naming(segment.path):
            for start in range(0, len(pieces), IOV_MAX):
                segment.size += self._write_some(segment.descriptor, list(pieces[start : start + IOV_MAX]))

    def _write_some(self, descriptor: int, pieces: list[bytes | memoryview]) -> int:
        total = remaining = sum(map(len, pieces))
        while True:
            written = self._files.write(descriptor, pieces)
            remaining -= written
            if not remaining:
                return total
            while written >= len(pieces[0]):
                written -= len(pieces.pop(0))
            pieces[0] = memoryview(pieces[0])[written:]


def _segment_path(folder: Path, day: str, number: int) -> Path:
    return folder / f"{day}-{number}.ndjson"


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an OSError say which file it is about."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
