"""Journals are completed at the start of a store, and what is in the way of that keeps no store from starting."""

import os
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logferry.server.storage.disk.journal import journal_path, journal_total
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import ExtentRow
from tests.server.storage.disk.test_repair import ship
from tests.support.stores import SIZE, opened, segments_of

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
        assert journal_total(segments_of(tmp_path)[0])
