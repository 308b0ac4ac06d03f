"""Surplus: what a segment holds beyond its length in the ledger. It is moved aside, and deleted only by retention.

Usually these bytes are of a group that a crash interrupted, which was never acked, and which its clients send again.
But a ledger that has lost its last transactions (a missing log, an older copy) looks the same. So on the word of the
ledger nothing is destroyed: the bytes move to `<segment>.surplus-<n>-<first byte>` beside the segment. The name ends in
`.unacked` only if nothing of it can have been acked: with durability fsync since the last clean stop, where the
segment's journal agrees with the ledger and the start found no journal ahead of it.

The copy is complete and on the disk before the segment is cut; a crash in between leaves the bytes in both files, or
an unfinished copy under a name that ends in `.new`. Holes stay holes, so the copy takes no more room than the surplus.
`logferry fsck` lists these files and says which of them hold lines that are stored nowhere else.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from logferry.permissions import give_to_owner_of
from logferry.server.storage.disk.files.file_system import FileSystem, naming
from logferry.server.storage.disk.files.regular import GONE, open_file
from logferry.server.storage.disk.files.segment_forms import own_forms_of, stored_path
from logferry.server.storage.records import Compression

_BLOCK_BYTES: Final = 1024 * 1024

_surplus_name: Final = re.compile(r"(.+\.ndjson)\.surplus-(\d{1,9})-(\d{1,18})(\.unacked)?", re.ASCII)

# What follows the name of a segment in the names of what belongs to it; `.new` is left by a crash.
_of_segment: Final = re.compile(
    r"(?:(?:\.surplus-[0-9]{1,9}-[0-9]{1,18}(?:\.unacked)?)?(?:\.journal(?:\.kept-[0-9]{1,9})?)?(?:\.new)?"
    r"|\.(?:gz|zst)\.new)",
    re.ASCII,
)

_NO_HOLES: Final = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # a file system that does not know where they are


class SurplusName(NamedTuple):
    """The file name of a surplus: its segment, its number, and the byte of the segment at which it began.

    Ledger and journal agreed that nothing of an `is_unacked` surplus was acked.
    """

    segment: str
    number: int
    position: int
    is_unacked: bool = False

    def __str__(self) -> str:
        return f"{self.segment}.surplus-{self.number}-{self.position}{'.unacked' * self.is_unacked}"


class Surplus(NamedTuple):
    """Bytes that were moved aside: how many, and the file that holds them."""

    bytes: int
    path: Path


def surplus_name(file_name: str) -> SurplusName | None:
    """Parse the name of a surplus; return None for any other name."""
    match = _surplus_name.fullmatch(file_name)
    return SurplusName(match[1], int(match[2]), int(match[3]), bool(match[4])) if match else None


def set_aside(path: Path, position: int, files: FileSystem, *, is_unacked: bool = False) -> Surplus:
    """Move what a segment holds from `position` on into a new file beside it.

    Raises OSError; then the segment is as it was.
    """
    source = open_file(path, os.O_RDWR)
    try:
        target = _free_name(path, position, is_unacked=is_unacked)
        temporary = target.with_name(f"{target.name}.new")
        with naming(temporary):
            size = _copy(source, position, temporary, files)
        with naming(target):
            os.rename(temporary, target)
            files.sync_folder(target.parent)
        with naming(path):
            files.truncate(source, position)  # by its descriptor: another file may have the name by now
    finally:
        os.close(source)
    return Surplus(size, target)


def delete_segment(path: Path, files: FileSystem, compression: Compression = "") -> int:
    """Delete a segment that retention has expired, and first what lies beside it. Raises OSError.

    The file of the segment may be plain, or compressed as the ledger says or otherwise. Whatever else has a name that
    begins like the segment's is somebody else's, and stays. Returns how many bytes of surplus there were.
    """
    surplus, segment = 0, path.name
    try:
        names = os.listdir(path.parent)
    except OSError as error:
        if error.errno in GONE:
            return 0
        raise
    with contextlib.suppress(FileNotFoundError):
        # a log may have thousands of segments, so what has another name costs nothing but this
        for name in names:
            if _is_of_segment(name, segment) and not (beside := path.with_name(name)).is_dir():
                with naming(beside):
                    size = beside.lstat().st_size if surplus_name(name) else 0
                    files.delete(beside)
                surplus += size
    with naming(path):
        for form in own_forms_of(path, compression):
            if form:
                files.delete(stored_path(path, form))
        files.delete(path)
    return surplus


def _is_of_segment(name: str, segment: str) -> bool:
    """Whether the store gives such a name to a file beside a segment: a journal, a surplus, what is being written."""
    return name.startswith(f"{segment}.") and _of_segment.fullmatch(name, len(segment)) is not None


def _free_name(path: Path, position: int, *, is_unacked: bool) -> Path:
    begin = f"{path.name}.surplus-"
    found = [surplus_name(name) for name in os.listdir(path.parent) if name.startswith(begin)]
    number = max((name.number for name in found if name and name.segment == path.name), default=0) + 1
    return path.with_name(str(SurplusName(path.name, number, position, is_unacked)))


def _copy(source: int, position: int, target: Path, files: FileSystem) -> int:
    """Copy the end of a file, synced; return its size. Raises OSError; then there is no copy."""
    with contextlib.suppress(FileNotFoundError):
        target.unlink()  # left by a crash
    descriptor = open_file(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        end = position
        while (size := os.fstat(source).st_size) > end:  # again, if something is still appended to it
            for start, stop in _data_ranges(source, end, size):
                _copy_range(source, start, stop, descriptor, start - position, files)
            end = size
        os.ftruncate(descriptor, end - position)
        give_to_owner_of(target.parent, descriptor)
        files.sync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            target.unlink()
        raise
    finally:
        os.close(descriptor)
    return end - position


def _copy_range(source: int, start: int, stop: int, target: int, position: int, files: FileSystem) -> None:
    while start < stop:
        block = os.pread(source, min(_BLOCK_BYTES, stop - start), start)
        if not block:
            return
        files.write_at(target, block, position)
        start, position = start + len(block), position + len(block)


def _data_ranges(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges between two positions that are not holes."""
    while start < end:
        try:
            first = os.lseek(descriptor, start, os.SEEK_DATA)
            last = os.lseek(descriptor, first, os.SEEK_HOLE)
        except OSError as error:
            if error.errno in _NO_HOLES:
                yield start, end
            elif error.errno != errno.ENXIO:  # ENXIO: only a hole is left
                raise
            return
        if first < end:
            yield first, min(last, end)
        start = last
