"""The store without a network: layout, rolling, recovery, and disks that refuse."""

import datetime
import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry import folder_lock
from logferry.errors import StoreError
from logferry.server.storage.deliveries import Delivery
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files import data_lock
from logferry.server.storage.disk.files.file_system import IOV_MAX, FileSystem
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.opening import DiskStoreSettings
from logferry.server.storage.log_names import LogName
from logferry.server.storage.store import StoreState
from tests.support.running import DEADLINE_S, numbered_line, stored_lines, wait_until
from tests.support.stores import (
    LINES,
    MONDAY,
    FailingFiles,
    FewNames,
    NoNames,
    Stored,
    delivery,
    in_one_group,
    names,
    opened,
    parts_of,
    problems,
    small_disk,
    submit_each,
)

# --- layout and rolling


def test_lines_land_in_the_folder_of_their_log_in_the_order_of_submitting(tmp_path: Path) -> None:
    stored = Stored()
    other = LogName("10.0.0.8", "")
    with opened(tmp_path) as store:
        for first, second in zip(LINES[:50], LINES[50:], strict=True):
            store.submit(delivery(first), stored)
            store.submit(delivery(second, log=other), stored)
    assert names(tmp_path) == ["10.0.0.7/plain/2024-01-15-1.ndjson", "10.0.0.8/plain/2024-01-15-1.ndjson"]
    assert stored_lines(tmp_path) == LINES
    assert len(stored.deliveries) == 100


def test_a_delivery_of_more_pieces_than_the_system_takes_at_once_is_written_whole(tmp_path: Path) -> None:
    lines = [numbered_line(number) for number in range(2 * IOV_MAX + 3)]
    with opened(tmp_path) as store:
        store.submit(delivery(*lines), Stored())
    assert stored_lines(tmp_path) == lines


def test_a_segment_rolls_before_a_delivery_that_would_make_it_too_large(tmp_path: Path) -> None:
    size = len(LINES[0])
    with opened(tmp_path, segment_bytes=3 * size) as store:
        for line in LINES[:10]:
            store.submit(delivery(line), Stored())
    paths = sorted(tmp_path.glob("segments/**/*.ndjson"))
    assert [path.name for path in paths] == [f"2024-01-15-{number}.ndjson" for number in (1, 2, 3, 4)]
    assert [path.stat().st_size for path in paths] == [3 * size, 3 * size, 3 * size, size]
    assert stored_lines(tmp_path) == LINES[:10]


def test_a_delivery_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=200) as store:
        store.submit(delivery(LINES[0]), Stored())
        store.submit(delivery(*LINES[1:10]), Stored())
        store.submit(delivery(LINES[10]), Stored())
    assert [len(path.read_bytes().splitlines()) for path in sorted(tmp_path.glob("segments/**/*.ndjson"))] == [1, 9, 1]


def test_the_tenth_segment_of_a_day_follows_the_ninth(tmp_path: Path) -> None:
    for line in LINES[:12]:  # each time a new store must find the last one
        with opened(tmp_path, segment_bytes=1) as store:
            store.submit(delivery(line), Stored())
    assert stored_lines(tmp_path) == LINES[:12]
    assert "10.0.0.7/plain/2024-01-15-12.ndjson" in names(tmp_path)


def test_a_new_day_begins_a_new_segment_and_a_clock_set_back_does_not(tmp_path: Path) -> None:
    days = [MONDAY, MONDAY, MONDAY + datetime.timedelta(1), MONDAY]
    stored = Stored()
    with opened(tmp_path, today=lambda: days[len(stored.deliveries)]) as store:
        submit_each(store, LINES[:4], stored)
        days.append(MONDAY)
    assert names(tmp_path) == ["10.0.0.7/plain/2024-01-15-1.ndjson", "10.0.0.7/plain/2024-01-16-1.ndjson"]
    assert stored_lines(tmp_path) == LINES[:4]


def test_more_logs_than_may_be_open_are_all_stored(tmp_path: Path) -> None:
    stored = Stored()
    with opened(tmp_path, max_open_segments=3) as store:
        for turn in range(4):
            for number in range(10):
                store.submit(delivery(numbered_line(turn), log=LogName(f"host{number}", "")), stored)
        wait_until(lambda: len(stored.deliveries) == 40, "all are stored")
        assert len(parts_of(store).segments.opened._open) <= 3
    assert stored_lines(tmp_path) == [numbered_line(turn) for turn in range(4)] * 10


def test_a_removed_segment_is_not_written_to_again(tmp_path: Path) -> None:
    stored = Stored()
    with opened(tmp_path) as store:
        submit_each(store, LINES[:1], stored)
        next(tmp_path.glob("segments/**/*.ndjson")).unlink()
        submit_each(store, LINES[1:2], stored)
    assert stored_lines(tmp_path) == LINES[1:2]


# --- what a crash leaves


def test_new_files_and_folders_are_synced_before_anybody_gets_an_ack(tmp_path: Path) -> None:
    synced: list[str] = []
    stored = Stored()

    class Recording(FileSystem):
        def sync(self, descriptor: int) -> None:
            assert not stored.deliveries
            synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
            super().sync(descriptor)

        def sync_folder(self, path: Path) -> None:
            assert not stored.deliveries
            synced.append(path.name)
            super().sync_folder(path)

    with opened(tmp_path / "data", file_system=Recording()) as store:
        store.submit(delivery(LINES[0]), stored)
        wait_until(lambda: stored.deliveries, "the line is stored")
    assert sorted(synced) == ["10.0.0.7", "2024-01-15-1.ndjson", "data", "plain", "segments"]


MANY = [LogName("10.0.0.7", f"app-{number}.log") for number in range(100)]


@pytest.fixture
def much_is_written_to_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make writes to many segments count as large, so that they are synced with their group, not later."""
    monkeypatch.setattr("logferry.server.storage.disk.segments.pending_appends._LITTLE_BYTES", 1)


@pytest.mark.usefixtures("much_is_written_to_each")
def test_many_files_of_a_group_are_all_synced_before_anybody_gets_an_ack(tmp_path: Path) -> None:
    synced: list[str] = []
    stored = Stored()

    class Recording(FileSystem):
        def sync(self, descriptor: int) -> None:
            super().sync(descriptor)
            assert not stored.deliveries
            synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent.name)

    with opened(tmp_path / "data", file_system=Recording()) as store:
        with in_one_group(store):
            for log, line in zip(MANY, LINES, strict=True):
                store.submit(delivery(line, log=log), stored)
        wait_until(lambda: len(stored.deliveries) == len(MANY), "all is stored")
        assert (store.health().counters.groups, store.health().counters.syncs) == (1, len(MANY))
    assert sorted(synced) == sorted(log.path for log in MANY)


@pytest.mark.usefixtures("much_is_written_to_each")
@pytest.mark.parametrize("operation", ["sync", "sync_folder"])
def test_one_of_many_files_that_is_not_synced_holds_back_the_group_and_all_of_it_is_stored_once(
    tmp_path: Path, operation: str
) -> None:
    stored = Stored()
    files = FailingFiles(**{operation: [0] * 50 + [errno.EIO] + [0] * 30 + [errno.ENOSPC]})
    with opened(tmp_path, file_system=files) as store:
        with in_one_group(store):
            for log, line in zip(MANY, LINES, strict=True):
                store.submit(delivery(line, log=log), stored)
        wait_until(lambda: len(stored.deliveries) == len(MANY), "all is stored")
    assert not files.failures[operation]
    assert sorted(stored_lines(tmp_path)) == sorted(LINES)


def test_durability_os_syncs_nothing(tmp_path: Path) -> None:
    class NoSync(FileSystem):
        def sync(self, descriptor: int) -> None:
            raise AssertionError("synced")

        def sync_folder(self, path: Path) -> None:
            raise AssertionError("synced")

    with opened(tmp_path, durability="os", file_system=NoSync(), segment_bytes=200) as store:
        for line in LINES:
            store.submit(delivery(line), Stored())
    assert stored_lines(tmp_path) == LINES


# --- the lock


def test_the_folder_belongs_to_one_server_and_the_error_names_it(tmp_path: Path) -> None:
    with (
        opened(tmp_path),
        pytest.raises(StoreError, match=rf"another server \(process {os.getpid()}\)"),
        opened(tmp_path),
    ):
        pass
    with opened(tmp_path):
        pass  # free again


def test_an_impossible_data_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(StoreError, match=r"cannot use the data folder .*/file/data: .*Not a directory"),
        opened(tmp_path / "file" / "data"),
    ):
        pass


# --- disks that refuse


OPERATIONS = ["make_folder", "open_for_append", "write", "sync", "sync_folder"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE])
def test_when_the_disk_refuses_for_a_while_every_line_is_stored_once(
    tmp_path: Path, operation: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    stored = Stored()
    caplog.set_level("INFO")
    files = FailingFiles(**{operation: [code] * 4})
    with opened(tmp_path, file_system=files, segment_bytes=500) as store:
        for line in LINES:
            store.submit(delivery(line), stored)
        wait_until(lambda: len(stored.deliveries) == 100, "all is stored")
    assert stored_lines(tmp_path) == LINES
    assert [m for m in caplog.messages if m.startswith("cannot write")] == [caplog.messages[0]]
    assert os.strerror(code) in caplog.messages[0]
    assert str(tmp_path) in caplog.messages[0]
    assert "holding back acks" in caplog.messages[0]
    assert len([m for m in caplog.messages if m.startswith("writing to")]) == 1


def test_nothing_half_written_stays_while_the_disk_refuses(tmp_path: Path) -> None:
    stored = Stored()
    files = FailingFiles()
    with opened(tmp_path, file_system=files) as store:
        submit_each(store, LINES[:3], stored)
        may_go_on = threading.Event()
        seen: list[list[bytes]] = []

        def look(code: int = 0) -> int:
            seen.append(stored_lines(tmp_path))  # after the undo, before the next attempt
            return code

        original = files.truncate

        def truncate(path: Path | int, size: int) -> None:
            original(path, size)
            look()
            may_go_on.set()

        files.truncate = truncate  # type: ignore[method-assign]
        files.failures["write"] = [errno.ENOSPC]
        store.submit(delivery(*LINES[3:6]), stored)
        assert may_go_on.wait(DEADLINE_S)
        wait_until(lambda: len(stored.deliveries) == 4, "the rest is stored")
    assert seen == [LINES[:3]]
    assert stored_lines(tmp_path) == LINES[:6]


def test_a_truncation_that_fails_too_is_repeated_before_anything_is_written(tmp_path: Path) -> None:
    stored = Stored()
    files = FailingFiles(write=[errno.ENOSPC, errno.EIO], truncate=[errno.EIO, errno.EIO])
    with opened(tmp_path, file_system=files) as store:
        store.submit(delivery(*LINES), stored)
        wait_until(lambda: stored.deliveries, "all is stored")
    assert stored_lines(tmp_path) == LINES


def test_after_a_failed_sync_the_lines_are_written_again_not_only_synced_again(tmp_path: Path) -> None:
    """The system may have dropped the pages, and reports that only once."""
    writes: list[int] = []

    class Counting(FailingFiles):
        def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
            writes.append(sum(map(len, pieces)))
            return super().write(descriptor, pieces)

    with opened(tmp_path, file_system=Counting(sync=[errno.EIO])) as store:
        store.submit(delivery(*LINES), Stored())
    assert writes == [sum(map(len, LINES))] * 2
    assert stored_lines(tmp_path) == LINES


def test_short_writes_are_continued(tmp_path: Path) -> None:
    class Short(FileSystem):
        def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
            return os.write(descriptor, b"".join(pieces)[:7])

    with opened(tmp_path, file_system=Short()) as store:
        store.submit(delivery(*LINES[:20]), Stored())
    assert stored_lines(tmp_path) == LINES[:20]


def test_a_stop_while_the_disk_refuses_reports_how_many_lines_are_not_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stored = Stored()
    files = FailingFiles()
    with opened(tmp_path, file_system=files) as store:
        submit_each(store, LINES[:10], stored)
        files.failures["write"] = [errno.ENOSPC] * 1_000_000
        for line in LINES[10:]:
            store.submit(delivery(line), stored)
        wait_until(lambda: store.health().state is StoreState.STALLED, "the disk refuses")
        assert store.close(0.05) == 90
    assert stored_lines(tmp_path) == LINES[:10]
    assert stored.lines == LINES[:10]
    assert "shutting down with 90 unacknowledged lines; their clients will resend them" in caplog.text


@settings(deadline=None, max_examples=60)
@given(
    actions=st.lists(
        st.one_of(
            st.tuples(st.just("deliver"), st.integers(1, 4)),
            st.tuples(
                st.sampled_from(["write", "sync", "truncate", "open_for_append", "sync_folder"]), st.integers(1, 3)
            ),
        ),
        max_size=30,
    )
)
def test_whatever_fails_in_whatever_order_each_line_is_stored_once(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, int]]
) -> None:
    files, stored, number = FailingFiles(), Stored(), 0
    data_dir = tmp_path_factory.mktemp("data")
    with opened(data_dir, file_system=files, segment_bytes=300, first_retry_s=0.0001) as store:
        for action, count in actions:
            if action == "deliver":
                store.submit(delivery(*[numbered_line(number + n) for n in range(count)]), stored)
                number += count
            else:
                files.failures.setdefault(action, []).extend([errno.EIO] * count)
    assert stored_lines(data_dir) == [numbered_line(n) for n in range(number)] == stored.lines


def test_a_full_disk_loses_and_repeats_nothing(tmp_path: Path) -> None:
    stored = Stored()
    lines = [numbered_line(number) for number in range(40_000)]  # 3 MB for a disk of 2 MB
    with small_disk(tmp_path / "disk", megabytes=2) as disk, opened(disk / "data", first_retry_s=0.2) as store:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1024 * 1024))
        for start in range(0, 20_000, 100):
            store.submit(delivery(*lines[start : start + 100]), stored)
        wait_until(lambda: store.health().state is StoreState.STALLED, "the disk is full")
        assert stored_lines(disk / "data") == lines[: len(stored_lines(disk / "data"))]
        ballast.unlink()
        wait_until(lambda: len(stored.lines) == 20_000, "all is stored")
        assert store.health().state is StoreState.STORING
        assert stored_lines(disk / "data") == lines[:20_000]


def test_an_empty_delivery_keeps_its_place_and_creates_no_file(tmp_path: Path) -> None:
    stored = Stored()
    with opened(tmp_path) as store:
        store.submit(delivery(), stored)
        wait_until(lambda: stored.deliveries, "the empty delivery has come back")
    assert not (tmp_path / "segments").exists()
    assert store.health().counters.syncs == 0


def test_a_ledger_that_refuses_for_a_while_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(errno.ENOSPC, "database or disk is full")] * 3
    original = Ledger.set_segments

    def failing(self: Ledger, rows: object) -> None:
        if failures:
            raise failures.pop()
        original(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "set_segments", failing)
    stored = Stored()
    with opened(tmp_path) as store:
        submit_each(store, LINES[:5], stored)
        assert store.health().counters.lines_stored == 5
    assert stored_lines(tmp_path) == LINES[:5]
    assert problems(tmp_path) == [""]
    assert len([m for m in caplog.messages if "holding back acks" in m]) == 1


def test_a_server_that_stops_while_its_ledger_refuses_acks_nothing_and_the_next_one_cuts_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "disk I/O error")

    stored = Stored()
    with opened(tmp_path) as store:
        submit_each(store, LINES[:1], stored)
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "set_segments", failing)
            store.submit(delivery(*LINES[1:4]), stored)
            assert store.close(0.05) == 3
    assert stored.lines == LINES[:1]
    with opened(tmp_path) as store:
        assert store.health().counters.recovered_bytes == sum(map(len, LINES[1:4]))
    assert stored_lines(tmp_path) == LINES[:1]


def test_a_store_that_could_not_be_opened_leaves_its_folder_to_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes(b"this is not a database, however long it may be" * 100)
    store = DiskStore(DiskStoreSettings(data_dir=tmp_path, durability="fsync", segment_bytes=1000))
    for _ in range(2):
        with pytest.raises(StoreError, match="is damaged: file is not a database"):
            store.open(lambda: None)
    assert store.health().state is StoreState.NEW
    (tmp_path / "ledger.sqlite3").unlink()
    store.open(lambda: None)
    assert store.close(DEADLINE_S) == 0


def test_a_disk_that_does_not_answer_does_not_keep_the_store_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("logferry.server.storage.disk.writing.writer.LAST_WAIT_S", 0.01)
    may_go_on = threading.Event()

    class Stuck(FileSystem):
        def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
            assert may_go_on.wait(DEADLINE_S)
            return super().write(descriptor, pieces)

    with opened(tmp_path, file_system=Stuck()) as store:
        store.submit(delivery(LINES[0]), Stored())
        wait_until(lambda: parts_of(store).writer.lines_in_queue() == 0, "the writer is busy with it")
        store.submit(delivery(*LINES[1:4]), Stored())
        assert store.close(0.01) == 3
        assert "does not answer; shutting down without it" in caplog.text
        with pytest.raises(StoreError, match="is using it"), opened(tmp_path):
            pass  # what the thread may still write is kept from others
        may_go_on.set()
        parts_of(store).writer._worker.wait_for_end(DEADLINE_S)
        parts_of(store).resources.close()


def test_a_group_has_a_bounded_number_of_deliveries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.server.storage.disk.writing.lanes.MAX_GROUP", 10)
    groups: list[int] = []

    def on_stored(group: Sequence[Delivery]) -> None:
        groups.append(len(group))

    with opened(tmp_path) as store:
        with in_one_group(store):
            for line in LINES[:25]:
                store.submit(delivery(line), on_stored)
        wait_until(lambda: sum(groups) == 25, "all is stored")
    assert groups == [10, 10, 5]
    assert stored_lines(tmp_path) == LINES[:25]


@pytest.mark.parametrize("has_folder", [False, True])
def test_without_inodes_only_what_needs_a_new_name_waits(tmp_path: Path, has_folder: bool) -> None:
    files, waiting, stored = NoNames(), Stored(), Stored()
    new, known = LogName("10.0.0.9", "new"), LogName("10.0.0.8", "known")
    with opened(tmp_path, file_system=files) as store:
        store.submit(delivery(LINES[0], log=known), stored)
        wait_until(lambda: stored.lines == LINES[:1], "the known log has a segment")
        if has_folder:
            (tmp_path / "segments" / new.host / new.path).mkdir(parents=True)
        files.is_full = True
        with in_one_group(store):
            store.submit(delivery(LINES[50], log=new), waiting)
            store.submit(delivery(LINES[1], log=known), stored)
        wait_until(lambda: stored.lines == LINES[:2], "the other log is stored")
        for number in range(2, 6):
            store.submit(delivery(LINES[49 + number], log=new), waiting)
            store.submit(delivery(LINES[number], log=known), stored)
            wait_until(lambda number=number: stored.lines == LINES[: number + 1], "the other log is stored")  # type: ignore[misc]
        assert waiting.lines == []
        files.is_full = False
        wait_until(lambda: waiting.lines == LINES[50:55], "what waited is stored, in its order")
    assert problems(tmp_path) == ["", ""]
    assert sorted(stored_lines(tmp_path)) == sorted([*LINES[:6], *LINES[50:55]])


def test_a_log_beside_another_one_needs_few_new_names(tmp_path: Path) -> None:
    """So that thousands of new files in one folder do not take more groups than before."""
    stored = Stored()
    logs = [LogName("web", f"/var/log/a/b/c/{number}.log") for number in range(2)]
    with opened(tmp_path) as store:
        opened_segments = parts_of(store).segments.opened
        assert [opened_segments.new_names(log) for log in logs] == [8, 8]
        store.submit(delivery(LINES[0], log=logs[0]), stored)
        wait_until(lambda: stored.lines == LINES[:1], "the first one is stored")
        assert [opened_segments.new_names(log) for log in logs] == [0, 2]


def test_a_log_for_which_there_are_too_few_names_takes_none_of_them(tmp_path: Path) -> None:
    """Its path may have twenty folders: half of them would take the room that another log needs."""
    deep, shallow = LogName("evil", "/x" * 20), LogName("web", "/app.log")
    stored, waiting = Stored(), Stored()
    with opened(tmp_path, file_system=FewNames(tmp_path / "segments", 15)) as store:
        with in_one_group(store):
            store.submit(delivery(LINES[0], log=deep), waiting)
            store.submit(delivery(LINES[1], log=shallow), stored)
        wait_until(lambda: stored.lines == LINES[1:2], "the log that needs few names is stored")
        assert waiting.lines == []
        wait_until(lambda: not (tmp_path / "segments" / "evil").exists(), "the folders of the other one are removed")
        store.close(0.01)


def test_what_still_waits_for_a_name_at_the_end_is_not_acked(tmp_path: Path) -> None:
    files, waiting = NoNames(), Stored()
    store = DiskStore(DiskStoreSettings(data_dir=tmp_path, durability="fsync", segment_bytes=1000), file_system=files)
    store.open(lambda: None)
    files.is_full = True
    store.submit(delivery(LINES[0]), waiting)
    wait_until(lambda: store.health().state is StoreState.STALLED, "nothing can be stored")
    assert store.close(0.01) == 1
    assert waiting.lines == []
    with opened(tmp_path) as store:
        store.submit(delivery(LINES[1]), waiting)
    assert stored_lines(tmp_path) == waiting.lines == LINES[1:2]


def test_a_store_that_stalls_for_another_reason_says_so(tmp_path: Path) -> None:
    """Rule E29: a client must not be told of a full disk that has become a broken one."""
    codes = [errno.ENOSPC] * 5 + [errno.EIO] * 10_000
    with opened(tmp_path, file_system=FailingFiles(write=codes)) as store:
        store.submit(delivery(LINES[10]), Stored())
        wait_until(lambda: store.health().reason == "Input/output error", "the reason is the present one")
        assert store.health().state is StoreState.STALLED
        codes.clear()
        wait_until(lambda: store.health().state is StoreState.STORING, "it stores again")
        assert store.health().reason == ""


def test_a_removed_lock_admits_no_second_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system does not show who has locked the folder: in another container."""
    monkeypatch.setattr(folder_lock, "_holders", lambda _: {})
    with opened(tmp_path):
        (tmp_path / "lock").unlink()
        assert data_lock.holder_of(tmp_path) == str(os.getpid())
        with pytest.raises(StoreError, match=f"process {os.getpid()}"), opened(tmp_path):
            pass
    with opened(tmp_path):
        assert [finding.path for finding in fsck(tmp_path) if finding.kind == "foreign"] == []
