"""The ledger alone: recorded data stays, half a transaction does not, and other files are refused."""

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.database import file_format as ledger_format
from logferry.server.storage.disk.ledger.database.file_format import migrate
from logferry.server.storage.records import ExtentRow, LossRow, SourceRow, WindowRow


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger."""
    opened = Ledger(tmp_path, durable=True)
    yield opened
    opened.close()


EXTENT = ExtentRow(0, 100, 3, 77, segment=1, position=0, bytes=210)
SOURCE = SourceRow("s1", "web-1", "/var/log/app.log")


def test_a_source_comes_back_with_its_position_and_its_last_extent(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.add_sources([SOURCE])
        ledger.set_sources([SOURCE._replace(committed=200, lines=6, crc32=99, owner="c")])
        ledger.set_extents([("s1", EXTENT)])
        ledger.set_extents([("s1", EXTENT._replace(start=100, end=200))])
    assert ledger.source("s1") == SOURCE._replace(
        committed=200, lines=6, crc32=99, last=EXTENT._replace(start=100, end=200)
    )
    assert ledger.source("s2") is None


def test_an_extent_of_the_same_start_is_replaced(ledger: Ledger) -> None:
    longer = EXTENT._replace(end=300, lines=9, bytes=700, crc32=5)
    with ledger.transaction():
        ledger.set_extents([("s1", EXTENT)])
        ledger.set_extents([("s1", longer)])
    assert ledger.extents("s1", after=0, limit=10) == [longer]


def test_extents_come_in_order_from_an_offset_on(ledger: Ledger) -> None:
    extents = [EXTENT._replace(start=100 * n, end=100 * n + 100) for n in range(5)]
    with ledger.transaction():
        for extent in reversed(extents):
            ledger.set_extents([("s1", extent)])
    assert ledger.extents("s1", after=100, limit=3) == extents[1:4]


def test_a_loss_is_kept_once_however_often_it_is_reported(ledger: Ledger) -> None:
    with ledger.transaction():
        for reason in ("cut", "cut", "truncated"):
            ledger.add_loss(LossRow("s1", 5, 9, reason))
    assert [loss.reason for loss in ledger.losses("s1", limit=10)] == ["cut", "truncated"]


def test_the_work_for_a_loss_does_not_grow_with_the_losses_of_the_same_start(ledger: Ledger) -> None:
    """Counted in the steps of SQLite's virtual machine, of which a scan of the losses would need some for each."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    def steps_for(ends: range) -> int:
        nonlocal steps
        steps = 0
        for end in ends:
            ledger.add_loss(LossRow("s1", 0, end, "cut"))
        return steps

    with ledger.transaction():
        ledger._database.set_progress_handler(count, 10)
        first = steps_for(range(1, 200))
        steps_for(range(200, 3000))
        assert steps_for(range(3000, 3200)) < 2 * first


def test_segments_come_by_state_and_by_number(ledger: Ledger) -> None:
    with ledger.transaction():
        rows = [ledger.add_segment(f"{folder}/2024-01-15-1.ndjson") for folder in ("h/a", "h/a.log", "h/a0", "h2/a")]
        ledger.set_segment(rows[1]._replace(state="closed", bytes=7, lines=1, crc32=3))
    assert ledger.segments("closed") == [rows[1]._replace(state="closed", bytes=7, lines=1, crc32=3)]
    assert [row.path for row in ledger.segments("open")] == [rows[n].path for n in (0, 2, 3)]
    assert ledger.segment(rows[3].id) == rows[3]
    assert ledger.segment(99) is None


def test_half_a_transaction_leaves_nothing(ledger: Ledger) -> None:
    class Stop(Exception):
        pass

    def half() -> None:
        with ledger.transaction():
            ledger.add_sources([SOURCE])
            raise Stop

    with pytest.raises(Stop):
        half()
    assert ledger.source("s1") is None
    assert ledger.is_empty


def test_an_error_of_the_database_is_an_oserror_that_names_the_file(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.add_sources([SOURCE])

    def add_again() -> None:
        with ledger.transaction():
            ledger.add_segment("h/a/2024-01-15-1.ndjson")
            ledger.add_sources([SOURCE])

    with pytest.raises(OSError, match="UNIQUE") as caught:
        add_again()
    assert caught.value.filename == str(ledger.path)
    assert ledger.segments() == []


def test_a_transaction_within_another_one_is_a_part_of_it(ledger: Ledger) -> None:
    def fail_after_the_inner_one() -> None:
        with ledger.transaction():
            with ledger.transaction():
                ledger.add_sources([SOURCE])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_the_inner_one()
    assert ledger.is_empty


def test_a_reader_sees_what_is_committed_while_the_writer_works(tmp_path: Path, ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.add_sources([SOURCE])
    reader = Ledger(tmp_path, durable=False, read_only=True)
    with ledger.transaction():
        ledger.set_sources([SOURCE._replace(committed=5)])
        assert reader.source("s1") == SOURCE
    found = reader.source("s1")
    assert found
    assert found.committed == 5
    reader.close()


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 1)], ids=["FULL", "NORMAL"])
def test_what_is_durable_is_synced_at_each_commit(tmp_path: Path, durable: bool, level: int) -> None:
    ledger = Ledger(tmp_path, durable=durable)
    assert ledger._query("PRAGMA synchronous") == [(level,)]
    assert ledger._query("PRAGMA journal_mode") == [("wal",)]
    ledger.close()


def test_a_file_that_is_not_a_ledger_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes(b"this is not a database, however long it may be" * 100)
    with pytest.raises(StoreError, match=r"the ledger .* is damaged: .*not a database.*`logferry fsck --rebuild`"):
        Ledger(tmp_path, durable=True)


def test_a_ledger_of_another_version_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE something_new (id); PRAGMA user_version = 7;")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="its version is 7, and this server reads versions 1 to 6"):
        Ledger(tmp_path, durable=True)
    assert path.read_bytes() == before


VERSION_1 = """
CREATE TABLE sources (
    id TEXT PRIMARY KEY, client TEXT NOT NULL, host TEXT NOT NULL, path TEXT NOT NULL,
    committed INTEGER NOT NULL, lines INTEGER NOT NULL, crc32 INTEGER NOT NULL, opened_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE segments (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL, lines INTEGER NOT NULL, crc32 INTEGER NOT NULL, state TEXT NOT NULL
);
CREATE TABLE extents (
    source TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, lines INTEGER NOT NULL, crc32 INTEGER NOT NULL,
    segment INTEGER NOT NULL, position INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (source, start)
) WITHOUT ROWID;
CREATE TABLE losses (
    source TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, reason TEXT NOT NULL, noted_at REAL NOT NULL
);
CREATE INDEX losses_of_source ON losses (source, start);
INSERT INTO sources VALUES ('s1', 'c', 'web-1', '/var/log/app.log', 200, 6, 99, 1.5);
PRAGMA user_version = 1;
"""
UNSYNCED_OF_VERSION_1 = """
CREATE TABLE unsynced (
    id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, position INTEGER NOT NULL, data BLOB NOT NULL
);
INSERT INTO unsynced VALUES (4, 7, 0, 'x');
"""


@pytest.fixture(params=["", UNSYNCED_OF_VERSION_1], ids=["the first of version 1", "version 1"])
def unsynced_of_version_1(request: pytest.FixtureRequest, tmp_path: Path) -> int:
    """A ledger of version 1, without an id of the store; the first ones had no table of unsynced bytes either.

    Returns the last id in that table.
    """
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as database:
        database.executescript(VERSION_1 + request.param)
    return 4 if request.param else 0


def test_a_ledger_of_version_1_is_migrated_and_gets_an_id(tmp_path: Path, unsynced_of_version_1: int) -> None:
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        assert ledger.source("s1") == SOURCE._replace(committed=200, lines=6, crc32=99, owner="c")
        assert ledger.unsynced_segments()[0] == unsynced_of_version_1
        store_id = ledger.store_id
    assert len(store_id) == 16
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        assert ledger.store_id == store_id


MORE_OF_VERSION_3 = """
CREATE TABLE store (id TEXT NOT NULL);
INSERT INTO store VALUES ('0123456789abcdef');
CREATE TABLE damage (
    source TEXT NOT NULL, start INTEGER NOT NULL, segment INTEGER NOT NULL, PRIMARY KEY (source, start)
) WITHOUT ROWID;
CREATE TABLE checks (segment INTEGER PRIMARY KEY, checked_at REAL NOT NULL);
INSERT INTO losses VALUES ('s1', 10, 20, 'truncated', 1.5), ('s1', 10, 20, 'truncated', 2.5);
PRAGMA user_version = 3;
"""


def test_a_ledger_of_version_3_keeps_its_losses_and_takes_windows(tmp_path: Path) -> None:
    window = WindowRow("s1", 200, 1_000, 2_000, "it is gone")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as database:
        database.executescript(VERSION_1 + UNSYNCED_OF_VERSION_1 + MORE_OF_VERSION_3)
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        assert ledger.store_id == "0123456789abcdef"
        assert ledger.losses("s1", limit=10) == [LossRow("s1", 10, 20, "truncated")]
        with ledger.transaction():
            assert [ledger.add_window(window), ledger.add_window(window)] == [True, False]
            ledger.add_loss(LossRow("s1", 20, 30, "not asked for", is_lost=False))
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        assert ledger.windows("s1", limit=10) == [window]
        assert [loss.is_lost for loss in ledger.losses("s1", limit=10)] == [True, False]


@pytest.mark.usefixtures("unsynced_of_version_1")
def test_a_reader_reads_a_ledger_of_version_1_and_does_not_change_it(tmp_path: Path) -> None:
    before = (tmp_path / "ledger.sqlite3").read_bytes()
    with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
        assert ledger.source("s1") == SOURCE._replace(committed=200, lines=6, crc32=99, owner="c")
    assert (tmp_path / "ledger.sqlite3").read_bytes() == before


@pytest.mark.usefixtures("unsynced_of_version_1")
def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with closing(sqlite3.connect(path)) as database:
        database.executescript("CREATE TABLE store (something_else)")  # so that the migration cannot create its own
    with pytest.raises(StoreError, match="cannot open the ledger"):
        Ledger(tmp_path, durable=True)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("SELECT committed FROM sources").fetchall() == [(200,)]


@pytest.mark.usefixtures("unsynced_of_version_1")
def test_a_migration_that_finds_no_room_advises_to_make_room_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_disk(database: sqlite3.Connection, version: int) -> None:
        database.execute("PRAGMA max_page_count = 1")
        migrate(database, version)

    monkeypatch.setattr("logferry.server.storage.disk.ledger.database.database.migrate", on_a_full_disk)
    with pytest.raises(StoreError, match=r"disk is full.*It is as it was: do not move or restore it") as refusal:
        Ledger(tmp_path, durable=True)
    assert "rebuild" not in str(refusal.value)


def test_a_copy_of_a_ledger_has_the_id_of_its_store_and_a_new_ledger_another(tmp_path: Path, ledger: Ledger) -> None:
    copy, new = tmp_path / "copy", tmp_path / "new"
    new.mkdir()
    store_id = ledger.store_id
    ledger.close()
    copy.mkdir()
    shutil.copy(ledger.path, copy)
    with closing(Ledger(copy, durable=True)) as copied, closing(Ledger(new, durable=True)) as another:
        assert copied.store_id == store_id != another.store_id


def test_a_full_disk_is_reported_as_the_system_reports_it(ledger: Ledger) -> None:
    ledger._database.execute("PRAGMA max_page_count = 1")  # no fewer than there are: the next new page is one too many

    def add_many_extents() -> None:
        with ledger.transaction():
            for number in range(1000):
                ledger.set_extents([(f"s{number}", EXTENT)])

    with pytest.raises(OSError, match="No space left on device") as caught:
        add_many_extents()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(ledger.path)
    assert ledger.extents("s1", after=0, limit=1) == [], "nothing is changed then"


def test_of_equal_losses_the_migration_keeps_the_one_that_is_lost(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as database:
        database.executescript(VERSION_1 + UNSYNCED_OF_VERSION_1 + MORE_OF_VERSION_3)
        for step in ledger_format._STEPS[3]:
            database.execute(step)
        database.execute("UPDATE losses SET is_lost = 0 WHERE rowid = 1")
        database.executescript("PRAGMA user_version = 4")
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        assert [loss.is_lost for loss in ledger.losses("s1", limit=10)] == [True]


def test_a_loss_that_was_recorded_as_skipped_is_lost_once_it_is_reported_so(ledger: Ledger) -> None:
    with ledger.transaction():
        for is_lost in (False, True, False):
            ledger.add_loss(LossRow("s1", 5, 9, "cut", is_lost=is_lost))
    assert [loss.is_lost for loss in ledger.losses("s1", limit=10)] == [True]
