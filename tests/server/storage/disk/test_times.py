"""The time index of a store: what is in the ledger after lines were stored, segments were closed, and disks failed."""

import datetime
import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from logferry import speedups
from logferry.model.event_times import LOCAL, NO_TIMES, UNREAD_TIMES
from logferry.reading.times.time_index import indexed_ranges
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry
from tests.support.delivery import DeliveryClient, batch
from tests.support.running import running_server, wait_until
from tests.support.stores import MONDAY, FailingFiles, Stored, delivery, opened, problems

NOON = 1_705_320_000_000
LINE = b'{"level": "INFO", "message": "%s", "timestamp": null}\n' % (b"x" * 948)


@pytest.fixture
def now() -> list[int]:
    """The time, which a test changes."""
    return [NOON]


def store_lines(store: DiskStore, *event_times: int) -> None:
    """Store a line of 1000 bytes for each event time, in a group of its own."""
    stored = Stored()
    for count, time in enumerate(event_times):
        line = delivery(LINE)
        line.times = (LOCAL, time, time)
        store.submit(line, stored)
        wait_until(lambda count=count: len(stored.deliveries) > count, "the line is stored")  # type: ignore[misc]


def entries(data_dir: Path, segment: int = 1) -> list[TimeEntry]:
    """Return the entries of a segment with lines."""
    with closing(Ledger(data_dir, durable=False, read_only=True)) as ledger:
        return [entry for entry in ledger.times_of(segment) if entry.times != NO_TIMES]


def test_a_line_has_a_range_of_receipt_and_of_event_times(tmp_path: Path, now: list[int]) -> None:
    with opened(tmp_path, now_ms=lambda: now[0]) as store:
        store_lines(store, NOON - 9, NOON - 3)
        now[0] += 30_000
        store_lines(store, NOON - 5)
        now[0] += 1000
        store_lines(store, NOON + 1)
    size = len(LINE)
    assert entries(tmp_path) == [
        TimeEntry(size, NOON, (LOCAL, NOON - 9, NOON - 9)),
        TimeEntry(2 * size, NOON, (LOCAL, NOON - 3, NOON - 3)),
        TimeEntry(3 * size, NOON + 30_000, (LOCAL, NOON - 5, NOON - 5)),
        TimeEntry(4 * size, NOON + 31_000, (LOCAL, NOON + 1, NOON + 1)),  # the store was closed
    ]
    with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
        ranges = indexed_ranges(4 * size, ledger.times_of(1))
    assert [(each.received_from, each.received_to) for each in ranges] == [
        *((NOON, NOON), (NOON, NOON), (NOON, NOON + 30_000), (NOON + 30_000, NOON + 31_000)),
    ]


def test_a_segment_that_is_full_ends_with_an_entry(tmp_path: Path, now: list[int]) -> None:
    with opened(tmp_path, now_ms=lambda: now[0], segment_bytes=2 * len(LINE)) as store:
        store_lines(store, NOON, NOON, NOON)
        assert [entry.position for entry in entries(tmp_path)] == [len(LINE), 2 * len(LINE)]
    assert [entry.position for entry in entries(tmp_path, 2)] == [len(LINE)]


def test_a_segment_of_an_earlier_day_ends_with_an_entry_of_when_its_lines_came(tmp_path: Path, now: list[int]) -> None:
    today = [MONDAY]
    with opened(tmp_path, now_ms=lambda: now[0], today=lambda: today[0], retention_days=9) as store:
        store_lines(store, NOON)
        now[0] += 86_400_000
        today[0] += datetime.timedelta(1)
        store.submit(delivery(), Stored())  # wakes the writer
        wait_until(lambda: bool(entries(tmp_path)), "the segment is closed")
        assert [(entry.position, entry.received) for entry in entries(tmp_path)] == [(len(LINE), NOON)]


def test_deleted_segments_have_no_entries(tmp_path: Path, now: list[int]) -> None:
    with opened(tmp_path, now_ms=lambda: now[0], segment_bytes=len(LINE), retention_bytes=2 * len(LINE)) as store:
        store_lines(store, *[NOON] * 5)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as database:
        kept = {row for (row,) in database.execute("SELECT id FROM segments WHERE state != 'expired'")}
        assert {row for (row,) in database.execute("SELECT segment FROM times")} <= kept


def test_after_a_restart_entries_go_on(tmp_path: Path, now: list[int]) -> None:
    for _ in range(3):
        with opened(tmp_path, now_ms=lambda: now[0]) as store:
            store_lines(store, NOON)
            now[0] += 1000
    assert [(entry.position // len(LINE), entry.received - NOON) for entry in entries(tmp_path)] == [
        *((1, 0), (2, 1000), (3, 2000)),
    ]
    assert problems(tmp_path) == [""]


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_a_disk_that_refuses_a_group_leaves_no_entry_for_it(operation: str, tmp_path: Path, now: list[int]) -> None:
    files = FailingFiles()
    with opened(tmp_path, now_ms=lambda: now[0], file_system=files) as store:
        for number in range(4):
            files.failures[operation] = [errno.ENOSPC] * (number % 2)
            store_lines(store, now[0])
            now[0] += 30_000
    assert [entry.position // len(LINE) for entry in entries(tmp_path)] == [1, 2, 3, 4]
    assert problems(tmp_path) == [""]


def test_lines_that_were_not_judged_here_have_unknown_times(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.submit(delivery(LINE), Stored())
    assert [entry.times for entry in entries(tmp_path)] == [UNREAD_TIMES]


@pytest.mark.skipif(speedups.compiled is None, reason="the compiled part is not built: the times are unknown")
def test_a_server_finds_the_event_times_of_what_clients_ship(tmp_path: Path) -> None:
    lines = [LINE.replace(b"null", b'"2024-01-15 12:00:%02d"' % second) for second in (7, 3, 5)]
    with running_server(tmp_path) as server, DeliveryClient(server, source="s1") as client:
        client.send(batch(lines, start=0))
        client.answer_after_alive()
    assert [entry.times for entry in entries(server.data_dir)] == [(LOCAL, NOON + 3000, NOON + 7000)]


def damage(data_dir: Path, change: str) -> list[str]:
    """Change the ledger with SQL; return what fsck says then."""
    with closing(sqlite3.connect(data_dir / "ledger.sqlite3")) as database, database:
        database.execute(change)
    return [finding.problem for finding in fsck(data_dir) if finding.problem]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("UPDATE times SET data = x'ff'", "its time index is damaged (a number does not end)"),
        ("UPDATE times SET data = x'00000000'", "its time index is damaged (its positions do not rise)"),
        ("INSERT INTO times VALUES (1, 5, x'00')", "its time index is damaged (its rows overlap)"),
        ("INSERT INTO times VALUES (1, 9999, x'00')", "its time index ends at byte 9999, beyond its lines"),
    ],
)
def test_fsck_finds_entries_that_are_damaged_and_readers_do_without(change: str, problem: str, tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, NOON)
    (found,) = damage(tmp_path, change)
    assert found.startswith(problem)
    with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
        ranges = indexed_ranges(len(LINE), ledger.times_of(1))
    assert ranges[-1].end == len(LINE)


def test_a_value_of_another_type_is_damage_too(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, NOON)
    assert any("times" in problem for problem in damage(tmp_path, "UPDATE times SET data = 'text'"))
    assert entries(tmp_path) == []


def test_absurd_event_times_are_kept(tmp_path: Path, now: list[int]) -> None:
    with opened(tmp_path, now_ms=lambda: now[0], segment_bytes=10 * len(LINE)) as store:
        store_lines(store, -62_135_596_800_000, 253_402_300_799_999)
    absurd = [-62_135_596_800_000, 253_402_300_799_999]
    assert [entry.times for entry in entries(tmp_path)] == [(LOCAL, time, time) for time in absurd]
