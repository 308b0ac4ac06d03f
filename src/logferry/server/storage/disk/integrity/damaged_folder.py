"""The folder `damaged`: what segments held where a client has stored the right bytes anew.

Owns its names, `<segment>.<first byte>-<end>.<Unix time>` and a number if that exists, and its bound. A compressed
segment that was damaged is kept whole, as `<segment>.gz.<Unix time>` or `.zst.<Unix time>`. What is kept here
was replaced by lines with the CRC-32 of the ledger: it helps to find the cause of damage, and nothing else. At the
bound, the oldest files are deleted, and each deletion is logged. Must never overwrite a file.
"""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from logferry.durable import replace_file
from logferry.printable import quoted
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)

DAMAGED_FOLDER: Final = "damaged"

MAX_BYTES: Final = 1024 * 1024 * 1024
MAX_FILES: Final = 10_000

_MESSAGES_PER_SECOND: Final = 10


_is_own: Final = re.compile(r".+\.ndjson\.(?:[0-9]{1,19}-[0-9]{1,19}|gz|zst)\.[0-9]{1,19}(?:-[0-9]{1,9})?").fullmatch


_is_repair: Final = re.compile(r"\.([0-9]{1,19})-([0-9]{1,19})\.([0-9]{1,12})(?:-[0-9]{1,9})?", re.ASCII).fullmatch


class Repaired(NamedTuple):
    """Bytes of a segment that were stored anew: what was there before is kept in a file. `at` is Unix time."""

    position: int
    end: int
    at: int
    kept: str  # the name of that file


class _Kept(NamedTuple):
    written_at: float
    size: int
    path: Path


class DamagedFolder:
    """Keeps damaged bytes. Any thread may save; a lock guards what is known of the files, and no file is read under it.

    `bytes` and `files` are for any thread to read; they are 0 until `look`.
    """

    def __init__(self, data_dir: Path, *, durable: bool, clock: Callable[[], float] = time.time) -> None:
        self._root = data_dir / DAMAGED_FOLDER
        self._durable = durable
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: list[_Kept] = []  # oldest first
        self._names: set[Path] = set()  # taken, also if the file is not written yet
        self._log = RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="deleted files of damaged bytes")
        self.bytes = 0
        self.files = 0

    def look(self) -> None:
        """Find out what is kept from earlier. Raises OSError."""
        found = sorted(_files_below(self._root))
        with self._lock:
            self._kept = found
            self._count()

    def save(self, segment: str, position: int, end: int, data: bytes) -> Path:
        """Keep what a segment held between two positions; return the file. Raises OSError."""
        target = self._free_name(f"{segment}.{position}-{end}.{int(self._clock())}")
        try:
            for oldest in self._make_room(len(data)):
                self._delete(oldest)
            target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            replace_file(target, data, mode=0o640, is_synced=self._durable)
            with self._lock:
                self._kept.append(_Kept(self._clock(), len(data), target))
                self._count()
        finally:
            with self._lock:
                self._names.discard(target)
        return target

    def keep(self, path: Path, name: str) -> Path:
        """Move the file of a compressed segment here, whose name below `segments` is `name`. Raises OSError."""
        size = path.lstat().st_size
        for oldest in self._make_room(size):
            self._delete(oldest)
        target = self.take(path, name)
        os.utime(target)  # what came here first is the oldest
        with self._lock:
            self._kept.append(_Kept(self._clock(), size, target))
            self._count()
        return target

    def take(self, path: Path, segment: str) -> Path:
        """Move something that is not a segment, but has the name of one, here; return where. It has no bound."""
        target = self._free_name(f"{segment}.{int(self._clock())}")
        try:
            target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            os.rename(path, target)
        finally:
            with self._lock:
                self._names.discard(target)
        return target

    def _free_name(self, name: str) -> Path:
        with self._lock:
            number = 1
            target = self._root / name
            while target in self._names or os.path.lexists(target):
                number += 1
                target = self._root / f"{name}-{number}"
            self._names.add(target)
        return target

    def _make_room(self, size: int) -> list[_Kept]:
        """Return the oldest files, which have to go so that `size` bytes fit."""
        oldest: list[_Kept] = []
        with self._lock:
            while self._kept and (self.bytes + size > MAX_BYTES or self.files >= MAX_FILES):
                oldest.append(self._kept.pop(0))
                self._count()
        return oldest

    def _delete(self, kept: _Kept) -> None:
        kept.path.unlink(missing_ok=True)  # somebody may have deleted it by hand
        message = "deleted %s, %d bytes that were repaired: `damaged` holds at most %d bytes in %d files"
        self._log.log(logging.WARNING, message, quoted(str(kept.path)), kept.size, MAX_BYTES, MAX_FILES)

    def _count(self) -> None:
        self.bytes, self.files = sum(kept.size for kept in self._kept), len(self._kept)


def repairs_of(data_dir: Path, segment: str) -> list[Repaired]:
    """Return the repairs of a segment that are known by what is kept of them, the oldest first. Raises OSError."""
    path = data_dir / DAMAGED_FOLDER / segment
    try:
        names = [name for name in os.listdir(path.parent) if name.startswith(f"{path.name}.")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    matches = ((name, _is_repair(name, len(path.name))) for name in names)
    found = [Repaired(int(each[1]), int(each[2]), int(each[3]), name) for name, each in matches if each]
    return sorted(found, key=lambda repaired: (repaired.at, repaired.position))


def kept_in(data_dir: Path) -> tuple[int, int]:
    """Return how many files of damaged bytes a data folder has, and their bytes. Raises OSError."""
    sizes = [kept.size for kept in _files_below(data_dir / DAMAGED_FOLDER)]
    return len(sizes), sum(sizes)


def _files_below(root: Path) -> Iterator[_Kept]:
    for folder, _, names in os.walk(root):
        for name in names:
            if not _is_own(name):  # what was taken, or put there by hand
                continue
            path = Path(folder, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            yield _Kept(status.st_mtime, status.st_size, path)
