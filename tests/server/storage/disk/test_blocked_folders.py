"""Something that is not a folder has the name of a log's folder: that log waits, and nothing else does."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.log_names import LogName
from tests.server.storage.disk.integrity.test_repair import ship
from tests.support.running import stored_lines, wait_until
from tests.support.stores import LINES, SIZE, Stored, delivery, in_one_group, opened, problems, segments_of

STORE: dict[str, Any] = {"segment_bytes": 10 * SIZE}

OTHER = LogName("web-2", "/var/log/app.log")


def touch(path: Path) -> None:
    path.touch()


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere/at/all")


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


Block = Callable[[Path], None]
KINDS = [touch, link_to_itself, link_to_nothing, make_pipe]


def move_away(folder: Path, block: Block) -> Path:
    """Move a folder away, and put something else in its place; return where it is."""
    away = folder.with_name("away")
    folder.rename(away)
    block(folder)
    return away


def put_back(folder: Path, away: Path) -> None:
    folder.unlink()
    away.rename(folder)


def stores_lines_of_others(store: DiskStore) -> None:
    stored = Stored()
    store.submit(delivery(LINES[0], log=OTHER), stored)
    wait_until(lambda: stored.lines, "the line of another log is stored")


@pytest.mark.parametrize("block", KINDS)
def test_other_logs_are_stored_and_that_one_once_its_folder_is_there(tmp_path: Path, block: Block) -> None:
    stored = Stored()
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 14)
        away = move_away(tmp_path / "segments/web-1/var", block)
        store.submit(delivery(LINES[1], log=LogName("web-1", "/var/log/new.log")), stored)
        stores_lines_of_others(store)
        assert not stored.deliveries
        put_back(tmp_path / "segments/web-1/var", away)
        wait_until(lambda: stored.lines, "the line that has waited is stored")
        ship(store, 14, 40)
    assert set(problems(tmp_path)) == {""}
    assert sorted(stored_lines(tmp_path)) == sorted([*LINES[10:40], LINES[0], LINES[1]])


def after_power_cut(tmp_path: Path) -> Path:
    """Return a data folder whose ledger has lines of which nothing has reached their segment."""
    data_dir, copy = tmp_path / "data", tmp_path / "copy"

    def crash_point(name: str) -> None:
        if name == "after transaction":
            shutil.copytree(data_dir, copy)

    with opened(data_dir, crash_point=crash_point, **STORE) as store, in_one_group(store):
        for line, log in ((LINES[1], LogName("web-1", "/var/log/app.log")), (LINES[2], OTHER)):
            store.submit(delivery(line, log=log), Stored())
    for segment in segments_of(copy):
        os.truncate(segment, 0)
    return copy


@pytest.mark.parametrize("block", KINDS)
def test_a_server_starts_and_forgets_nothing_that_it_cannot_write_there(tmp_path: Path, block: Block) -> None:
    data_dir = after_power_cut(tmp_path)
    away = move_away(data_dir / "segments/web-1/var", block)
    for _ in range(2):
        with opened(data_dir, **STORE) as store:
            stores_lines_of_others(store)
        assert sorted(filter(None, problems(data_dir))) == ["is missing"]
    put_back(data_dir / "segments/web-1/var", away)
    with opened(data_dir, **STORE):
        pass
    assert set(problems(data_dir)) == {""}
    assert sorted(stored_lines(data_dir)) == sorted([*LINES[:3], LINES[0]])


def test_a_pipe_in_the_place_of_a_segment_keeps_no_server_from_starting(tmp_path: Path) -> None:
    data_dir = after_power_cut(tmp_path)
    segment = segments_of(data_dir)[0]
    segment.unlink()
    os.mkfifo(segment)
    with opened(data_dir, **STORE) as store:
        stores_lines_of_others(store)
    segment.unlink()
    with opened(data_dir, **STORE):
        pass
    assert set(problems(data_dir)) == {""}


@pytest.mark.parametrize("block", KINDS)
def test_retention_deletes_what_lies_elsewhere(tmp_path: Path, block: Block) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 22)
        ship(store, 10, 42, source="s2", path="/other/x.log")
        away = move_away(tmp_path / "segments/web-1/var", block)
        store.change_limits(segment_bytes=10 * SIZE, retention_bytes=1, retention_days=0)
        stores_lines_of_others(store)
        wait_until(
            lambda: len(list((tmp_path / "segments/web-1/other").rglob("*.ndjson"))) == 1, "the others are deleted"
        )
    assert len(list(away.rglob("*.ndjson"))) == 2


def test_a_segment_that_cannot_be_deleted_keeps_no_other_from_being_deleted(tmp_path: Path) -> None:
    with opened(tmp_path, **STORE) as store:
        ship(store, 10, 42)
        first = segments_of(tmp_path)[0]
        first.unlink()
        first.mkdir()
        store.change_limits(segment_bytes=10 * SIZE, retention_bytes=1, retention_days=0)
        stores_lines_of_others(store)
        wait_until(lambda: len([path for path in segments_of(tmp_path) if path.is_file()]) == 2, "the others are gone")
