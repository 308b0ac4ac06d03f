"""A reader of bytes in memory, for tests of what stands above the readers.

It passes the contract suite that every reader passes (tests/client/readers/test_reader_contract.py).
"""

import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.net.waiting.wakeup import Wakeup
from logferry.client.readers.base import losses_if_unreachable
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source


class MemoryContent:
    """Bytes that a test appends to; see Content."""

    is_stream = False
    problems: Sequence[str] = ()
    cut_ends: Sequence[int] = ()

    def __init__(self, *, inode: int = 1) -> None:
        self._inode = inode
        self._data = b""

    def append(self, data: bytes) -> None:
        self._data += data

    def pread(self, size: int, offset: int) -> bytes:
        return self._data[offset : offset + size]

    def next_data(self, offset: int) -> int:
        """See Content."""
        return offset

    def size(self) -> int:
        return len(self._data)

    def status(self) -> os.stat_result:
        return os.stat_result((stat.S_IFREG | 0o600, self._inode, 0, 1, 0, 0, len(self._data), 0, 0, 0))

    def duplicate(self) -> "MemoryContent":
        return self

    def close(self) -> None:
        pass


class MemoryReader:
    """Reads what `grow` appended to one source, once `poll` has seen it; finished when `end` was called."""

    def __init__(self, *, path: str = "app.log", patience_s: float = 0.0, max_line_bytes: int = 1024 * 1024) -> None:
        self._content = MemoryContent()
        self._file = SourceFile(Path(path), max_line_bytes=max_line_bytes, content=self._content)
        self._announcement = Wakeup()
        self._lock = threading.Lock()
        self._unseen = b""
        self._losses: list[Loss] = []
        self._is_ended = False
        self.patience_s = patience_s
        self.revision = 0
        self.is_draining = False
        self.problems: Sequence[str] = ()

    @property
    def is_finished(self) -> bool:
        return self._is_ended and not self._unseen and self._file.offset >= self._content.size()

    @property
    def is_busy(self) -> bool:
        return self._file.is_scanning

    @property
    def wake_fds(self) -> Sequence[int]:
        return (self._announcement.fileno(),)

    def grow(self, data: bytes) -> None:
        """Append to the source, and announce it. Safe in any thread."""
        with self._lock:
            self._unseen += data
        self._announcement.set()

    def end(self) -> None:
        """Nothing more will be appended."""
        self._is_ended = True
        self._announcement.set()

    def stop(self) -> None:
        self._is_ended = True

    def poll(self) -> None:
        self._announcement.clear()
        with self._lock:
            unseen, self._unseen = self._unseen, b""
        self._content.append(unseen)

    def read(self, *, max_lines: int | None) -> Chunk | None:
        return self._file.read(max_lines=max_lines, is_final=self._is_ended and not self._unseen)

    def take_losses(self) -> list[Loss]:
        losses, self._losses = self._losses, []
        return losses

    def rewind(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        if source is self._file.source:
            self._file.rewind(offset, one_by_one_until=one_by_one_until)
        else:
            self._losses += losses_if_unreachable(source, offset)

    def duplicate(self, source: Source) -> SourceFile | None:
        return self._file.duplicate() if source is self._file.source else None

    def close(self) -> None:
        self._announcement.close()

    def report(self) -> list[FileReport]:
        file = self._file
        return [
            FileReport(
                file.source.path,
                file.source.path,
                file.source.id,
                *file.identity,
                size=file.seen_size,
                offset=file.offset,
                committed=file.source.committed,
            )
        ]
