"""What tests of stores share: stores that are opened for the length of a `with`, and disks that fail."""

import datetime
import errno
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.opening import DiskStoreSettings, OpenedStore
from logferry.server.storage.disk.writing.group_commit import CrashPoint, no_crash
from logferry.server.storage.disk.writing.time_index import unix_ms
from logferry.server.storage.log_names import LogName
from logferry.server.storage.store import OnDamage, Store, no_notices
from tests.support.running import DEADLINE_S, numbered_line, wait_until

LOG = LogName("10.0.0.7", "")
MONDAY = datetime.date(2024, 1, 15)


class Stored:
    """Takes what a store reports; pass it as `on_stored`."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def __call__(self, group: Sequence[Delivery]) -> None:
        self.deliveries += group

    @property
    def lines(self) -> list[bytes]:
        """All lines of these deliveries, in order."""
        return b"".join(piece for delivery in self.deliveries for piece in delivery.pieces).splitlines(keepends=True)


@contextmanager
def opened(
    data_dir: Path,
    *,
    file_system: FileSystem | None = None,
    today: Callable[[], datetime.date] = lambda: MONDAY,
    on_failure: Callable[[], None] = lambda: None,
    on_damage: OnDamage = no_notices,
    crash_point: CrashPoint = no_crash,
    now_ms: Callable[[], int] = unix_ms,
    **changes: Any,
) -> Iterator[DiskStore]:
    """Run a disk store with small retries and quiet settings, with `changes`, for the length of a `with`."""
    base: dict[str, Any] = {"durability": "fsync", "segment_bytes": 1 << 20, "first_retry_s": 0.001}
    settings = DiskStoreSettings(data_dir=data_dir, **(base | changes))
    store = DiskStore(settings, file_system=file_system, today=today, crash_point=crash_point, now_ms=now_ms)
    store.open(on_failure, on_damage)
    try:
        yield store
    finally:
        store.close(DEADLINE_S)


def delivery(*lines: bytes, log: LogName = LOG) -> Delivery:
    """Return a delivery of plain lines."""
    return Delivery(log, list(lines), len(lines), sum(map(len, lines)))


def submit_each(store: Store, lines: Sequence[bytes], stored: Stored) -> None:
    """Store each line in a group of its own."""
    for line in lines:
        count = len(stored.deliveries)
        store.submit(delivery(line), stored)
        wait_until(lambda count=count: len(stored.deliveries) > count, "the line is stored")  # type: ignore[misc]


def names(data_dir: Path) -> list[str]:
    """Return the paths of all files below `segments`."""
    return sorted(str(path.relative_to(data_dir / "segments")) for path in data_dir.glob("segments/**/*.ndjson"))


LINES = [numbered_line(number) for number in range(100)]


def parts_of(store: DiskStore) -> OpenedStore:
    """Return what an open store consists of."""
    assert store._opened
    return store._opened


@contextmanager
def in_one_group(store: DiskStore) -> Iterator[None]:
    """Let the writer see what is submitted meanwhile only at the end."""
    with parts_of(store).writer._gathered:
        yield


class NoNames(FileSystem):
    """A file system without inodes while `is_full`: it creates nothing, and takes lines into what exists."""

    def __init__(self) -> None:
        self.is_full = False

    def _refuse(self, path: Path) -> None:
        if self.is_full and not path.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def make_folder(self, path: Path) -> None:
        self._refuse(path)
        super().make_folder(path)

    def open_for_append(self, path: Path) -> int:
        self._refuse(path)
        return super().open_for_append(path)


class FewNames(FileSystem):
    """A file system with room for so many names below a folder."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most

    def _refuse(self, path: Path) -> None:
        if not path.exists() and len(list(self._folder.rglob("*"))) >= self._most:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def make_folder(self, path: Path) -> None:
        self._refuse(path)
        super().make_folder(path)

    def open_for_append(self, path: Path) -> int:
        self._refuse(path)
        return super().open_for_append(path)


class FailingFiles(FileSystem):
    """Each operation in `failures` raises its errors one after the other, then works; a number is a short write."""

    def __init__(self, **failures: list[int]) -> None:
        self.failures = failures
        self.short_writes = 0

    def _fail(self, operation: str) -> None:
        pending = self.failures.get(operation)
        if pending:
            code = pending.pop(0)
            if code:
                raise OSError(code, os.strerror(code))

    def make_folder(self, path: Path) -> None:
        self._fail("make_folder")
        super().make_folder(path)

    def open_for_append(self, path: Path) -> int:
        self._fail("open_for_append")
        return super().open_for_append(path)

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
        """Before failing, write a part, perhaps whole lines, as a disk does that becomes full."""
        if self.failures.get("write"):
            everything = b"".join(pieces)
            super().write(descriptor, [everything[: len(everything) * 3 // 4]])
        self._fail("write")
        return super().write(descriptor, pieces)

    def sync(self, descriptor: int) -> None:
        self._fail("sync")
        super().sync(descriptor)

    def sync_folder(self, path: Path) -> None:
        self._fail("sync_folder")
        super().sync_folder(path)

    def truncate(self, path: Path | int, size: int) -> None:
        self._fail("truncate")
        super().truncate(path, size)

    def delete(self, path: Path) -> None:
        self._fail("delete")
        super().delete(path)


@contextmanager
def small_disk(path: Path, *, megabytes: int) -> Iterator[Path]:
    """Mount a file system of a few megabytes; skip the test where that is not allowed."""
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


SIZE = len(LINES[10])  # two digits


def segments_of(data_dir: Path) -> list[Path]:
    """Return the paths of all segments."""
    return sorted(data_dir.glob("segments/**/*.ndjson"))


def problems(data_dir: Path) -> list[str]:
    """Return what fsck says of each segment, oldest first; "" for a sound one."""
    return [finding.problem for finding in fsck(data_dir) if finding.kind == "segment" or finding.problem]


def store_twelve(data_dir: Path) -> None:
    """Four segments of three lines each, the last one open."""
    with opened(data_dir, segment_bytes=3 * SIZE) as store:
        for line in LINES[10:22]:
            store.submit(delivery(line), Stored())


class LimitedFiles(FileSystem):
    """A disk that says how much of it is free, whatever is written."""

    def __init__(self, free: int) -> None:
        self.free = free

    def space(self, folder: Path) -> tuple[int, int]:
        """See FileSystem."""
        if self.free < 0:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return self.free, 1 << 30
