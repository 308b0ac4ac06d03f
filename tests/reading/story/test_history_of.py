"""The story of a place is found in the ledger and in the segments."""

import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from logferry.cli.dispatch import main
from logferry.reading.story.history import History, Kind
from logferry.reading.story.history_of import history_at
from logferry.server.storage.disk.integrity.damaged_folder import DamagedFolder
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.tables.starts import MOST_STARTS, StartRow
from logferry.server.storage.records import DamageRow, ExtentRow, LossRow, SourceRow, WindowRow
from tests.support.looking import clock, line, looking
from tests.support.stores import opened

SEGMENT = "web-1/app.log/2024-01-15-1.ndjson"
_FIRST = [line(f"order {number} paid", clock(number)) for number in range(1, 5)]
_SECOND = [line(f"order {number} paid", clock(number)) for number in range(8, 10)]


def extent(lines: Sequence[bytes], start: int, end: int, segment: int, position: int) -> ExtentRow:
    data = b"".join(lines)
    return ExtentRow(start, end, len(lines), zlib.crc32(data), segment, position, len(data))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Make a store with two sources of a file: orders 1 to 4 in two extents, and 8 to 9 after a truncation."""
    path = tmp_path / "segments" / SEGMENT
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(_FIRST + _SECOND))
    with closing(Ledger(tmp_path, durable=False)) as ledger, ledger.transaction():
        segment = ledger.add_segment(SEGMENT)
        half, whole = len(b"".join(_FIRST[:2])), len(b"".join(_FIRST))
        rows = [extent(_FIRST[:2], 0, 100, segment.id, 0), extent(_FIRST[2:], 100, 200, segment.id, half)]
        other = extent(_SECOND, 0, 90, segment.id, whole)
        ledger.add_sources([SourceRow("s1", "web-1", "/srv/app.log", 200, 4, 0, owner="c1")])
        ledger.add_sources([SourceRow("s2", "web-1", "/srv/app.log", 90, 2, 0, owner="c1")])
        ledger.set_extents([*(("s1", row) for row in rows), ("s2", other)])
        data = path.read_bytes()
        ledger.set_segments([segment._replace(bytes=len(data), lines=6, crc32=zlib.crc32(data))])
    return tmp_path


def history(data_dir: Path, text: str = "", at: int | None = None) -> History:
    with looking(data_dir) as stored:
        (log,) = stored.logs()
        return history_at(data_dir, stored, log, text=text, at=at)


def change(data_dir: Path, make: Callable[[Ledger], object]) -> None:
    with closing(Ledger(data_dir, durable=False)) as ledger, ledger.transaction():
        make(ledger)


def kinds(found: History) -> list[Kind]:
    return [each.kind for each in found.happenings]


def test_a_stored_line_is_found_with_its_bytes_and_number(data_dir: Path) -> None:
    found = history(data_dir, "order 4")
    assert found.line is not None
    assert (found.line.text, found.line.source, found.line.client) == ("order 4 paid", "s1", "c1")
    assert (found.line.start, found.line.end, found.line.number) == (100, 200, 4)
    assert (found.line.segment, found.line.position) == (SEGMENT, len(b"".join(_FIRST[:3])))
    assert (found.checked.extents, found.checked.problems) == (1, [])
    assert found.happenings == []


def test_a_line_that_is_not_stored_lies_between_the_next_numbers(data_dir: Path) -> None:
    change(data_dir, lambda ledger: ledger.add_window(WindowRow("s1", 200, 1000, 2000, "it was truncated")))
    found = history(data_dir, "order 6 paid")
    assert found.line is None
    assert found.before is not None
    assert found.after is not None
    assert (found.before.text, found.before.number) == ("order 4 paid", 4)
    assert (found.after.text, found.after.number) == ("order 8 paid", 1)
    assert sorted(kinds(found), key=str) == [Kind.NEW_SOURCE, Kind.WINDOW]
    assert found.checked.extents == 2


def test_a_number_is_not_found_within_a_longer_one(data_dir: Path) -> None:
    assert history(data_dir, "order 0").line is None
    assert history(data_dir, "rder 9").line is not None


def test_a_time_lies_between_the_lines_around_it(data_dir: Path) -> None:
    found = history(data_dir, at=1_705_276_806_000)
    assert found.before is not None
    assert found.after is not None
    assert (found.before.text, found.after.text) == ("order 4 paid", "order 8 paid")


def test_after_the_last_line_there_is_nothing(data_dir: Path) -> None:
    found = history(data_dir, "nothing like this")
    assert found.before is not None
    assert found.before.text == "order 9 paid"
    assert found.after is None


def test_losses_damage_and_gaps_are_found(data_dir: Path) -> None:
    change(data_dir, lambda ledger: ledger.add_loss(LossRow("s1", 150, 160, "refused")))
    change(data_dir, lambda ledger: ledger.add_loss(LossRow("s1", 20, 30, "not asked for", is_lost=False)))
    change(data_dir, lambda ledger: ledger.add_damage([DamageRow("s1", 100, 1)]))
    assert set(kinds(history(data_dir, "order 4"))) == {Kind.LOST, Kind.DAMAGED}
    assert kinds(history(data_dir, "order 1")) == [Kind.SKIPPED]
    change(data_dir, lambda ledger: ledger.drop_extents([("s1", 0)]))
    change(data_dir, lambda ledger: ledger.set_extents([("s1", extent(_FIRST[:2], 0, 70, 1, 0))]))
    (gap,) = [each for each in history(data_dir, at=1_705_276_802_500).happenings if each.kind is Kind.UNACCOUNTED]
    assert (gap.start, gap.end) == (70, 100)


def test_changed_and_missing_bytes_are_found(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data_dir / "segments" / SEGMENT
    data = path.read_bytes()
    path.write_bytes(data.replace(b"order 3", b"order 7"))
    (problem,) = history(data_dir, "order 7").checked.problems
    assert "other content" in problem
    words = ["explain", "--data-dir", str(data_dir), "--host", "web-1", "--file", "app.log"]
    assert main([*words, "order 7"]) == 3
    out = capsys.readouterr().out
    assert "Damaged: web-1/app.log" in out
    assert "Nothing that was acked" not in out
    path.write_bytes(data[: len(b"".join(_FIRST[:3]))])
    assert any("lacks bytes" in problem for problem in history(data_dir, at=1_705_276_806_000).checked.problems)


def test_repairs_are_known_by_what_is_kept_of_the_damage(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half, whole = len(b"".join(_FIRST[:2])), len(b"".join(_FIRST))
    damaged = DamagedFolder(data_dir, durable=False, clock=lambda: 1_705_309_200.0)
    kept = damaged.save(SEGMENT, half, whole, b"what was there")
    damaged.save(SEGMENT, whole, whole + 9, b"of the other source")
    for other in ("2024-01-15-1.ndjson.surplus-1", "2024-01-15-10.ndjson.0-999.1705309200", "x"):
        (kept.parent / other).touch()
    (happening,) = (each for each in history(data_dir, "order 4").happenings if each.kind is Kind.REPAIRED)
    assert (happening.start, happening.end, happening.lines, happening.last) == (100, 200, 2, 1_705_309_200_000)
    assert Kind.REPAIRED not in kinds(history(data_dir, "order 1"))
    assert main(["explain", "--data-dir", str(data_dir), "--host", "web-1", "--file", "app.log", "order 4"]) == 0
    printed = capsys.readouterr().out
    assert f"its client stored them anew; what was on the disk before is kept as {kept.name}" in printed
    assert "Nothing that was acked is missing." in printed


def test_the_command_prints_the_story(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["explain", "--data-dir", str(data_dir), "--host", "web-1", "--file", "app.log"]
    assert main([*words, "order 4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Stored: 'order 4 paid'")
    assert lines[-1].startswith("Nothing that was acked is missing. (Checked: 1 stored piece,")
    assert main([*words, "order 6"]) == 3
    assert capsys.readouterr().out.startswith("Not stored. Around it: 'order 4 paid'")
    assert main(words) == 2
    assert main([*words, "--at", "soon"]) == 2
    assert main(["explain", "--data-dir", str(data_dir), "--host", "x", "order"]) == 1
    assert "there are web-1" in capsys.readouterr().err


def test_starts_of_the_server_are_recorded_and_bounded(tmp_path: Path) -> None:
    for _ in range(2):
        with opened(tmp_path):
            pass
    with closing(Ledger(tmp_path, durable=False)) as ledger:
        assert len(ledger.starts_between(0, 1 << 60, limit=10)) == 2
        with ledger.transaction():
            for number in range(MOST_STARTS):
                ledger.note_start(StartRow(number, 0, 0))
        assert len(ledger.starts_between(0, 1 << 60, limit=10_000)) == MOST_STARTS
