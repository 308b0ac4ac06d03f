"""How far a source counts as stored, by what journals say about it: never beyond what may be missing."""

import tracemalloc
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry import checksum
from logferry.server.storage.disk.journals.journal import Journal
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.entering import Entering, Gap
from logferry.server.storage.loss_limits import REASON
from logferry.server.storage.records import SegmentRow

LINE = b'{"message": "x"}\n'
CRC32 = zlib.crc32(LINE)

SOURCE: list[Any] = ["s", "s1", "client", "web-1", "/var/log/app.log"]


def extent(number: int) -> list[Any]:
    """Return the entry of an extent of a line, in each ten bytes of the file."""
    return ["e", "s1", number * 10, number * 10 + 10, 1, CRC32, number * len(LINE), len(LINE)]


def loss(start: int, end: int, reason: str = "it was gone") -> list[Any]:
    """Return the entry of a loss of these tens of bytes."""
    return ["l", "s1", start * 10, end * 10, reason, 1]


def state(tens: int, lines: int) -> list[Any]:
    """Return the entry that says how far the source is stored."""
    crc32 = 0
    for _ in range(lines):
        crc32 = checksum.joined(crc32, CRC32, len(LINE))
    return ["p", "s1", tens * 10, lines, crc32]


def enter(folder: Path, *entries: list[Any]) -> tuple[int, int, list[Gap]]:
    """Return how far the source is stored, with how many lines, and the gaps."""
    with closing(Ledger(folder, durable=False)) as ledger, ledger.transaction():
        segment = ledger.add_known_segment(SegmentRow(0, "web-1/app.log/2024-01-15-1.ndjson", 1 << 30))
        entering = Entering(ledger)
        entering.add(segment, Journal.of([SOURCE, *entries]))
        gaps = list(entering.finish())
        row = ledger.source("s1")
        assert row is not None
        return row.committed, row.lines, gaps


def test_a_source_is_stored_up_to_the_first_gap(tmp_path: Path) -> None:
    found = enter(tmp_path, extent(0), loss(1, 2), extent(2), extent(4), state(5, 4))
    assert found == (30, 2, [Gap("/var/log/app.log", 30, 40)])


def test_a_row_of_several_losses_covers_what_is_between_them_if_all_lines_are_there(tmp_path: Path) -> None:
    entries = [extent(0), loss(1, 6, REASON), extent(2), extent(4), state(6, 3), extent(6)]
    assert enter(tmp_path, *entries) == (70, 4, [])


def test_of_lines_that_are_in_two_segments_the_ledger_has_each_range_once(tmp_path: Path) -> None:
    """Behind a gap, a client stores again what is there; then the ledger is lost once more."""
    again = [["e", "s1", 10, 35, 3, CRC32, 500, 3 * len(LINE)], ["e", "s1", 35, 50, 1, CRC32, 600, len(LINE)]]
    entries = [extent(0), *(extent(number) for number in range(2, 5)), *again, extent(5)]
    assert enter(tmp_path, *entries) == (60, 6, [])
    with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
        ranges = [(row.start, row.end) for row in ledger.extents("s1", after=0, limit=100)]
    assert ranges == [(0, 10), (10, 35), (35, 50), (50, 60)]


@pytest.mark.parametrize("missing", [2, 4], ids=["the first extent", "another extent"])
def test_a_row_of_several_losses_hides_no_gap(tmp_path: Path, missing: int) -> None:
    """The client would be told that lines are stored which no journal and no segment has."""
    extents = [extent(number) for number in (2, 4) if number != missing]
    found = enter(tmp_path, extent(0), loss(1, 6, REASON), *extents, extent(6), state(7, 4))
    assert found == (10, 1, [Gap("/var/log/app.log", 10, 60 if not extents else extents[0][2])])


def test_a_row_of_several_losses_without_a_count_of_lines_covers_nothing(tmp_path: Path) -> None:
    assert enter(tmp_path, extent(0), loss(1, 6, REASON), extent(2))[:2] == (10, 1)


def test_the_extents_of_a_source_are_not_held_in_memory_together(tmp_path: Path) -> None:
    count = 20_000
    with closing(Ledger(tmp_path, durable=False)) as ledger, ledger.transaction():
        segment = ledger.add_known_segment(SegmentRow(0, "web-1/app.log/2024-01-15-1.ndjson", 1 << 30))
        entering = Entering(ledger)
        for first in range(0, count, 1000):
            entering.add(segment, Journal.of([SOURCE, *(extent(number) for number in range(first, first + 1000))]))
        tracemalloc.start()
        try:
            assert list(entering.finish()) == []
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        row = ledger.source("s1")
    assert row is not None
    assert (row.committed, row.lines) == (count * 10, count)
    assert most < 100 * count
