"""Journals are completed at the start of a store, and what is in the way of that keeps no store from starting."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.journals import waiting_entries
from logferry.server.storage.disk.journals.journal import journal_path, total_entry
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import ExtentRow
from tests.server.storage.disk.integrity.test_repair import ship
from tests.server.storage.disk.journals.test_journals import give_own_journals
from tests.support.journals import read_journal
from tests.support.stores import SIZE, opened, parts_of, segments_of

# Their extents are more than SQLite sorts in memory.
MANY = 60_000


def sort_files() -> list[str]:
    """Return where this process has temporary files of SQLite open."""
    names = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return [os.readlink(name) for name in names if os.path.lexists(name) and "etilqs_" in os.readlink(name)]


def add_extents(data_dir: Path, count: int) -> None:
    with closing(Ledger(data_dir, durable=False)) as ledger, ledger.transaction():
        ledger.set_extents((f"source-{n}", ExtentRow(0, 10, 1, 7, n * 7919 % 1009, 0, 30)) for n in range(count))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_what_does_not_fit_into_memory_is_sorted_in_the_data_folder(tmp_path: Path) -> None:
    """A container whose file system is read-only has only this folder to write to."""
    with opened(tmp_path):
        pass
    add_extents(tmp_path, MANY)
    with closing(Ledger(tmp_path, durable=False)) as ledger:
        ledger._database.execute("PRAGMA cache_size = 10")
        rows = ledger.extents_by_segment(range(1009))
        next(rows)
        files = sort_files()
    assert files
    assert [os.path.dirname(name) for name in files] == [str(tmp_path)] * len(files)


def test_a_few_segments_are_completed_without_sorting_all_extents(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    add_extents(tmp_path, 3000)
    with closing(Ledger(tmp_path, durable=False)) as ledger:
        assert [extent.segment for _, extent in ledger.extents_by_segment({3, 5})] == [3, 3, 3, 5, 5, 5]
        statements: list[str] = []
        ledger._database.set_trace_callback(statements.append)
        list(ledger.extents_by_segment({3}))
    assert "segment IN (3)" in statements[0]


def test_a_ledger_that_cannot_be_sorted_keeps_no_store_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 14)
    journal_path(segments_of(tmp_path)[0]).unlink()

    def fail(self: Ledger, segments: Collection[int]) -> Iterator[tuple[str, ExtentRow]]:
        raise OSError(None, "disk I/O error", str(self.path))

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "extents_by_segment", fail)
        with opened(tmp_path) as store:
            ship(store, 10, 16)
    assert "cannot complete the journals of segments" in caplog.text
    with opened(tmp_path):
        assert behind(tmp_path) == []


def behind(data_dir: Path) -> list[Path]:
    """Return the segments whose journals lack extents or have another total than the ledger."""
    found = []
    with closing(Ledger(data_dir, durable=False, read_only=True)) as ledger:
        for row in ledger.segments("open", "closed"):
            path = data_dir / "segments" / row.path
            journal = read_journal(path)
            count = len(ledger.extents_in(row.id, after=("", -1), limit=1000))
            if not journal or journal.total != (row.bytes, row.lines, row.crc32) or len(journal.extents) != count:
                found.append(path)
    return found


def test_the_journal_of_a_closed_segment_that_is_behind_is_named_and_completed(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        for end in range(12, 22, 2):
            ship(store, 10, end)
    first, _ = segments_of(tmp_path)
    begin = journal_path(first).read_bytes().splitlines(keepends=True)[0]
    journal_path(first).write_bytes(begin + total_entry(0, 0, 0))
    assert behind(tmp_path) == [first]
    assert [finding.path for finding in fsck(tmp_path) if finding.note] == [
        first.relative_to(tmp_path / "segments").as_posix()
    ]
    with opened(tmp_path):
        assert behind(tmp_path) == []
    assert not [finding for finding in fsck(tmp_path) if finding.note]


@pytest.mark.parametrize("times", [1, 4])
def test_what_a_journal_did_not_take_is_written_with_the_next_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Each failed write has written a part; the last one may be that of a segment which is closed then."""
    left = [0]

    def write(descriptor: int, data: bytes, write: Callable[[int, bytes], int] = os.write) -> int:
        if b'["e",' not in data or not left[0]:
            return write(descriptor, data)
        left[0] -= 1
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", write)
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 12)
        left[0] = 1000
        for end in range(14, 14 + 2 * times, 2):
            ship(store, 10, end)
        left[0] = 0
        ship(store, 10, 30)
    assert behind(tmp_path) == []
    found = read_journal(segments_of(tmp_path)[0])
    assert found
    assert not found.damaged_lines


def test_a_journal_that_has_waited_too_long_stays_behind_until_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_entries, "_MAX_UNWRITTEN", 1)
    with opened(tmp_path) as store:
        ship(store, 10, 12)
        give_own_journals(store)
        journal = journal_path(segments_of(tmp_path)[0])
        content = journal.read_bytes()
        journal.unlink()
        journal.mkdir()
        parts_of(store).commit._journals._own.forget(1)
        ship(store, 10, 14)
        journal.rmdir()
        journal.write_bytes(content)
        ship(store, 10, 16)
        assert behind(tmp_path)
    with opened(tmp_path):
        assert behind(tmp_path) == []
