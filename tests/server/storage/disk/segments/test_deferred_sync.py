"""Small writes to many segments: in the ledger when they are acked, synced in their segments soon after."""

import errno
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from logferry.protocol.messages.requests import BatchRequest, Open
from logferry.server.storage.deliveries import Delivery, SourceRequest
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.segments.deferred_sync import DeferredSync
from logferry.server.storage.log_names import NO_LOG, LogName
from logferry.server.storage.owners import of_client
from logferry.server.storage.store import StoreState
from tests.support.running import numbered_line, stored_lines, wait_until
from tests.support.stores import Stored, delivery, in_one_group, opened

LOGS = [LogName("10.0.0.7", f"app-{number}.log") for number in range(50)]
FIRST = [numbered_line(number) for number in range(50)]
SECOND = [numbered_line(number) for number in range(50, 100)]


@pytest.fixture
def never_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable deferred sync, even on close, as if the power were cut first."""
    monkeypatch.setattr(DeferredSync, "start", lambda _: None)
    monkeypatch.setattr(DeferredSync, "stop", lambda *_: None)


@pytest.fixture
def synced_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeferredSync.__init__, "__kwdefaults__", {"interval_s": 0.0})


def store_in_one_group(store: DiskStore, stored: Stored, lines: Sequence[bytes]) -> None:
    """Store a line of each log, all of them in one group."""
    before = len(stored.deliveries)
    with in_one_group(store):
        for log, line in zip(LOGS, lines, strict=True):
            store.submit(delivery(line, log=log), stored)
    wait_until(lambda: len(stored.deliveries) == before + len(lines), "the group is stored")


@contextmanager
def ledger_of(data_dir: Path) -> Iterator[Ledger]:
    ledger = Ledger(data_dir, durable=False, read_only=True)
    try:
        yield ledger
    finally:
        ledger.close()


def kept(data_dir: Path) -> list[bytes]:
    """Return the bytes that the ledger keeps because segments may lack them."""
    with ledger_of(data_dir) as ledger:
        last, segments = ledger.unsynced_segments()
        return [row.data for segment in segments for row in ledger.unsynced_of(segment.id, last=last)]


@pytest.mark.usefixtures("never_synced")
def test_what_is_not_synced_is_in_the_ledger_before_anybody_gets_an_ack(tmp_path: Path) -> None:
    class NoSync(FileSystem):
        def sync(self, descriptor: int) -> None:
            raise AssertionError("a segment was synced")

    class Looking(Stored):
        def __call__(self, group: Sequence[Delivery]) -> None:
            assert sorted(kept(tmp_path)) == sorted(FIRST)
            super().__call__(group)

    stored = Looking()
    with opened(tmp_path, file_system=NoSync()) as store:
        store_in_one_group(store, stored, FIRST)
        health = store.health()
        assert (health.state, health.counters.groups, health.counters.syncs) == (StoreState.STORING, 1, 0)
    assert sorted(stored_lines(tmp_path)) == sorted(FIRST)


@pytest.mark.usefixtures("never_synced")
@pytest.mark.parametrize("lost", ["all files", "new lines", "parts of lines", "nothing", "zeros"])
def test_what_a_power_cut_takes_from_segments_is_written_again(tmp_path: Path, lost: str) -> None:
    stored = Stored()
    with opened(tmp_path / "before") as store:
        store_in_one_group(store, stored, FIRST)
        store_in_one_group(store, stored, SECOND)
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    for path in (tmp_path / "after").glob("segments/**/*.ndjson"):
        if lost == "new lines":
            os.truncate(path, len(FIRST[0]))
        elif lost == "parts of lines":
            os.truncate(path, len(FIRST[0]) + 7)
        elif lost == "zeros":
            path.write_bytes(path.read_bytes()[:10] + bytes(path.stat().st_size - 10))
    if lost == "all files":
        shutil.rmtree(tmp_path / "after" / "segments")
    with opened(tmp_path / "after"):
        assert sorted(stored_lines(tmp_path / "after")) == sorted([*FIRST, *SECOND])
        assert kept(tmp_path / "after") == []


@pytest.mark.usefixtures("never_synced")
def test_sources_that_need_more_segments_than_may_be_open_are_stored_in_several_groups(tmp_path: Path) -> None:
    """A group that closes segments to open others must sync them one after the other."""

    class NoSync(FileSystem):
        def sync(self, descriptor: int) -> None:
            raise AssertionError("a segment was synced")

    stored = Stored()
    with opened(tmp_path, file_system=NoSync(), max_open_segments=10) as store:
        with in_one_group(store):
            for number, line in enumerate(FIRST):
                source = f"s{number}"
                opening = SourceRequest(Open(source, f"/x/app-{number}.log"), 1, of_client("c"), "h")
                store.submit(Delivery(NO_LOG, [], 0, 0, source_request=opening), stored)
                batch = SourceRequest(BatchRequest(source, 0, 1, 1, zlib.crc32(line), line), 1, of_client("c"), "h")
                store.submit(Delivery(NO_LOG, [line], 1, len(line), source_request=batch), stored)
        wait_until(lambda: len(stored.deliveries) == 2 * len(FIRST), "all are stored")
    assert sorted(stored_lines(tmp_path)) == sorted(FIRST)


@pytest.mark.usefixtures("synced_immediately")
def test_segments_are_synced_soon_and_then_the_ledger_keeps_nothing(tmp_path: Path) -> None:
    synced: set[str] = set()

    class Recording(FileSystem):
        def sync(self, descriptor: int) -> None:
            super().sync(descriptor)
            synced.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent.name)

        def sync_folder(self, path: Path) -> None:
            super().sync_folder(path)
            synced.add(path.name)

    stored = Stored()
    with opened(tmp_path, file_system=Recording()) as store:
        store_in_one_group(store, stored, FIRST)
        wait_until(lambda: not kept(tmp_path), "the ledger keeps nothing")
        assert synced >= {log.path for log in LOGS} | {"10.0.0.7", "segments", tmp_path.name}


def test_a_store_that_is_closed_has_nothing_left_to_sync(tmp_path: Path) -> None:
    stored = Stored()
    with opened(tmp_path) as store:
        store_in_one_group(store, stored, FIRST)
    assert kept(tmp_path) == []
    assert sorted(stored_lines(tmp_path)) == sorted(FIRST)


@pytest.mark.usefixtures("synced_immediately")
def test_after_a_failed_sync_the_lines_are_written_again_before_the_ledger_forgets_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class FailingOnce(FileSystem):
        failures = 1
        rewritten = 0

        def sync(self, descriptor: int) -> None:
            if self.failures:
                self.failures -= 1
                assert len(kept(tmp_path)) == len(FIRST)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync(descriptor)

        def write_at(self, descriptor: int, data: bytes, position: int) -> None:
            self.rewritten += 1
            super().write_at(descriptor, data, position)

    files, stored = FailingOnce(), Stored()
    with opened(tmp_path, file_system=files) as store:
        store_in_one_group(store, stored, FIRST)
        wait_until(lambda: not kept(tmp_path), "the ledger keeps nothing")
    assert files.rewritten == len(FIRST)
    assert sorted(stored_lines(tmp_path)) == sorted(FIRST)
    assert sum("stay in the ledger until then" in record.message for record in caplog.records) == 1


def _segments(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob("segments/**/*.ndjson"))


@pytest.mark.usefixtures("never_synced")
def test_a_segment_that_somebody_has_shortened_is_not_filled_with_a_hole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = Stored()
    with opened(tmp_path) as store:
        for line in FIRST[:3]:  # few enough to be synced with their group
            store.submit(delivery(line, log=LOGS[0]), stored)
        wait_until(lambda: len(stored.deliveries) == 3, "they are stored")
        store_in_one_group(store, stored, SECOND)
    path = next(path for path in _segments(tmp_path) if path.parent.name == LOGS[0].path)
    os.truncate(path, 5)
    with opened(tmp_path):
        assert path.stat().st_size == 5
    assert any("is damaged: it ends before byte" in record.message for record in caplog.records)


@pytest.mark.usefixtures("synced_immediately")
def test_a_bug_in_deferred_sync_is_logged_and_nothing_that_is_acked_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FileSystem):
        def sync(self, descriptor: int) -> None:
            raise RuntimeError("a bug")

    stored = Stored()
    with opened(tmp_path, file_system=Broken()) as store:
        store_in_one_group(store, stored, FIRST)
        wait_until(lambda: "deferred sync has failed" in caplog.text, "the bug is logged")
        store_in_one_group(store, stored, SECOND)
    assert sorted(kept(tmp_path)) == sorted([*FIRST, *SECOND])
    with opened(tmp_path):
        assert kept(tmp_path) == []
    assert sorted(stored_lines(tmp_path)) == sorted([*FIRST, *SECOND])
