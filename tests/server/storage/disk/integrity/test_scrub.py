"""Scrub: damage is found by itself, recorded once, reported, and forgotten when it is gone."""

import errno
import logging
import os
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.errors import StoreError
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files.regular import open_sized
from logferry.server.storage.disk.integrity import scrub
from logferry.server.storage.disk.integrity.damage import DamageRegistry, Judged
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.integrity.scrub import Scrub
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.store import Store
from tests.server.storage.disk.integrity.test_repair import SIZE, flip, heal, ship
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, Stored, delivery, opened, parts_of, problems, segments_of

QUICK: dict[str, Any] = {"scrub_interval_s": 0.02, "scrub_rate": 1 << 30, "durability": "os"}

DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte is flipped": flip,
    "it is deleted": lambda path: path.unlink(),
    "it is cut": lambda path: os.truncate(path, path.stat().st_size - 5),
}


def damaged(store: Store) -> int:
    return store.health().damaged_extents


@pytest.mark.parametrize("which", [0, -1], ids=["a closed segment", "the open segment"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_found_recorded_logged_and_forgotten_when_it_is_repaired(
    tmp_path: Path, damage: Callable[[Path], object], which: int, caplog: pytest.LogCaptureFixture
) -> None:
    notices: list[tuple[str, Sequence[str]]] = []

    def notify(found: Mapping[str, Sequence[str]]) -> None:
        notices.extend(found.items())

    with opened(tmp_path, segment_bytes=6 * SIZE, on_damage=notify, **QUICK) as store:
        ship(store, 10, 20)
        segment = segments_of(tmp_path)[which]
        damage(segment)
        wait_until(lambda: damaged(store), "the damage is found")
        (extent,) = store.damaged("s1", 0).extents
        assert (extent.start, extent.end) in ((0, 6 * SIZE), (6 * SIZE, 10 * SIZE))
        assert extent.crc32 == zlib.crc32(b"".join(LINES[10 + extent.start // SIZE : 10 + extent.end // SIZE]))
        heal(store, tmp_path)
        assert damaged(store) == 0
        before = store.health().counters.bytes_scrubbed
        wait_until(lambda: store.health().counters.bytes_scrubbed > before + 40 * SIZE, "all is read again")
        assert damaged(store) == 0
    assert notices == [("client-1", ["s1"])]
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [message for message in errors if str(segment) in message and "recorded 1 extents" in message]
    assert stored_lines(tmp_path) == LINES[10:20]
    assert set(problems(tmp_path)) == {""}


def test_damage_that_could_not_be_recorded_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "_SIZES_S", 0.02)
    monkeypatch.setattr(scrub, "_RETRY_S", 0.02)
    note = DamageRegistry.note
    failed: list[Judged] = []

    def fail_once(registry: DamageRegistry, judged: Judged) -> int:
        if not failed:
            failed.append(judged)
            raise StoreError("the disk is full")
        return note(registry, judged)

    monkeypatch.setattr(DamageRegistry, "note", fail_once)
    with opened(tmp_path, scrub_interval_s=0.0, durability="os") as store:
        ship(store, 10, 20)
    with opened(tmp_path, scrub_interval_s=1000.0, scrub_rate=1 << 30, durability="os") as store:
        wait_until(lambda: store.health().counters.bytes_scrubbed, "it was read once, and is not due for a long time")
        segments_of(tmp_path)[0].unlink()
        wait_until(lambda: damaged(store), "the damage is found")
    assert failed


def test_damage_that_is_undone_by_hand_is_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path, **QUICK) as store:
        ship(store, 10, 20)
        (segment,) = segments_of(tmp_path)
        flip(segment)
        wait_until(lambda: damaged(store), "the damage is found")
        flip(segment)
        wait_until(lambda: not damaged(store), "the damage is forgotten")
        assert store.health().counters.extents_repaired == 0


def test_lines_of_the_plain_protocol_are_reported_although_nobody_can_repair_them(tmp_path: Path) -> None:
    with opened(tmp_path, **QUICK) as store:
        stored = Stored()
        store.submit(delivery(*LINES[:3]), stored)
        wait_until(lambda: stored.deliveries, "the lines are stored")
        flip(segments_of(tmp_path)[0])
        wait_until(lambda: damaged(store), "the damage is found")
        assert not store.damaged_sources("client-1")


def test_what_the_ledger_does_not_record_is_moved_off_a_closed_segment_and_kept(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE, **QUICK) as store:
        ship(store, 10, 20)
        first = segments_of(tmp_path)[0]
        with first.open("ab") as file:
            file.write(b"more\n")
        wait_until(lambda: first.stat().st_size == 6 * SIZE, "the surplus is cut off")
        assert damaged(store) == 0
    (saved,) = tmp_path.rglob("*.ndjson.surplus-*")
    assert saved.read_bytes() == b"more\n"
    assert stored_lines(tmp_path) == LINES[10:20]
    assert {finding.problem for finding in fsck(tmp_path) if finding.kind == "segment"} == {""}


def test_a_restart_continues_and_does_not_begin_again(tmp_path: Path) -> None:
    settings = {**QUICK, "scrub_interval_s": 1000.0}
    with opened(tmp_path, durability="os") as store:
        ship(store, 10, 20)
        flip(segments_of(tmp_path)[0])
    with opened(tmp_path, **settings) as store:
        wait_until(lambda: damaged(store), "a segment that was never checked is checked at once")
        wait_until(lambda: parts_of(store).scrub.plan.resume_at, "the round has ended")  # type: ignore[union-attr]
        heal(store, tmp_path)
    with opened(tmp_path, **settings) as store:
        wait_until(lambda: parts_of(store).scrub.plan.resume_at, "it has decided what is due")  # type: ignore[union-attr]
        assert store.health().counters.bytes_scrubbed == 0
    assert stored_lines(tmp_path) == LINES[10:20]
    assert set(problems(tmp_path)) == {""}


def test_what_retention_deletes_is_not_damaged(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE, retention_bytes=6 * SIZE, **QUICK) as store:
        for first in range(10, 90, 10):
            ship(store, first, first + 10)
        before = store.health().counters.bytes_scrubbed
        wait_until(lambda: store.health().counters.bytes_scrubbed > before + 30 * SIZE, "all is read")
        assert (damaged(store), store.health().counters.extents_damaged) == (0, 0)
    assert set(problems(tmp_path)) == {""}


def test_a_store_that_closes_does_not_wait_for_scrub(tmp_path: Path) -> None:
    with opened(tmp_path, **(QUICK | {"scrub_rate": 1})) as store:
        ship(store, 10, 20)
        wait_until(lambda: store.health().counters.bytes_scrubbed, "a block is read, and its time not over")
    assert problems(tmp_path) == [""]


def registry_of(store: DiskStore) -> DamageRegistry:
    return parts_of(store).damage


def test_scrub_works_in_small_steps_and_holds_no_lock_while_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted for each step: rows of the ledger and bytes of segments; asked at each read: is a lock held?"""
    monkeypatch.setattr(scrub, "_ROWS", 5)
    rows: list[int] = []
    reads: list[int] = []
    is_locked: list[bool] = []
    query, pread = Ledger._query, os.pread

    def counted(ledger: Ledger, text: str, values: Sequence[object] = ()) -> list[Any]:
        found = query(ledger, text, values)
        if threading.current_thread().name == "logferry-scrub":
            rows.append(len(found))
        return found

    with opened(tmp_path, segment_bytes=2 * SIZE, durability="os") as store:
        ship(store, 10, 70)
        flip(segments_of(tmp_path)[0])
        segments_of(tmp_path)[1].unlink()
    with opened(tmp_path, scrub_interval_s=1000.0, scrub_rate=1 << 30, durability="os") as store:
        registry = registry_of(store)

        def watched(descriptor: int, size: int, position: int) -> bytes:
            if threading.current_thread().name == "logferry-scrub":
                reads.append(size)
                is_locked.append(registry._lock.locked() or registry._ledger._database.in_transaction)
            return pread(descriptor, size, position)

        monkeypatch.setattr(Ledger, "_query", counted)
        monkeypatch.setattr(os, "pread", watched)
        scrub_of = parts_of(store).scrub
        assert scrub_of
        scrub_of.plan.resume_at = 0.0
        wait_until(lambda: damaged(store) == 2 and len(reads) >= 3, "both are found")
    assert max(rows) <= 5
    assert max(reads) <= 1024 * 1024
    assert not any(is_locked)


def test_a_segment_that_may_not_be_read_is_reported_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path, segment_bytes=6 * SIZE, durability="os") as store:
        ship(store, 10, 30)
    first, second, *_ = segments_of(tmp_path)
    flip(second)

    def refuse(path: Path, flags: int) -> tuple[int, int]:
        if path == first:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_sized(path, flags)

    monkeypatch.setattr("logferry.server.storage.disk.content.segment_bytes.open_sized", refuse)
    with opened(tmp_path, **QUICK) as store:
        wait_until(lambda: damaged(store), "the other one is found")
        assert damaged(store) == 1
    assert [record for record in caplog.records if "cannot be read: Permission denied" in record.getMessage()]


@pytest.mark.parametrize("place", ["judge_segment", "judge_extent"])
def test_a_segment_that_is_repaired_while_it_is_checked_is_not_recorded_as_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Between the look at the whole segment and the look at its extents, and between that and the record."""
    original = getattr(scrub, place)
    is_healed: list[bool] = []
    with opened(tmp_path, scrub_interval_s=0.0, durability="os") as store:
        ship(store, 10, 30)
        flip(segments_of(tmp_path)[0])

        def heal_behind(*values: Any, **more: Any) -> Any:
            judged = original(*values, **more)
            if not is_healed and judged.problem:
                is_healed.append(True)
                heal(store, tmp_path)
            return judged

        monkeypatch.setattr(scrub, place, heal_behind)
        parts = parts_of(store)
        checker = Scrub(tmp_path, parts.damage, parts.repair, interval_s=1000.0, max_bytes_per_s=1 << 30)
        while checker.bytes_read < 20 * SIZE:
            checker._step()
        assert is_healed
        assert damaged(store) == 0
    with closing(Ledger(tmp_path, durable=False, read_only=True)) as ledger:
        assert ledger.count_damage() == 0


def test_damage_of_what_retention_deletes_is_forgotten_while_the_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_SIZES_S", 0.02)
    with opened(tmp_path, segment_bytes=6 * SIZE, retention_bytes=12 * SIZE, **QUICK) as store:
        ship(store, 10, 20)
        flip(segments_of(tmp_path)[0])
        wait_until(lambda: damaged(store), "the damage is found")
        ship(store, 20, 60)
        wait_until(lambda: not damaged(store), "the damage is forgotten")
        assert not store.damaged_sources("client-1")
