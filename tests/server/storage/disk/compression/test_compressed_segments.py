"""Compressed segments are checked, reported, scrubbed, repaired and rebuilt as exactly as plain ones."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.errors import StoreError
from logferry.server.storage.disk.content import codecs
from logferry.server.storage.disk.content.codecs import codec_of
from logferry.server.storage.disk.content.segment_bytes import CompressedBytes
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.rebuild import rebuild
from logferry.server.storage.records import SegmentRow
from logferry.zstd_library import MODULE, REMEDY
from tests.server.storage.disk.content.test_codecs import bomb
from tests.server.storage.disk.integrity.test_repair import heal, reopen, ship
from tests.server.storage.disk.recovery.test_rebuild import lose_ledger
from tests.support.compressing import CODECS, SIZE, compress_all, damage, file_of, files_of, rows, small_members
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, opened, problems

LAST = 50
STORE: dict[str, Any] = {"segment_bytes": 20 * SIZE, "durability": "os"}  # two closed segments of ten members


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    small_members(monkeypatch)
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path, codec: str) -> Iterator[DiskStore]:
    """A store whose first two segments, of twenty lines each, are compressed."""
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, LAST + 2)
        assert len(compress_all(store, tmp_path, codec)) == 2
        yield store


def members_of(path: Path, row: SegmentRow) -> list[bytes]:
    with CompressedBytes(path, row.compression) as content:
        places = [(member.stored_position, member.stored_end) for member in content.members]
    return [path.read_bytes()[start:end] for start, end in places]


def test_everything_reads_what_is_compressed(tmp_path: Path, store: DiskStore, codec: str) -> None:
    first = rows(tmp_path)[0]
    assert (first.compression, first.stored_bytes) == (codec, file_of(tmp_path, first).stat().st_size)
    assert files_of(tmp_path, first) == [{"gzip": ".gz", "zstd": ".zst"}[codec]]
    assert len(members_of(file_of(tmp_path, first), first)) == 10
    assert set(problems(tmp_path)) == {""}
    extents = store.report("s1", 0).extents
    assert {extent.state for extent in extents} == {"ok"}
    assert stored_lines(tmp_path) == LINES[10 : LAST + 2]
    assert not list(tmp_path.rglob("*.new"))


def test_a_compressed_file_says_when_the_last_line_came(tmp_path: Path, codec: str) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 32)
        os.utime(tmp_path / "segments" / rows(tmp_path)[0].path, (1_705_000_000, 1_705_000_000))
        (first,) = compress_all(store, tmp_path, codec)
    assert file_of(tmp_path, first).stat().st_mtime == 1_705_000_000


def test_it_goes_on_after_a_restart(tmp_path: Path, store: DiskStore) -> None:
    store.close(10)
    with opened(tmp_path, **STORE) as again:
        reopen(again)
        ship(again, LAST + 2, LAST + 8)
        assert set(problems(tmp_path)) == {""}
    assert stored_lines(tmp_path) == LINES[10 : LAST + 8]


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 0x20]) + content[place + 1 :]


def with_members(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path, SegmentRow], None]:
    def apply(path: Path, row: SegmentRow) -> None:
        path.write_bytes(b"".join(change(members_of(path, row))))

    return apply


def with_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path, SegmentRow], None]:
    return lambda path, _: damage(path, change)


def explode(path: Path, row: SegmentRow) -> None:
    """Put a member that inflates to 8 MiB in the place of one of a hundred bytes."""
    members = members_of(path, row)
    path.write_bytes(b"".join([*members[:3], bomb(codec_of(row.compression), 8 << 20)[1], *members[4:]]))


DAMAGE: dict[str, Callable[[Path, SegmentRow], None]] = {
    "a byte of a member is flipped": with_members(lambda members: [*members[:4], flipped(members[4]), *members[5:]]),
    "the head of a member is damaged": with_members(
        lambda members: [*members[:4], flipped(members[4][:40]) + members[4][40:], *members[5:]]
    ),
    "its first byte is damaged": with_bytes(lambda content: b"x" + content[1:]),
    "the trailer of the last member is wrong": with_bytes(lambda content: content[:-2] + b"??"),
    "it is cut in a member": with_bytes(lambda content: content[:-10]),
    "it is cut between members": with_members(lambda members: members[:-1]),
    "it is empty": with_bytes(lambda _: b""),
    "two members are exchanged": with_members(lambda members: [members[0], members[2], members[1], *members[3:]]),
    "a member is missing": with_members(lambda members: [*members[:5], *members[6:]]),
    "a member inflates to much more": explode,
    "it is not compressed at all": with_bytes(lambda _: b"".join(LINES[10:30])),
    "it is deleted": lambda path, _: path.unlink(),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
def test_any_damage_is_found_and_heals(
    tmp_path: Path, store: DiskStore, change: Callable[[Path, SegmentRow], None]
) -> None:
    first, second = rows(tmp_path)[:2]
    change(file_of(tmp_path, first), first)
    found = problems(tmp_path)
    assert found[0] != ""
    assert found[1:] == ["", ""], "of the damaged segment alone"
    wrong = [extent for extent in store.report("s1", 0).extents if extent.state != "ok"]
    assert wrong
    assert {extent.segment for extent in wrong} == {first.path}
    assert store.health().damaged_extents == len(wrong)
    heal(store, tmp_path)
    assert set(problems(tmp_path)) == {""}
    assert store.health().damaged_extents == 0
    assert (files_of(tmp_path, first), rows(tmp_path)[0].compression) == ([""], "")
    assert stored_lines(tmp_path) == LINES[10 : LAST + 2]
    assert rows(tmp_path)[1] == second
    compress_all(store, tmp_path, first.compression)
    assert set(problems(tmp_path)) == {""}


def test_what_was_damaged_is_kept(tmp_path: Path, store: DiskStore) -> None:
    first = rows(tmp_path)[0]
    damage(file_of(tmp_path, first), flipped)
    content = file_of(tmp_path, first).read_bytes()
    heal(store, tmp_path)
    kept = [path for path in (tmp_path / "damaged").rglob("*") if path.is_file() and path.read_bytes() == content]
    assert len(kept) == 1
    assert store.health().damaged_bytes >= len(content)
    assert {finding.kind for finding in fsck(tmp_path)} == {"segment", "repaired"}


def test_a_repair_of_one_extent_keeps_what_can_be_read_of_the_others(tmp_path: Path, store: DiskStore) -> None:
    """The members that can be read are as they were; the place of the other one waits for its own repair."""
    first = rows(tmp_path)[0]
    DAMAGE["a byte of a member is flipped"](file_of(tmp_path, first), first)
    heal(store, tmp_path)
    assert problems(tmp_path)[0] == ""


def test_what_follows_the_last_member_is_moved_away(tmp_path: Path, store: DiskStore) -> None:
    first = rows(tmp_path)[0]
    damage(file_of(tmp_path, first), lambda content: content + b"appended by somebody")
    assert problems(tmp_path)[0] == "has 20 bytes more than were stored"
    store.close(10)
    with opened(tmp_path, **STORE, scrub_interval_s=0.02, scrub_rate=1 << 30) as again:
        wait_until(lambda: problems(tmp_path)[0] == "", "scrub has moved it")
        assert again.health().damaged_extents == 0
    assert stored_lines(tmp_path) == LINES[10 : LAST + 2]


def test_scrub_finds_damage_and_nothing_else(tmp_path: Path, store: DiskStore) -> None:
    first = rows(tmp_path)[0]
    store.close(10)
    DAMAGE["a byte of a member is flipped"](file_of(tmp_path, first), first)
    with opened(tmp_path, **STORE, scrub_interval_s=0.02, scrub_rate=1 << 30) as again:
        wait_until(lambda: again.health().damaged_extents, "the damage is found")
        wait_until(lambda: again.health().counters.bytes_scrubbed > 200 * SIZE, "the others are checked, too")
        damaged = again.health().damaged_extents
        assert damaged == sum(extent.state != "ok" for extent in again.report("s1", 0).extents)


TABLES: dict[str, Callable[[bytes], object]] = {
    "it does not fit": lambda data: data[:4],
    "a position in the file is another one": lambda data: data[:24] + bytes([data[24] ^ 1]) + data[25:],
    "a position of lines is another one": lambda data: data[:16] + bytes([data[16] ^ 1]) + data[17:],
    "it lacks a member": lambda data: data[:16] + data[32:],
    "it is a text": lambda _: "0" * 160,
}


@pytest.mark.parametrize("change", TABLES.values(), ids=TABLES.keys())
def test_a_table_of_members_that_is_wrong_is_not_needed(
    tmp_path: Path, store: DiskStore, change: Callable[[bytes], object]
) -> None:
    """The segment is whole, and so nothing calls it damaged."""
    store.close(10)
    with closing(Ledger(tmp_path, durable=False)) as ledger:
        for row in rows(tmp_path)[:2]:
            ((_, data),) = ledger.members_of(row.id)
            ledger._database.execute("UPDATE members SET data = ? WHERE segment = ?", (change(data), row.id))
    assert [problem for problem in problems(tmp_path) if "the table members have values" not in problem] == [""] * 3
    with opened(tmp_path, **STORE) as again:
        assert {extent.state for extent in again.report("s1", 0).extents} == {"ok"}
    assert stored_lines(tmp_path) == LINES[10 : LAST + 2]


@pytest.mark.parametrize("lost", ["nothing", "the journals", "a head"])
def test_a_ledger_is_rebuilt_from_compressed_segments(tmp_path: Path, store: DiskStore, lost: str) -> None:
    before = rows(tmp_path)
    store.close(10)
    lose_ledger(tmp_path)
    if lost == "the journals":
        for journal in tmp_path.rglob("*.journal"):
            journal.unlink()
    if lost == "a head":
        DAMAGE["the head of a member is damaged"](file_of(tmp_path, before[0]), before[0])
    made = rebuild(tmp_path)
    assert made.segments == 3
    after = rows(tmp_path)
    columns = [(row.path, row.bytes, row.lines, row.crc32, row.compression, row.stored_bytes) for row in after]
    assert columns == [(row.path, row.bytes, row.lines, row.crc32, row.compression, row.stored_bytes) for row in before]
    assert [row.state for row in after] == ["closed", "closed", "open"]
    with opened(tmp_path, **STORE) as again:
        if lost == "a head":
            assert problems(tmp_path)[1:] == ["", ""]
            heal(again, tmp_path)
        assert set(problems(tmp_path)) == {""}
        if lost != "the journals":
            reopen(again)
            ship(again, LAST + 2, LAST + 8)
    assert stored_lines(tmp_path) == LINES[10 : LAST + (2 if lost == "the journals" else 8)]


def test_without_its_library_a_segment_is_neither_damaged_nor_lost(
    tmp_path: Path, store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows(tmp_path)[0]
    if before.compression != "zstd":
        pytest.skip("gzip needs none")
    monkeypatch.setattr(codecs, "zstd_library", lambda: None)
    remedy = f"segments compressed with zstd need the Python module {MODULE}: {REMEDY}"
    assert problems(tmp_path)[0] == f"cannot be read: {remedy}"
    assert {extent.state for extent in store.report("s1", 0).extents} == {"unreadable", "ok"}
    assert store.health().damaged_extents == 0
    store.close(10)
    content = file_of(tmp_path, before).read_bytes()
    with pytest.raises(StoreError, match=f"{re.escape(remedy)}; the old ledger is kept"):
        rebuild(tmp_path)
    assert rows(tmp_path)[0] == before
    assert file_of(tmp_path, before).read_bytes() == content


def test_an_older_copy_of_the_ledger_knows_no_compression(tmp_path: Path, codec: str) -> None:
    """It says that the segments are plain, and one of them open; the journals have the rest."""
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 20)
    copy = (tmp_path / "ledger.sqlite3").read_bytes()
    with opened(tmp_path, **STORE) as store:
        reopen(store)
        ship(store, 20, LAST + 2)
        compress_all(store, tmp_path, codec)
    (tmp_path / "ledger.sqlite3").write_bytes(copy)
    for beside in tmp_path.glob("ledger.sqlite3-*"):
        beside.unlink()
    with opened(tmp_path, **STORE, compression=codec) as store:
        assert {extent.state for extent in store.report("s1", 0).extents} == {"ok"}
        wait_until(lambda: [row.compression for row in rows(tmp_path)][:2] == [codec, codec], "the ledger knows it")
        reopen(store)
        ship(store, LAST + 2, LAST + 8)
        assert [finding.problem for finding in fsck(tmp_path) if finding.problem] == []
    assert sorted(stored_lines(tmp_path)) == LINES[10 : LAST + 8]


def test_retention_counts_files_and_deletes_them(tmp_path: Path, store: DiskStore) -> None:
    first = rows(tmp_path)[0]
    assert os.path.exists(file_of(tmp_path, first))
    store.close(10)
    kept = sum(path.stat().st_size for path in tmp_path.glob("segments/**/*") if path.is_file())
    with opened(tmp_path, **STORE, retention_bytes=kept + 10):
        assert len(rows(tmp_path)) == 3
    with opened(tmp_path, **STORE, retention_bytes=kept - 10):
        pass
    assert len(rows(tmp_path)) == 2
    assert files_of(tmp_path, first) == []
    assert stored_lines(tmp_path) == LINES[30 : LAST + 2]
