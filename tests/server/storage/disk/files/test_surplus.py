"""What a segment holds beyond the ledger is moved aside, whatever it is and whatever fails; nothing is deleted."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from logferry.errors import StoreError
from logferry.server.storage.disk import opening
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.files.surplus import set_aside, surplus_name
from logferry.server.storage.disk.recovery import previous_runs
from tests.support.running import stored_lines
from tests.support.stores import (
    LINES,
    FailingFiles,
    Stored,
    delivery,
    opened,
    segments_of,
    small_disk,
    store_twelve,
    submit_each,
)


def surpluses_of(segment: Path) -> list[Path]:
    """Return the files that hold the surplus of a segment."""
    found = ((path, surplus_name(path.name)) for path in segment.parent.iterdir())
    return [path for path, name in found if name and name.segment == segment.name]


def test_what_the_ledger_does_not_record_is_moved_beside_the_segment_and_numbered(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.submit(delivery(*LINES[:5]), Stored())
    path = segments_of(tmp_path)[0]
    for number, surplus in enumerate((LINES[5] + LINES[6][:9], LINES[7]), 1):
        with path.open("ab") as file:
            file.write(surplus)
        with opened(tmp_path):
            pass
        assert path.read_bytes() == b"".join(LINES[:5])
        name = f"{path.name}.surplus-{number}-{5 * len(LINES[0])}.unacked"
        assert path.with_name(name).read_bytes() == surplus
    assert [surplus_name(found.name).number for found in sorted(surpluses_of(path))] == [1, 2]  # type: ignore[union-attr]


def test_lines_that_were_acked_survive_the_loss_of_the_ledgers_log(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        submit_each(store, LINES[:2], Stored())
    before = (tmp_path / "ledger.sqlite3").read_bytes()
    with opened(tmp_path) as store:
        submit_each(store, LINES[2:5], Stored())
    (tmp_path / "ledger.sqlite3").write_bytes(before)  # as after the loss of ledger.sqlite3-wal
    with opened(tmp_path) as store:
        store.submit(delivery(LINES[6]), Stored())
    contents = b"".join(path.read_bytes() for path in tmp_path.glob("segments/**/*.ndjson*"))
    assert set(contents.splitlines(keepends=True)) >= {*LINES[:5], LINES[6]}


def test_a_disk_without_room_for_the_surplus_leaves_it_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        with opened(disk) as store:
            store.submit(delivery(*LINES[:5]), Stored())
        path = segments_of(disk)[0]
        with path.open("ab") as file:
            file.write(b"x" * (1 << 20))
        room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        (disk / "filler").write_bytes(bytes(room - 300_000))
        with opened(disk) as store:
            submit_each(store, [LINES[6]], Stored())
        assert path.read_bytes() == b"".join(LINES[:5]) + b"x" * (1 << 20)
        assert "they stay there" in caplog.text
        assert segments_of(disk)[1].read_bytes() == LINES[6]
        assert not list(disk.glob("segments/**/*.new"))


@pytest.mark.parametrize("operation", ["sync", "sync_folder", "truncate"])
def test_a_failure_at_any_step_leaves_the_segment_as_it_was(tmp_path: Path, operation: str) -> None:
    path = tmp_path / "2024-01-15-1.ndjson"
    path.write_bytes(b"one\ntwo\n")
    with pytest.raises(OSError, match="Input/output"):
        set_aside(path, 4, FailingFiles(**{operation: [errno.EIO]}))
    assert path.read_bytes() == b"one\ntwo\n"
    assert set_aside(path, 4, FileSystem()).bytes == 4
    assert path.read_bytes() == b"one\n"
    assert surpluses_of(path)[-1].read_bytes() == b"two\n"


def test_a_huge_hole_is_moved_as_a_hole(tmp_path: Path) -> None:
    path = tmp_path / "2024-01-15-1.ndjson"
    path.write_bytes(b"one\n")
    os.truncate(path, 1 << 38)
    with path.open("r+b") as file:
        file.seek(1 << 37)
        file.write(b"two\n")
    moved = set_aside(path, 4, FileSystem())
    assert path.read_bytes() == b"one\n"
    assert moved.bytes == (1 << 38) - 4
    assert moved.path.stat().st_blocks * 512 < 1 << 20
    with moved.path.open("rb") as file:
        file.seek((1 << 37) - 4)
        assert file.read(4) == b"two\n"


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_not_a_file_in_place_of_the_open_segment_stops_nobody(tmp_path: Path, kind: str) -> None:
    with opened(tmp_path) as store:
        submit_each(store, LINES[:2], Stored())
        path = segments_of(tmp_path)[0]
        path.rename(tmp_path / "elsewhere")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    with opened(tmp_path) as store:
        submit_each(store, LINES[2:4], Stored())
    assert segments_of(tmp_path)[1].read_bytes() == b"".join(LINES[2:4])
    assert (tmp_path / "elsewhere").read_bytes() == b"".join(LINES[:2])


@pytest.mark.parametrize("number", [2, 999_999_999])
@pytest.mark.parametrize("day", ["2024-01-15", "9999-12-31", "2024-99-99"])
def test_a_planted_name_of_a_segment_stops_nobody_and_decides_no_day(
    tmp_path: Path, day: str, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, segment_bytes=10) as store:
        submit_each(store, LINES[10:11], Stored())
        planted = segments_of(tmp_path)[0].with_name(f"{day}-{number}.ndjson")
        planted.write_bytes(b"planted\n")
        submit_each(store, LINES[11:13], Stored())
    expected = [1, 3, 4] if (day, number) == ("2024-01-15", 2) else [1, 2, 3]
    mine = [path for path in segments_of(tmp_path) if path != planted]
    assert sorted(path.name for path in mine) == [f"2024-01-15-{n}.ndjson" for n in expected]
    assert planted.read_bytes() == b"planted\n"
    assert caplog.text.count("left alone") == (expected[1] == 3)


def test_nothing_is_left_to_move_after_a_clean_stop(tmp_path: Path) -> None:
    store_twelve(tmp_path)
    with opened(tmp_path):
        pass
    assert not list(tmp_path.glob("segments/**/*surplus*"))
    assert len(stored_lines(tmp_path)) == 12


@pytest.mark.parametrize("durability", ["os", "none"])
def test_without_syncs_no_surplus_is_called_unacked(tmp_path: Path, durability: str) -> None:
    """A power cut can take the ends of the ledger's log and of the journal together."""
    with opened(tmp_path, durability=durability) as store:
        submit_each(store, LINES[:2], Stored())
    with segments_of(tmp_path)[0].open("ab") as file:
        file.write(LINES[2])
    with opened(tmp_path, durability=durability):
        (surplus,) = surpluses_of(segments_of(tmp_path)[0])
    assert not surplus_name(surplus.name).is_unacked  # type: ignore[union-attr]


def _killed(data_dir: Path, copy: Path, durability: str) -> None:
    """Leave what a server leaves that is killed: a copy of what is there while it runs, with another line."""
    with opened(data_dir, durability=durability) as store:
        submit_each(store, LINES[:2], Stored())
        shutil.copytree(data_dir, copy)
    with segments_of(copy)[0].open("ab") as file:
        file.write(LINES[2])


def _calls_unacked(data_dir: Path) -> bool:
    (surplus,) = surpluses_of(segments_of(data_dir)[0])
    name = surplus_name(surplus.name)
    assert name
    return name.is_unacked


@pytest.mark.parametrize("durability", ["os", "none"])
def test_the_first_start_that_syncs_remembers_that_others_did_not(tmp_path: Path, durability: str) -> None:
    _killed(tmp_path / "first", tmp_path / "a", durability)
    _killed(tmp_path / "a", tmp_path / "b", "fsync")  # killed, too: what it found is not certain yet
    with opened(tmp_path / "b"):
        pass
    (first, second) = surpluses_of(segments_of(tmp_path / "b")[0])
    assert not surplus_name(first.name).is_unacked  # type: ignore[union-attr]
    assert not surplus_name(second.name).is_unacked  # type: ignore[union-attr]


def test_a_clean_stop_makes_the_next_start_certain(tmp_path: Path) -> None:
    with opened(tmp_path / "first", durability="os") as store:
        assert (tmp_path / "first" / previous_runs.MARK_NAME).stat().st_mode & 0o777 == 0o640
        submit_each(store, LINES[5:6], Stored())
    assert not (tmp_path / "first" / previous_runs.MARK_NAME).exists()
    _killed(tmp_path / "first", tmp_path / "a", "fsync")
    with opened(tmp_path / "a"):
        assert _calls_unacked(tmp_path / "a")


def test_a_start_that_fails_forgets_nothing_of_the_runs_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _killed(tmp_path / "first", tmp_path / "a", "os")

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(opening, "recover", fail)
        with pytest.raises(StoreError), opened(tmp_path / "a"):
            pass
    with opened(tmp_path / "a"):
        assert not _calls_unacked(tmp_path / "a")
