"""Writes the other form of a segment into a new file: the compressed one of a plain segment, or the plain one.

What is written is synced a few megabytes at a time, and complete before anybody renames it. Never changes, renames or
deletes the file that it reads; a copy that cannot be completed is removed.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from logferry.permissions import give_to_owner_of
from logferry.server.storage.disk.content.codecs import Codec
from logferry.server.storage.disk.content.members import MAX_MEMBER_BYTES, MEMBER_BYTES, Member
from logferry.server.storage.disk.content.segment_bytes import CompressedBytes, SegmentBytes, blocks
from logferry.server.storage.disk.files.file_system import FileSystem, naming
from logferry.server.storage.disk.files.regular import open_file

# A sync of much at once would hold up the syncs that acks wait for.
_SYNC_BYTES: Final = 4 * 1024 * 1024

LOST: Final = (errno.EBADMSG, errno.EIO)  # bytes that nobody can read any more

OnStep = Callable[[], None]
"""Called between two members; it may wait, or raise to end the copy."""


class CannotBeCompressed(Exception):
    """A segment whose compressed form would not be smaller, or that has no lines of a size that a member can have."""


class NewFile:
    """A file that is being written."""

    def __init__(self, path: Path, descriptor: int, files: FileSystem) -> None:
        self._path = path
        self._descriptor = descriptor
        self._files = files
        self._unsynced = 0
        self.size = 0

    def write_at(self, position: int, data: bytes) -> None:
        """Write; what lies between this and what was written before is a hole. Raises OSError."""
        with naming(self._path):
            self._files.write_at(self._descriptor, data, position)
            self.size = position + len(data)
            self._unsynced += len(data)
            if self._unsynced >= _SYNC_BYTES:
                self.sync()

    def set_time(self, changed_ns: int) -> None:
        """Have the file look as if it was changed last at this time. Raises OSError."""
        os.utime(self._descriptor, ns=(changed_ns, changed_ns))

    def sync(self) -> None:
        """Return when everything is on the disk. Raises OSError."""
        with naming(self._path):
            self._files.sync(self._descriptor)
        self._unsynced = 0


@contextlib.contextmanager
def new_file(path: Path, files: FileSystem) -> Iterator[NewFile]:
    """Create a file, in place of what a crash has left under this name, and sync it at the end.

    Raises OSError. The file is removed if anything goes wrong within the `with`.
    """
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        give_to_owner_of(path.parent, descriptor)
        file = NewFile(path, descriptor, files)
        yield file
        file.sync()
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def write_compressed(plain: SegmentBytes, size: int, codec: Codec, target: NewFile, on_step: OnStep) -> list[Member]:
    """Compress the first `size` bytes of a segment; return the members. Raises OSError or CannotBeCompressed."""
    members: list[Member] = []
    for lines in _members_of_lines(plain, size):
        member, stored = codec.member(lines, position=members[-1].end if members else 0, stored_position=target.size)
        target.write_at(target.size, stored)
        members.append(member)
        if target.size >= size:
            raise CannotBeCompressed
        on_step()
    return members


def _members_of_lines(plain: SegmentBytes, size: int) -> Iterator[bytes]:
    """Yield whole lines, about MEMBER_BYTES at a time."""
    rest = b""
    for block in blocks(plain, 0, size):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
        if len(rest) > MAX_MEMBER_BYTES - MEMBER_BYTES:
            raise CannotBeCompressed
    if rest:
        raise CannotBeCompressed  # its end is missing


def write_plain(content: CompressedBytes, target: NewFile, on_step: OnStep = lambda: None) -> None:
    """Write the plain bytes of a segment; of what is damaged, a hole and the end of the last line. Raises OSError."""
    for member in content.members:
        try:
            plain = content.block(member.position, member.size)
        except OSError as error:
            if error.errno not in LOST:
                raise
            continue
        _write_behind_hole(target, member.position, plain)
        on_step()
    _write_behind_hole(target, content.size, b"")


def _write_behind_hole(target: NewFile, position: int, plain: bytes) -> None:
    if target.size < position:
        target.write_at(position - 1, b"\n")
    target.write_at(position, plain)
