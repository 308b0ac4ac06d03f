"""What retention leaves in the ledger becomes less, and a report says the same as before."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logferry import checksum
from logferry.server.storage.disk.integrity.source_report import report
from logferry.server.storage.disk.journals.journal import journal_path
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.retention import expired_rows
from logferry.server.storage.disk.retention.expired_rows import (
    MAX_JOINED_BYTES,
    PAUSE_OF_WALKS_S,
    PAUSE_S,
    ExpiredRows,
    RecentReports,
)
from logferry.server.storage.records import ExtentRow, SegmentRow, SourceRow

NDJSON = [b'{"n": %d}\n' % number for number in range(100)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger."""
    with closing(Ledger(tmp_path, durable=False)) as opened_ledger:
        yield opened_ledger


class Walk:
    """A walk with a clock that a test holds in its hands."""

    def __init__(self, data_dir: Path, ledger: Ledger) -> None:
        self.now = -PAUSE_OF_WALKS_S
        self.recent = RecentReports(monotonic=lambda: self.now)
        self._rows = ExpiredRows(data_dir / "segments", ledger, self.recent, monotonic=lambda: self.now)
        self._rows.forget_some()  # too early
        self.now = 0.0

    def pages(self, count: int = 50) -> None:
        """Look at pages, with the pauses between them."""
        for _ in range(count):
            self._rows.forget_some()
            self._rows.forget_some()  # too early: does nothing
            self.now += PAUSE_S


def fill(ledger: Ledger, *, folder: str = "h/log", source: str = "s1", segments: int = 6, kept: int = 2) -> None:
    """Record a source with an extent of two lines in each of its segments; all but the last `kept` are expired."""
    with ledger.transaction():
        ledger.add_sources([SourceRow(source, "h", "/log", committed=20 * segments, lines=2 * segments, owner="c")])
        for number in range(segments):
            content = b"".join(NDJSON[2 * number : 2 * number + 2])
            state = "closed" if number >= segments - kept else "expired"
            crc32 = checksum.crc32(content)
            row = SegmentRow(0, f"{folder}/2024-01-15-{number + 1}.ndjson", len(content), 2, crc32)
            row = ledger.add_known_segment(row._replace(state=state))  # type: ignore[arg-type]
            ledger.set_extents([(source, ExtentRow(20 * number, 20 * number + 20, 2, crc32, row.id, 0, len(content)))])


def extents(ledger: Ledger, source: str = "s1") -> list[tuple[int, int, int]]:
    return [(row.start, row.end, row.lines) for row in ledger.extents(source, after=0, limit=1000)]


def numbers(ledger: Ledger, folder: str = "h/log") -> list[int]:
    paths = [row.path for row in ledger.segments() if row.path.startswith(f"{folder}/")]
    return [int(path.rpartition("-")[2].removesuffix(".ndjson")) for path in paths]


@pytest.mark.parametrize("page_rows", [3, 7, 1000])
def test_extents_of_deleted_segments_become_one_and_the_segments_are_forgotten(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, page_rows: int
) -> None:
    monkeypatch.setattr(expired_rows, "PAGE_ROWS", page_rows)
    fill(ledger)
    fill(ledger, folder="h/other", source="s2", segments=4, kept=0)
    Walk(tmp_path, ledger).pages()
    assert extents(ledger) == [(0, 80, 8), (80, 100, 2), (100, 120, 2)]
    assert extents(ledger, "s2") == [(0, 80, 8)]
    assert numbers(ledger) == [1, 5, 6]  # the first has the name to which the joined extent refers
    assert numbers(ledger, "h/other") == [1, 4]  # and the name of the last must not come again
    joined = ledger.extents("s2", after=0, limit=1)[0]
    assert (joined.bytes, joined.crc32) == (len(b"".join(NDJSON[:8])), checksum.crc32(b"".join(NDJSON[:8])))
    page = report(tmp_path, "s2", after=0)
    assert [(extent.state, extent.lines) for extent in page.extents] == [("expired", 8)]
    assert (page.is_known, page.committed, page.lines) == (True, 80, 8)


def test_what_lies_between_deleted_extents_stays_between_them(tmp_path: Path, ledger: Ledger) -> None:
    """A loss is not stored, so nothing may say that it was."""
    fill(ledger, kept=0)
    with ledger.transaction():
        ledger.drop_extents([("s1", 40)])
    Walk(tmp_path, ledger).pages()
    assert extents(ledger) == [(0, 40, 4), (60, 120, 6)]


def test_an_extent_that_is_joined_has_a_bound(tmp_path: Path, ledger: Ledger) -> None:
    fill(ledger, kept=0)
    with ledger.transaction():
        for source, row, _ in ledger.extents_from(("", 0), limit=100):
            ledger.set_extents([(source, row._replace(bytes=MAX_JOINED_BYTES // 2))])
    Walk(tmp_path, ledger).pages()
    assert extents(ledger) == [(0, 40, 4), (40, 80, 4), (80, 120, 4)]


def test_nothing_changes_while_somebody_reads_a_report(tmp_path: Path, ledger: Ledger) -> None:
    """Its next page begins where the last one ended."""
    fill(ledger, kept=0)
    walk = Walk(tmp_path, ledger)
    walk.recent.note("s1")
    walk.pages(20)
    assert len(extents(ledger)) == 6
    walk.pages(100)
    assert len(extents(ledger)) == 1


def test_when_too_many_reports_are_read_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired_rows, "_MAX_REPORTS", 2)
    recent = RecentReports(monotonic=lambda: 1000.0)
    recent.note("s1")
    recent.note("s2")
    assert not recent.has("s3")
    recent.note("s4")
    assert all(map(recent.has, ("s1", "s3", "s4")))


def test_a_segment_whose_file_is_still_there_is_not_forgotten(tmp_path: Path, ledger: Ledger) -> None:
    """The next start would take it for one that the ledger has lost."""
    fill(ledger, segments=6, kept=0)
    folder = tmp_path / "segments" / "h" / "log"
    folder.mkdir(parents=True)
    (folder / "2024-01-15-3.ndjson").write_bytes(b"")
    journal_path(folder / "2024-01-15-4.ndjson").write_bytes(b"")
    Walk(tmp_path, ledger).pages()
    assert numbers(ledger) == [1, 3, 4, 6]


def test_a_store_without_deleted_segments_is_not_walked_through(tmp_path: Path, ledger: Ledger) -> None:
    fill(ledger, kept=6)
    asked: list[object] = []
    ledger.extents_from = lambda *_, **__: asked.append(1) or []  # type: ignore[method-assign, func-returns-value]
    Walk(tmp_path, ledger).pages()
    assert asked == []
