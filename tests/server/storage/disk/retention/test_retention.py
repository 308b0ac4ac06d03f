"""Retention deletes segments that are too old or exceed the size limit, and no others."""

import datetime
import errno
import os
import random
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.journals.journal import journal_path
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.retention import kept_segments
from logferry.server.storage.disk.retention.kept_segments import KeptSegments
from logferry.server.storage.disk.retention.retention import Retention
from logferry.server.storage.records import SegmentRow
from tests.support.delivery import LINES
from tests.support.running import stored_lines, wait_until
from tests.support.stores import (
    LOG,
    MONDAY,
    SIZE,
    FailingFiles,
    Stored,
    delivery,
    names,
    opened,
    parts_of,
    problems,
    segments_of,
    submit_each,
)

SUPPRESSED = re.compile(r"^\.\.\. ([0-9]+) more segments that retention deleted in .* were not logged$")


@pytest.fixture(autouse=True)
def journal_sizes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The sizes that journals have for retention, by the names of their segments; others have none.

    The real ones are larger than the segments of these tests, and are written by a thread of their own.
    """
    sizes: dict[str, int] = {}
    monkeypatch.setattr(kept_segments, "journal_bytes", lambda segment: sizes.get(segment.name, 0))
    return sizes


def test_retention_by_size_deletes_the_oldest_closed_segments(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=3 * SIZE, retention_bytes=8 * SIZE) as store:
        for line in LINES[10:22]:
            store.submit(delivery(line), Stored())
    assert stored_lines(tmp_path) == LINES[16:22]
    assert problems(tmp_path) == ["", ""]
    assert states(tmp_path) == ["expired", "expired", "closed", "open"]


class CountingFiles(FileSystem):
    """Notes where each deletion of a segment came between what the store reports as stored."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.deleted: list[int] = []  # for each, how many deliveries were stored before it
        self.waits_for: Callable[[], object] = lambda: True

    def delete(self, path: Path) -> None:
        if path.suffix == ".ndjson":
            self.deleted.append(len(self.stored.deliveries))
            if len(self.deleted) > 16:
                wait_until(self.waits_for, "the test goes on")
        super().delete(path)


def filled(data_dir: Path, segments: int) -> None:
    """Fill a store with this many closed segments, and one that is open."""
    with opened(data_dir, segment_bytes=SIZE, durability="none") as store:
        submit_each(store, (LINES * 2)[: segments + 1], Stored())


def test_segments_that_expire_together_are_deleted_in_steps_and_lines_are_stored_between_them(tmp_path: Path) -> None:
    filled(tmp_path, 100)
    stored = Stored()
    files = CountingFiles(stored)
    is_submitted = threading.Event()
    files.waits_for = is_submitted.is_set
    with opened(tmp_path, segment_bytes=1 << 20, retention_bytes=SIZE, file_system=files) as store:
        store.submit(delivery(LINES[0]), stored)
        is_submitted.set()
        wait_until(lambda: len(files.deleted) == 100, "all are deleted, though only one line was stored meanwhile")
        wait_until(lambda: stored.deliveries, "the line is stored")
    assert files.deleted.count(0) <= 2 * 16
    assert states(tmp_path)[:100] == ["expired"] * 100


def test_a_store_that_ends_before_everything_expired_is_deleted_does_not_wait_for_that(tmp_path: Path) -> None:
    filled(tmp_path, 100)
    files, running = CountingFiles(Stored()), list[DiskStore]()
    files.waits_for = lambda: running and parts_of(running[0]).writer._worker.is_stopping
    with opened(tmp_path, segment_bytes=1 << 20, retention_bytes=SIZE, file_system=files) as store:
        running.append(store)
    assert 16 <= len(files.deleted) <= 32
    assert len(segments_of(tmp_path)) == 101 - len(files.deleted)
    with opened(tmp_path, segment_bytes=1 << 20):  # without a limit: they are expired already
        wait_until(lambda: len(segments_of(tmp_path)) == 1, "the next start goes on")
    assert problems(tmp_path) == [""]


def test_many_expired_segments_do_not_keep_a_store_from_opening(tmp_path: Path) -> None:
    filled(tmp_path, 100)
    with closing(Ledger(tmp_path, durable=True)) as ledger, ledger.transaction():
        ledger._query("UPDATE segments SET state = 'expired' WHERE id <= 100")
    files = CountingFiles(Stored())
    in_time = threading.Event()
    files.waits_for = in_time.is_set
    with opened(tmp_path, segment_bytes=1 << 20, file_system=files) as store:
        assert parts_of(store).recovery.segments_deleted == 100
        assert len(files.deleted) <= 17
        in_time.set()


class FullUntilDeleted(CountingFiles):
    """A disk, or a quota, without room for a line while not all of a hundred segments are deleted."""

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
        if len(self.deleted) < 100:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        return super().write(descriptor, pieces)


def test_what_has_expired_is_deleted_while_the_disk_takes_no_line(tmp_path: Path) -> None:
    """It is what fills the disk: the line would wait for ever, and so would the deletions behind it."""
    filled(tmp_path, 100)
    with closing(Ledger(tmp_path, durable=True)) as ledger, ledger.transaction():
        ledger._query("UPDATE segments SET state = 'expired' WHERE id <= 100")
    stored, is_submitted = Stored(), threading.Event()
    files = FullUntilDeleted(stored)
    files.waits_for = is_submitted.is_set
    with opened(tmp_path, segment_bytes=1 << 20, file_system=files) as store:
        store.submit(delivery(LINES[0]), stored)
        is_submitted.set()
        wait_until(lambda: stored.deliveries, "the line is stored")
    assert problems(tmp_path) == [""]


def states(data_dir: Path) -> list[str]:
    ledger = Ledger(data_dir, durable=False, read_only=True)
    found: list[str] = [row.state for row in ledger.segments()]
    ledger.close()
    return found


def test_what_has_expired_is_deleted_although_the_ledger_can_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be what makes room for the ledger; otherwise the writer would try again for ever."""

    def full(*_: object) -> KeptSegments:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Retention, "_up_to_date", full)
    unused: Any = None
    retention = Retention(tmp_path, unused, FileSystem(), max_bytes=1, max_days=0)
    paths = [tmp_path / f"2024-01-15-{number}.ndjson" for number in range(1, 40)]
    for path in paths:
        path.write_bytes(b"x\n")
        row: Any = SimpleNamespace(path=path.name, lines=1, compression="")
        retention.undeleted.append(row)
    begun: Any = SimpleNamespace(segments_begun=1, forget_folders=lambda _: None)
    for _ in paths:
        if retention.has_more:
            with pytest.raises(OSError, match="No space"):
                retention.apply(MONDAY, begun, 0)
    assert not any(path.exists() for path in paths)
    assert not retention.has_more


def test_segments_of_exactly_the_limit_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=3 * SIZE) as store:
        submit_each(store, LINES[10:22], Stored())
    assert states(tmp_path) == ["closed", "closed", "closed", "open"]
    with opened(tmp_path, retention_bytes=9 * SIZE):
        pass
    assert states(tmp_path) == ["expired", "closed", "closed", "open"]


def test_a_limit_of_bytes_alone_keeps_segments_of_any_age(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=3 * SIZE) as store:
        submit_each(store, LINES[10:22], Stored())
    with opened(tmp_path, retention_bytes=12 * SIZE, today=lambda: MONDAY + datetime.timedelta(5000)):
        pass
    assert states(tmp_path) == ["closed"] * 4


def test_a_store_that_closes_logs_how_many_deletions_it_did_not_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with opened(tmp_path, segment_bytes=SIZE) as store:
        submit_each(store, LINES[10:42], Stored())
    with opened(tmp_path, retention_bytes=SIZE):
        pass
    assert states(tmp_path) == ["expired"] * 31 + ["open"]
    logged = [message for message in caplog.messages if message.startswith("retention: deleted")]
    suppressed = [int(found[1]) for found in map(SUPPRESSED.search, caplog.messages) if found]
    assert len(logged) + sum(suppressed) == 31


def test_retention_never_deletes_the_segment_that_is_open(tmp_path: Path) -> None:
    for start in (0, 2):
        with opened(tmp_path, retention_bytes=1) as store:
            store.submit(delivery(*LINES[start : start + 2]), Stored())
    assert stored_lines(tmp_path) == LINES[:4]


def test_retention_by_days_closes_and_deletes_segments_of_quiet_logs(tmp_path: Path) -> None:
    days = [MONDAY + datetime.timedelta(n) for n in (0, 1, 2, 3)]
    quiet = LOG._replace(host="quiet")
    stored = Stored()
    today = [MONDAY]
    with opened(tmp_path, retention_days=1, today=lambda: today[0]) as store:
        store.submit(delivery(LINES[0], log=quiet), stored)
        for day, line in zip(days, LINES[1:5], strict=True):
            today[0] = day
            submit_each(store, [line], stored)
    assert names(tmp_path) == ["10.0.0.7/plain/2024-01-17-1.ndjson", "10.0.0.7/plain/2024-01-18-1.ndjson"]
    assert problems(tmp_path) == ["", ""]


def test_a_failed_deletion_is_repeated_at_the_next_roll(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored = Stored()
    files = FailingFiles(delete=[errno.EROFS])
    with opened(tmp_path, file_system=files, segment_bytes=3 * SIZE, retention_bytes=8 * SIZE) as store:
        submit_each(store, LINES[10:24], stored)
    assert stored_lines(tmp_path) == LINES[16:24]
    assert len([m for m in caplog.messages if m.startswith("cannot delete expired segments")]) == 1


def test_the_limit_of_bytes_counts_segments_with_their_journals(tmp_path: Path, journal_sizes: dict[str, int]) -> None:
    journal_sizes.update({"2024-01-15-2.ndjson": 2 * SIZE, "2024-01-15-4.ndjson": SIZE})
    with opened(tmp_path, segment_bytes=3 * SIZE) as store:
        submit_each(store, LINES[10:22], Stored())  # 3, 3 + 2, 3 and 3 + 1 lines
    for limit, expired in ((15, 0), (14, 1), (11, 2), (6, 3)):
        with opened(tmp_path, retention_bytes=limit * SIZE):
            pass
        assert states(tmp_path).count("expired") == expired


def test_the_journal_of_a_closed_segment_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(segment: Path) -> int:
        looked.append(segment.name)
        return 1

    monkeypatch.setattr(kept_segments, "journal_bytes", look)
    with opened(tmp_path, segment_bytes=SIZE, retention_bytes=100 * SIZE) as store:
        submit_each(store, LINES[10:30], Stored())
    assert len(looked) <= 2 * 20  # once open, once closed
    monkeypatch.undo()
    segment = tmp_path / "1.ndjson"
    assert kept_segments.journal_bytes(segment) == 0
    journal_path(segment).write_bytes(b"12345")
    assert kept_segments.journal_bytes(segment) == 5


def test_a_closed_segment_that_gets_its_journal_later_is_looked_at_again(
    tmp_path: Path, journal_sizes: dict[str, int]
) -> None:
    with closing(Ledger(tmp_path, durable=False)) as ledger:
        ledger.add_known_segment(SegmentRow(0, "web-1/app.log/2024-01-15-1.ndjson", 10, state="closed"))
        kept = KeptSegments(tmp_path, ledger, by_age=True, by_day=True)
        for now, expected in ((0, 10), (5, 15), (7, 15)):
            journal_sizes["2024-01-15-1.ndjson"] = now
            kept.look()
            assert kept.bytes == expected


def test_what_retention_counts_is_what_the_ledger_has(tmp_path: Path) -> None:
    choose = random.Random(5)
    today = [MONDAY]
    limits: dict[str, Any] = {"retention_bytes": 14 * SIZE, "retention_days": 2}
    with opened(tmp_path, segment_bytes=3 * SIZE, today=lambda: today[0], **limits) as store:
        for number in range(60):
            log = LOG._replace(host=choose.choice(("a", "b", "c")))
            stored = Stored()
            lines = LINES[number : number + choose.randrange(1, 3)]
            store.submit(delivery(*lines, log=log), stored)
            wait_until(lambda stored=stored: bool(stored.deliveries), "it is stored")  # type: ignore[misc]
            today[0] += datetime.timedelta(choose.random() < 0.1)
        settled = Stored()
        store.submit(delivery(LINES[0]), settled)
        wait_until(lambda: bool(settled.deliveries), "what came before is over")
        parts = parts_of(store)
        assert parts.retention._kept
    with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
        rows = ledger.segments("open", "closed")
    parts.retention._kept.bytes += parts.commit.counters.bytes_stored - parts.retention._counted_bytes
    assert sum(row.bytes for row in rows) == parts.retention._kept.bytes
    assert 5 * SIZE < sum(row.bytes for row in rows) <= 14 * SIZE + 3 * 3 * SIZE


def test_a_new_segment_costs_the_same_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    checked = Ledger._segment

    def counting(self: Ledger, values: Sequence[Any]) -> SegmentRow:
        looked.append(values[0])
        return checked(self, values)

    def listing(folder: object) -> list[str]:
        raise AssertionError(f"{folder} is listed")

    monkeypatch.setattr(Ledger, "_segment", counting)
    monkeypatch.setattr(kept_segments, "journal_bytes", lambda _: 1)
    costs: list[int] = []
    with opened(tmp_path, segment_bytes=SIZE, retention_bytes=1000 * SIZE, retention_days=9) as store:
        submit_each(store, LINES[:1], Stored())
        monkeypatch.setattr(os, "listdir", listing)
        for _ in range(6):
            looked.clear()
            submit_each(store, LINES[1:11], Stored())
            costs.append(len(looked))
        monkeypatch.undo()
    assert max(costs) <= costs[0] + 5
    assert len(segments_of(tmp_path)) == 61


def test_journal_and_surplus_of_a_segment_go_with_the_segment(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path, segment_bytes=3 * SIZE) as store:
        submit_each(store, LINES[10:15], Stored())
    last = sorted(tmp_path.glob("segments/**/*.ndjson"))[-1]
    last.write_bytes(last.read_bytes() + b"surplus")
    with opened(tmp_path, segment_bytes=3 * SIZE) as store:
        assert list(tmp_path.rglob("*.surplus-*"))
        assert "1 files of surplus with 7 bytes lie beside segments" in caplog.text
        (tree := tmp_path / "segments" / "identity" / "host" / "log").mkdir(parents=True)
        (tree / "2024-01-01-1.ndjson.surplus-1-0").write_bytes(b"more")
        submit_each(store, LINES[15:20], Stored())
    caplog.set_level("INFO")
    with opened(tmp_path, retention_bytes=3 * SIZE):
        assert "2 files of surplus with 11 bytes lie beside segments" in caplog.text
        assert f"retention: deleted {last}, 3 lines, and 7 bytes of surplus beside it" in caplog.text
        assert not last.exists()
        assert not list(tmp_path.rglob(f"{last.name}.*"))


def test_new_limits_act_although_nothing_is_stored_any_more(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=3 * SIZE) as store:
        submit_each(store, LINES[10:22], Stored())
        store.change_limits(segment_bytes=3 * SIZE, retention_bytes=8 * SIZE, retention_days=0)
        wait_until(lambda: len(names(tmp_path)) < 8, "retention has deleted segments")
        wait_until(lambda: states(tmp_path) == ["expired", "expired", "closed", "open"], "two are left")


def test_retention_deletes_what_belongs_to_a_segment_and_nothing_else(tmp_path: Path) -> None:
    """An operator's copy beside a segment is not the store's, and a folder in its place stops nobody."""
    with opened(tmp_path, segment_bytes=3 * SIZE) as store:
        submit_each(store, LINES[10:22], Stored())
    first, second = segments_of(tmp_path)[:2]
    own = [first.with_name(first.name + end) for end in (".surplus-1-7", ".surplus-2-7.unacked", ".journal.kept-3")]
    others = [first.with_name(first.name + end) for end in (".gz", ".surplus", ".journal.old")]
    for path in (*own, *others):
        path.write_bytes(b"x")
    folders = [first.with_name(f"{first.name}.old"), second.with_name(f"{second.name}.surplus-1-7")]
    for folder in folders:
        folder.mkdir()
    with opened(tmp_path, retention_bytes=3 * SIZE):
        pass
    assert states(tmp_path)[:2] == ["expired", "expired"]
    assert [path.exists() for path in (first, second, *own, *others, *folders)] == [False] * 5 + [True] * 5
    with opened(tmp_path) as store:
        submit_each(store, LINES[22:24], Stored())
