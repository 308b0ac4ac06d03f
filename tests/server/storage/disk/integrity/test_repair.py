"""Repair of real segments: whatever happened to them, what was stored is there again, once, and nothing is thrown away.

Each test ends in a conservation check and a clean fsck.
"""

import errno
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from logferry.protocol.messages.requests import BatchRequest, Open, Repair
from logferry.server.storage.deliveries import Delivery, SourceRequest
from logferry.server.storage.disk.compression.segment_forms import SegmentForms
from logferry.server.storage.disk.integrity import damaged_folder
from logferry.server.storage.disk.integrity.damage import DamageRegistry
from logferry.server.storage.disk.integrity.damaged_folder import DamagedFolder
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.integrity.repair import SegmentRepair
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.log_names import NO_LOG
from logferry.server.storage.owners import of_client
from logferry.server.storage.records import ExtentRow
from logferry.server.storage.store import Store
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, FailingFiles, Stored, in_one_group, opened, parts_of, problems, segments_of

SIZE = len(LINES[10])  # two digits


def ship(store: Store, first: int, last: int, *, source: str = "s1", path: str = "/var/log/app.log") -> None:
    """Store numbered lines in batches of two; in the source, each line has the length of its NDJSON."""
    stored = Stored()
    requests: list[Open | BatchRequest] = [Open(source, path)] if first == 10 else []
    for number in range(first, last, 2):
        payload = b"".join(LINES[number : number + 2])
        start = (number - 10) * SIZE
        requests.append(BatchRequest(source, start, start + 2 * SIZE, 2, zlib.crc32(payload), payload))
    for message in requests:
        lines, payload = (message.lines, message.payload) if isinstance(message, BatchRequest) else (0, b"")
        request = SourceRequest(message, 1, of_client("client-1"), "web-1")
        delivery = Delivery(NO_LOG, [payload] if payload else [], lines, len(payload), source_request=request)
        count = len(stored.deliveries)
        store.submit(delivery, stored)  # one by one, so that a segment is not begun early
        wait_until(lambda count=count: len(stored.deliveries) > count, "it is stored")  # type: ignore[misc]


def repairs(data_dir: Path, source: str = "s1") -> list[Repair]:
    """Return the repairs that a client with the whole file would send."""
    with closing(Ledger(data_dir, durable=False, read_only=True)) as ledger:
        rows: list[ExtentRow] = ledger.extents(source, after=0, limit=1000)
    return [Repair(source, row.start, row.end, row.lines, row.crc32, lines_between(row.start, row.end)) for row in rows]


def lines_between(start: int, end: int) -> bytes:
    return b"".join(LINES[10 + start // SIZE : 10 + end // SIZE])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def replace_file(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"something else\n")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte is flipped": flip,
    "it is deleted": lambda path: path.unlink(),
    "its folder is deleted": lambda path: shutil.rmtree(path.parent),
    "it is cut in the middle of a line": lambda path: os.truncate(path, path.stat().st_size - 5),
    "it is cut at its first line": lambda path: os.truncate(path, SIZE),
    "it is emptied": lambda path: os.truncate(path, 0),
    "a line is removed": remove_line,
    "a line is inserted": lambda path: path.write_bytes(LINES[99] + path.read_bytes()),
    "it is all zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "it is replaced": replace_file,
}


@pytest.fixture(params=["while the store runs", "while it is stopped"])
def is_running(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "while the store runs")


@pytest.mark.parametrize("which", [1, -1], ids=["a closed segment", "the open segment"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_any_damage_heals_and_storing_goes_on(
    tmp_path: Path, which: int, damage: Callable[[Path], object], is_running: bool
) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE, durability="os") as store:
        ship(store, 10, 26)
        if is_running:
            damage(segments_of(tmp_path)[which])
            ship(store, 26, 30)  # the writer has the last segment open
            heal(store, tmp_path)
            ship(store, 30, 34)
    if not is_running:
        damage(segments_of(tmp_path)[which])
        with opened(tmp_path, segment_bytes=6 * SIZE, durability="os") as store:
            heal(store, tmp_path)
            reopen(store)
            ship(store, 26, 34)
    assert sorted(stored_lines(tmp_path)) == LINES[10:34]
    assert set(problems(tmp_path)) == {""}


def reopen(store: Store) -> None:
    stored = Stored()
    request = SourceRequest(Open("s1", "/var/log/app.log"), 1, of_client("client-1"), "web-1")
    store.submit(Delivery(NO_LOG, [], 0, 0, source_request=request), stored)
    wait_until(lambda: stored.deliveries, "the source is open")


def heal(store: Store, data_dir: Path) -> None:
    """Repair every extent, twice: the second time nothing is damaged any more."""
    for repair in repairs(data_dir) * 2:
        assert store.repair(repair).is_whole


def test_what_a_segment_held_instead_stays_in_another_folder(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 20)
        (segment,) = segments_of(tmp_path)
        flip(segment)
        damaged = segment.read_bytes()
        heal(store, tmp_path)
    (saved,) = (tmp_path / "damaged").rglob("*.ndjson.*")
    assert saved.read_bytes() == damaged
    assert saved.parent.relative_to(tmp_path / "damaged") == segment.parent.relative_to(tmp_path / "segments")
    assert stored_lines(tmp_path) == LINES[10:20]
    assert problems(tmp_path) == [""]


def test_damaged_bytes_never_replace_each_other_and_are_counted(tmp_path: Path) -> None:
    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 20)
        parts_of(store).damaged._clock = lambda: 1_768_464_520.0
        for _ in range(3):
            flip(segments_of(tmp_path)[0])
            heal(store, tmp_path)
        assert store.health().damaged_bytes == 30 * SIZE
    kept = sorted(path.name for path in (tmp_path / "damaged").rglob("*.ndjson.*"))
    assert [name.partition(".1768464520")[2] for name in kept] == ["", "-2", "-3"]
    with opened(tmp_path, durability="os") as store:
        assert store.health().damaged_bytes == 30 * SIZE
    (found,) = (finding for finding in fsck(tmp_path) if finding.kind == "repaired")
    assert (found.bytes, found.problem, found.note[:7]) == (30 * SIZE, "", "3 files")


def test_at_the_bound_the_oldest_damaged_bytes_are_deleted_and_each_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(damaged_folder, "MAX_BYTES", 20 * SIZE)
    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 20)
        for time in (1, 2, 3):
            parts_of(store).damaged._clock = lambda time=time: float(time)  # type: ignore[misc]
            flip(segments_of(tmp_path)[0])
            heal(store, tmp_path)
        assert store.health().damaged_bytes == 20 * SIZE
    kept = sorted(path.name[-2:] for path in (tmp_path / "damaged").rglob("*.ndjson.*"))
    assert kept == [".2", ".3"]
    assert len([record for record in caplog.records if record.getMessage().startswith("deleted")]) == 1
    assert stored_lines(tmp_path) == LINES[10:20]


def test_a_repair_is_answered_although_it_cannot_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 20)
        flip(segments_of(tmp_path)[0])
        monkeypatch.setattr(DamageRegistry, "is_repaired", refuse)
        assert [store.repair(request).is_whole for request in repairs(tmp_path)] == [True]


def test_lines_of_other_sources_in_the_same_segment_are_not_touched(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 20)
        ship(store, 10, 14, source="s2")
        (segment,) = segments_of(tmp_path)
        whole = segment.read_bytes()
        segment.write_bytes(bytes(10 * SIZE) + whole[10 * SIZE :])
        for repair in repairs(tmp_path):
            assert store.repair(repair).is_whole
        assert segment.read_bytes() == whole
    assert problems(tmp_path) == [""]


@pytest.mark.parametrize("is_open", [True, False], ids=["the writer has it open", "nobody has it open"])
def test_what_an_open_segment_has_too_much_is_cut_off_although_nothing_is_appended(
    tmp_path: Path, is_open: bool
) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 14)
        if not is_open:
            parts_of(store).segments.opened.close()
        (segment,) = segments_of(tmp_path)
        segment.write_bytes(LINES[99] + segment.read_bytes())
        heal(store, tmp_path)
        wait_until(lambda: stored_lines(tmp_path) == LINES[10:14], "the surplus is cut off")
        ship(store, 14, 20)
    assert stored_lines(tmp_path) == LINES[10:20]
    assert problems(tmp_path) == [""]


def test_behind_bytes_that_stay_lost_a_repaired_extent_begins_a_line(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 14)
        ship(store, 10, 14, source="s2")
        segments_of(tmp_path)[0].unlink()
        for repair in repairs(tmp_path, "s2"):
            assert store.repair(repair).is_whole
        assert stored_lines(tmp_path)[1:] == LINES[10:14]
        heal(store, tmp_path)
    assert stored_lines(tmp_path) == LINES[10:14] * 2
    assert problems(tmp_path) == [""]


@pytest.mark.parametrize("operation", ["write_at", "sync", "sync_folder", "make_folder", "open_for_rewriting"])
def test_a_repair_that_fails_can_be_tried_again(
    tmp_path: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FailingFiles()
    with opened(tmp_path, file_system=files) as store:
        ship(store, 10, 20)
        segments_of(tmp_path)[0].unlink()
        (repair,) = repairs(tmp_path)
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr(files, operation, fail)
            with pytest.raises(OSError, match="No space"):
                store.repair(repair)
        assert store.repair(repair).is_whole
    assert stored_lines(tmp_path) == LINES[10:20]
    assert problems(tmp_path) == [""]


class Crash(BaseException):
    """The process ends here."""


class CrashingFiles(FailingFiles):
    """Ends at the nth call; writes only half before."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_left = -1

    def _count(self) -> None:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise Crash

    def open_for_rewriting(self, path: Path) -> int:
        self._count()
        return super().open_for_rewriting(path)

    def write_at(self, descriptor: int, data: bytes, position: int) -> None:
        super().write_at(descriptor, data[: len(data) // 2], position)
        self._count()
        super().write_at(descriptor, data, position)

    def sync(self, descriptor: int) -> None:
        self._count()
        super().sync(descriptor)

    def truncate(self, path: Path | int, size: int) -> None:
        self._count()
        super().truncate(path, size)


@pytest.mark.parametrize("calls", range(1, 5))
def test_a_crash_at_any_step_leaves_an_extent_that_is_damaged_or_whole(tmp_path: Path, calls: int) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
    first = segments_of(tmp_path)[0]
    first.write_bytes(b"surplus\n" + first.read_bytes())
    files = CrashingFiles()
    files.calls_left = calls
    damaged = DamagedFolder(tmp_path, durable=True)
    forms = SegmentForms(tmp_path, files, keep=damaged.keep)
    repair = SegmentRepair(tmp_path, files, durable=True, forms=forms, damaged=damaged)
    with pytest.raises(Crash):
        list(map(repair.repair, repairs(tmp_path)))
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        heal(store, tmp_path)
    assert stored_lines(tmp_path) == LINES[10:20]
    assert set(problems(tmp_path)) == {""}


def test_what_retention_has_deleted_is_not_stored_again(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE, retention_bytes=6 * SIZE) as store:
        ship(store, 10, 30)
        outcomes = [store.repair(repair) for repair in repairs(tmp_path)]
        assert {outcome.reason for outcome in outcomes} == {"retention has deleted it", "it was not damaged"}
    assert stored_lines(tmp_path) == LINES[30 - len(stored_lines(tmp_path)) : 30]
    assert set(problems(tmp_path)) == {""}


def test_retention_that_deletes_a_segment_during_its_repair_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
        segments_of(tmp_path)[0].unlink()
        restore = SegmentRepair._restore

        def restore_late(self: SegmentRepair, path: Path, *values: object) -> None:
            with closing(Ledger(tmp_path, durable=False)) as ledger, ledger.transaction():
                ledger._database.execute("UPDATE segments SET state = 'expired' WHERE id = 1")
            restore(self, path, *values)  # type: ignore[arg-type]

        monkeypatch.setattr(SegmentRepair, "_restore", restore_late)
        assert store.repair(repairs(tmp_path)[0]).reason == "retention has deleted it"
    assert stored_lines(tmp_path) == LINES[16:20]
    assert problems(tmp_path) == [""]


def test_a_segment_whose_lines_are_still_in_the_ledger_heals(tmp_path: Path) -> None:
    """Deferred sync: small writes to many segments are in the ledger until their segments are synced."""
    sources = ("s1", "s2", "s3")
    payload = b"".join(LINES[10:14])
    with opened(tmp_path) as store:
        stored = Stored()
        with in_one_group(store):
            for source in sources:
                batch = BatchRequest(source, 0, len(payload), 4, zlib.crc32(payload), payload)
                for message in (Open(source, f"/var/log/{source}.log"), batch):
                    lines, pieces = (4, [payload]) if message is batch else (0, [])
                    request = SourceRequest(message, 1, of_client("client-1"), "web-1")
                    size = sum(map(len, pieces))
                    store.submit(Delivery(NO_LOG, pieces, lines, size, source_request=request), stored)
        wait_until(lambda: len(stored.deliveries) == 6, "all are stored")
        with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
            assert ledger.unsynced_segments()[0]
        deleted, cut, _ = segments_of(tmp_path)
        deleted.unlink()
        os.truncate(cut, 10)
        for source in sources:
            for repair in repairs(tmp_path, source):
                assert store.repair(repair).is_whole
    with opened(tmp_path):
        pass
    assert stored_lines(tmp_path) == LINES[10:14] * 3
    assert problems(tmp_path) == [""] * 3


def test_known_damage_is_known_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ship(store, 10, 20)
        flip(segments_of(tmp_path)[0])
        assert store.health().damaged_extents == 0
        store.report("s1", 0)
        assert (store.health().damaged_extents, store.health().counters.extents_damaged) == (1, 1)
        store.report("s1", 0)
        assert store.health().counters.extents_damaged == 1
    with opened(tmp_path) as store:
        assert store.damaged_sources("client-1") == ["s1"]
        assert store.health().damaged_extents == 1
        heal(store, tmp_path)
        assert store.health().damaged_extents == 0
    assert stored_lines(tmp_path) == LINES[10:20]
    assert problems(tmp_path) == [""]


def test_whoever_opened_the_store_is_notified_of_damage_once(tmp_path: Path) -> None:
    notices: list[tuple[str, Sequence[str]]] = []
    with opened(tmp_path, on_damage=lambda sources: notices.extend(sources.items())) as store:
        ship(store, 10, 20)
        flip(segments_of(tmp_path)[0])
        store.report("s1", 0)
        store.report("s1", 0)
        heal(store, tmp_path)
    assert notices == [("client-1", ["s1"])]
    assert stored_lines(tmp_path) == LINES[10:20]


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_a_segment_in_whose_place_is_something_else_heals(tmp_path: Path, kind: str) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE) as store:
        ship(store, 10, 20)
        path = segments_of(tmp_path)[0]
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to(tmp_path / "elsewhere")
        heal(store, tmp_path)
    assert stored_lines(tmp_path) == LINES[10:20]
    assert set(problems(tmp_path)) == {""}
    assert len(list((tmp_path / "damaged").glob("*/*/*"))) == 1
    assert not (tmp_path / "elsewhere").exists()
