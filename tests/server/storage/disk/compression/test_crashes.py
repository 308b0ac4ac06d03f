"""Whatever dies while the form of a segment changes: the next start has one whole file, and no line is lost.

At each crash point the folder is copied, which is what a kill would leave; a store then starts with the copy.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.integrity.fsck import fsck
from tests.server.storage.disk.compression.test_compressed_segments import DAMAGE
from tests.server.storage.disk.integrity.test_repair import heal, ship
from tests.support.compressing import SIZE, compress_all, damage, dying_at, file_of, files_of, rows, small_members
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, opened, parts_of

STORE: dict[str, Any] = {"segment_bytes": 10 * SIZE, "durability": "os"}

COMPRESSING = ["compressed file written", "compressed file renamed", "compression recorded"]
MAKING_PLAIN = ["plain file written", "plain file renamed", "plain form recorded"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small_members(monkeypatch)


def wrong(data_dir: Path) -> list[str]:
    return [f"{finding.path} {finding.problem}" for finding in fsck(data_dir) if finding.problem]


def is_settled(data_dir: Path) -> bool:
    """Whether the first segment has one file, the one that the ledger says."""
    first = rows(data_dir)[0]
    return [file_of(data_dir, first).name.removeprefix(Path(first.path).name)] == files_of(data_dir, first)


def died_compressing(tmp_path: Path, point: str) -> Path:
    """Return what a kill leaves that comes while the first segment is compressed."""
    copy = tmp_path / "copy"
    with dying_at(tmp_path / "data", copy, point, **STORE) as store:
        ship(store, 10, 22)
        compress_all(store, tmp_path / "data", "gzip")
    return copy


@pytest.mark.parametrize("compression", ["", "gzip"])
@pytest.mark.parametrize("point", COMPRESSING)
def test_a_kill_while_a_segment_is_compressed(tmp_path: Path, point: str, compression: str) -> None:
    data_dir = died_compressing(tmp_path, point)
    assert len(files_of(data_dir, rows(data_dir)[0])) == 2
    assert wrong(data_dir) == []
    assert stored_lines(data_dir) == LINES[10:22]
    with opened(data_dir, **STORE, compression=compression) as store:
        assert {extent.state for extent in store.report("s1", 0).extents} == {"ok"}
        expected = "gzip" if compression or point == COMPRESSING[2] else ""
        wait_until(lambda: is_settled(data_dir) and rows(data_dir)[0].compression == expected, "one file is left")
    assert wrong(data_dir) == []
    assert stored_lines(data_dir) == LINES[10:22]
    assert not (data_dir / "damaged").exists()


@pytest.mark.parametrize("which", ["plain", "compressed"])
@pytest.mark.parametrize("point", COMPRESSING[1:])
def test_of_two_files_the_whole_one_stays(tmp_path: Path, point: str, which: str) -> None:
    """Whatever the ledger says; the damaged one is kept apart."""
    data_dir = died_compressing(tmp_path, point)
    path = data_dir / "segments" / rows(data_dir)[0].path
    damage(path if which == "plain" else path.with_name(path.name + ".gz"), lambda content: content[:-9])
    with opened(data_dir, **STORE) as store:
        wait_until(lambda: is_settled(data_dir), "one file is left")
        assert {extent.state for extent in store.report("s1", 0).extents} == {"ok"}
    assert rows(data_dir)[0].compression == ("gzip" if which == "plain" else "")
    assert len(list((data_dir / "damaged").rglob("*.ndjson*"))) == 1
    assert stored_lines(data_dir) == LINES[10:22]


def test_of_two_damaged_files_both_stay_until_a_client_repairs(tmp_path: Path) -> None:
    data_dir = died_compressing(tmp_path, COMPRESSING[2])
    path = data_dir / "segments" / rows(data_dir)[0].path
    for each in (path, path.with_name(path.name + ".gz")):
        damage(each, lambda content: content[:-9])
    with opened(data_dir, **STORE) as store:
        parts_of(store).compressor.change("gzip")
        wait_until(lambda: not parts_of(store).compressor._unsettled, "the compressor has looked")
        assert len(files_of(data_dir, rows(data_dir)[0])) == 2
        heal(store, data_dir)
        assert wrong(data_dir) == []
    assert stored_lines(data_dir) == LINES[10:22]


@pytest.mark.parametrize("point", MAKING_PLAIN)
def test_a_kill_while_a_segment_is_made_plain(tmp_path: Path, point: str) -> None:
    data_dir, copy = tmp_path / "data", tmp_path / "copy"
    with dying_at(data_dir, copy, point, **STORE) as store:
        ship(store, 10, 22)
        (first,) = compress_all(store, data_dir, "gzip")
        DAMAGE["a byte of a member is flipped"](file_of(data_dir, first), first)
        heal(store, data_dir)
    assert len(files_of(copy, rows(copy)[0])) == 2
    with opened(copy, **STORE) as store:
        heal(store, copy)
        assert wrong(copy) == []
        compress_all(store, copy, "gzip")
        assert is_settled(copy)
    assert stored_lines(copy) == LINES[10:22]


@pytest.mark.parametrize("point", COMPRESSING[:2])
def test_a_segment_that_expires_while_it_is_compressed_is_gone(tmp_path: Path, point: str) -> None:
    stores: list[DiskStore] = []

    def expire(name: str) -> None:
        if name == point:
            stores[0].change_limits(segment_bytes=10 * SIZE, retention_bytes=1, retention_days=0)
            wait_until(lambda: not [row for row in rows(tmp_path) if row.state == "closed"], "it has expired")
            wait_until(lambda: not path.exists(), "the plain file is deleted")

    with opened(tmp_path, crash_point=expire, **STORE) as store:
        stores.append(store)
        ship(store, 10, 22)
        path = tmp_path / "segments" / rows(tmp_path)[0].path
        parts_of(store).compressor.change("gzip")
        wait_until(lambda: not path.exists(), "it is deleted")
    assert not [name for name in path.parent.iterdir() if name.name.startswith(path.name)]
    assert wrong(tmp_path) == []


def test_an_operators_own_archive_of_a_segment_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
    path = tmp_path / "segments" / rows(tmp_path)[0].path
    own = path.with_name(path.name + ".gz")
    own.write_bytes(b"\x1f\x8b by hand")
    with opened(tmp_path, **STORE) as store:
        parts_of(store).compressor.change("gzip")
        wait_until(lambda: parts_of(store).compressor._left, "it is not compressed")
        parts_of(store).compressor.change("zstd")
    assert own.read_bytes() == b"\x1f\x8b by hand"
    assert path.exists()
    assert wrong(tmp_path) == []


Change = Callable[[Path], object]


@pytest.mark.parametrize("change", [shutil.rmtree, lambda folder: folder.rename(folder.with_name("away"))])
def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path, change: Change) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
        change((tmp_path / "segments" / rows(tmp_path)[0].path).parent)
        parts_of(store).compressor.change("gzip")
        wait_until(lambda: parts_of(store).compressor._left, "the compressor goes on")
