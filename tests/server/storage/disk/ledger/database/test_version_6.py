"""What version 6 of the ledger records of logs and segments, and how ledgers from before it are read and migrated."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from logferry.errors import DamagedLedger
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.database import file_format as ledger_format
from logferry.server.storage.records import LogRow, SegmentRow

OLD = SegmentRow(7, "web-1/app.log/2024-01-15-1.ndjson", 9, 1, 3, "closed")


@pytest.fixture
def version_5(tmp_path: Path) -> Path:
    """A data folder with a ledger of version 5 that has a segment."""
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as database:
        for step in ledger_format._STEPS[:5]:
            for statement in step:
                database.execute(statement)
        values = (OLD.id, OLD.path, OLD.bytes, OLD.lines, OLD.crc32, OLD.state)
        database.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?)", values)
        database.execute("INSERT INTO unsynced VALUES (1, 7, 0, x'00')")
        database.commit()
        database.executescript("PRAGMA user_version = 5")
    return tmp_path


def test_segments_of_version_5_are_read_as_they_are(version_5: Path) -> None:
    before = (version_5 / "ledger.sqlite3").read_bytes()
    with closing(Ledger(version_5, durable=False, read_only=True)) as ledger:
        assert ledger.version == 5
        assert ledger.segments() == [OLD] == [ledger.segment(7)]
        assert ledger.checked_segments(after=0, limit=9) == [(OLD, 0)]
        assert ledger.unsynced_segments() == (1, [OLD])
        assert ledger.wrong_values() == []
    assert (version_5 / "ledger.sqlite3").read_bytes() == before


def test_segments_of_version_5_keep_what_they_have_and_get_no_log(version_5: Path) -> None:
    with closing(Ledger(version_5, durable=True)) as ledger:
        assert ledger.version == 6
        assert ledger.segments() == [OLD]
        assert ledger.logs() == []
        with ledger.transaction():
            log = ledger.add_log("web-1/var/log/app.log", "", "web-1", "/var/log/app.log")
            row = ledger.add_segment(f"{log.folder}/2024-01-15-1.ndjson", log=log.id)
        assert ledger.segments() == [OLD, SegmentRow(8, row.path, log=log.id)]


def test_a_log_is_found_by_what_it_has_lines_of_and_by_its_folder(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        with ledger.transaction():
            log = ledger.add_log("team/web-1/app.log", "team", "web-1", "/app.log")
        assert log == LogRow(1, "team/web-1/app.log", "team", "web-1", "/app.log")
        assert ledger.find_log("team", "web-1", "/app.log") == log == ledger.log_in("team/web-1/app.log")
        assert ledger.find_log("", "web-1", "/app.log") is None
        assert ledger.logs() == [log]


def test_no_two_logs_have_one_folder_and_no_log_has_two(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        with ledger.transaction():
            ledger.add_log("a/b", "", "a", "/b")
        for values in (("a/b", "", "a", "/c"), ("a/c", "", "a", "/b")):
            with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
                ledger.add_log(*values)


def test_a_segment_keeps_how_it_is_compressed(tmp_path: Path) -> None:
    row = OLD._replace(id=1, log=3, compression="gzip", stored_bytes=5)
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        with ledger.transaction():
            ledger.add_known_segment(row)
        assert ledger.segments() == [row]
        with ledger.transaction():
            ledger.set_segment(OLD._replace(id=1, bytes=10))
        assert ledger.segment(1) == row._replace(bytes=10), "only how much it holds, and its state, change"


def test_what_helps_to_read_a_segment_is_forgotten_with_it(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        for table in ("times", "members"):
            ledger._database.execute(f"INSERT INTO {table} VALUES (1, 0, x''), (1, 5, x''), (2, 0, x''), (3, 0, x'')")
        with ledger.transaction():
            ledger.add_segment("web-1/app.log/2024-01-15-1.ndjson")
            ledger.drop_segments(iter([1]))
            ledger.drop_indexes(iter([3]))
        for table in ("times", "members"):
            assert ledger._query(f"SELECT segment FROM {table}") == [(2,)]
        assert ledger.segments() == []


@pytest.mark.parametrize(
    "forgery",
    [
        "UPDATE segments SET log = ''",
        "UPDATE segments SET log = -1",
        "UPDATE segments SET compression = 'lzma'",
        "UPDATE segments SET compression = x''",
        "UPDATE segments SET stored_bytes = -1",
    ],
)
def test_a_segment_with_a_value_that_no_store_has_written_is_not_used(tmp_path: Path, forgery: str) -> None:
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        with ledger.transaction():
            ledger.add_known_segment(OLD)
        ledger._database.execute(forgery)
        assert ledger.wrong_values() == ["1 rows of the table segments have values that no store has written"]
        with pytest.raises(DamagedLedger, match="segment 1 has values that no store has written"):
            ledger.segments()


@pytest.mark.parametrize("folder", ["../x", "a/../b", "a", "/a/b", "a//b", "a/b/", "a/.b", "", "/".join("x" * 27)])
def test_a_log_with_a_folder_that_no_store_has_made_is_not_used(tmp_path: Path, folder: str) -> None:
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        with ledger.transaction():
            ledger.add_log(folder, "", "a", "/b")
        with pytest.raises(DamagedLedger, match="log 1 has values that no store has written"):
            ledger.logs()


@pytest.mark.parametrize("table", ["logs", "times", "members"])
def test_fsck_finds_forged_rows_of_each_table(tmp_path: Path, table: str) -> None:
    rows = {"logs": "(1, 'a/b', x'', 'a', '/b')", "times": "(1, -5, x'')", "members": "(1, 0, 'text')"}
    with closing(Ledger(tmp_path, durable=True)) as ledger:
        ledger._database.execute(f"INSERT INTO {table} VALUES {rows[table]}")
        assert ledger.wrong_values() == [f"1 rows of the table {table} have values that no store has written"]
