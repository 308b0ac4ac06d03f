"""A disk with little room: nothing new is taken, nothing is lost, and it goes on by itself."""

import logging
from pathlib import Path
from typing import Any

import pytest

from logferry.config import ServeSettings, load
from logferry.server.clients.bridge.store_bridge import sign_of_life
from logferry.server.storage.disk.files import free_space
from logferry.server.storage.disk.files.free_space import FreeSpace
from logferry.server.storage.store import StoreState
from tests.support.http import http_get, http_port
from tests.support.running import numbered_line, running_server, stored_lines, wait_until
from tests.support.stores import LimitedFiles, Stored, delivery, opened, problems, small_disk

MIB = 1024 * 1024
LINES = [numbered_line(number) for number in range(100)]
REASON = "less than 64M are free on the server's disk (--min-free-bytes)"


def test_below_the_limit_acks_wait_and_above_it_everything_is_stored_once(tmp_path: Path) -> None:
    files, stored = LimitedFiles(free=64 * MIB - 1), Stored()
    with opened(tmp_path, file_system=files, min_free_bytes=64 * MIB, first_retry_s=0.005) as store:
        for line in LINES:
            store.submit(delivery(line), stored)
        wait_until(lambda: store.health().state is StoreState.STALLED, "it takes nothing")
        assert store.health().reason == store.health().shortage == REASON
        assert REASON.encode() in sign_of_life(store)
        assert (stored.lines, stored_lines(tmp_path)) == ([], [])
        files.free = 64 * MIB
        wait_until(lambda: len(stored.lines) == 100, "all is stored")
        assert store.health().state is StoreState.STORING
        assert store.health().shortage == ""
    assert stored_lines(tmp_path) == stored.lines == LINES
    assert problems(tmp_path) == [""]


def test_a_server_without_deliveries_notices_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_space, "_LOOK_S", 0.005)
    files = LimitedFiles(free=65 * MIB)
    with opened(tmp_path, file_system=files, min_free_bytes=64 * MIB) as store:
        assert store.health().free_bytes == 65 * MIB
        assert store.health().disk_bytes == 1 << 30
        files.free = 1
        wait_until(lambda: store.health().shortage == REASON, "it is noticed")
        assert store.health().state is StoreState.STORING
        files.free = 65 * MIB
        wait_until(lambda: store.health().shortage == "", "it is over")


def test_of_a_disk_that_is_smaller_than_the_limit_a_part_is_kept_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = LimitedFiles(free=1 << 30)
    space = FreeSpace(tmp_path, files, min_bytes=2 << 30)
    assert space.min_bytes == 64 * MIB
    assert "the disk of the data folder has only 1G" in caplog.text
    space.check()
    files.free = 64 * MIB - 1
    with pytest.raises(OSError, match="less than 64M are free"):
        space.check()


class Room:
    """Makes ten bytes of room at a time, `most` times."""

    def __init__(self, files: LimitedFiles, most: int) -> None:
        self.files, self.most, self.made = files, most, 0

    def __call__(self) -> bool:
        self.made += 1
        self.files.free += 10
        return self.made < self.most


def test_room_is_made_first_a_little_at_a_time_and_no_more_than_is_needed(tmp_path: Path) -> None:
    files = LimitedFiles(free=1)
    room = Room(files, most=1000)
    FreeSpace(tmp_path, files, min_bytes=50, make_room=room).check()
    assert room.made == 5


def test_the_disk_counts_as_full_when_no_more_room_can_be_made(tmp_path: Path) -> None:
    files = LimitedFiles(free=1)
    room = Room(files, most=3)
    with pytest.raises(OSError, match="less than 50 bytes are free"):
        FreeSpace(tmp_path, files, min_bytes=50, make_room=room).check()
    assert room.made == 3


def test_a_server_that_stops_does_not_make_all_the_room_first(tmp_path: Path) -> None:
    files = LimitedFiles(free=1)
    room = Room(files, most=1000)
    space = FreeSpace(tmp_path, files, min_bytes=50, make_room=room)
    space.ask_to_stop()
    with pytest.raises(OSError, match="less than 50 bytes are free"):
        space.check()
    assert room.made == 1


def test_a_disk_that_does_not_say_how_much_is_free_has_no_limit(tmp_path: Path) -> None:
    space = FreeSpace(tmp_path, LimitedFiles(free=-1), min_bytes=64 * MIB)
    space.check()
    assert (space.free_bytes, space.total_bytes, space.shortage) == (0, 0, "")


def test_without_a_limit_the_disk_is_not_asked_for_each_group(tmp_path: Path) -> None:
    files = LimitedFiles(free=0)
    with opened(tmp_path, file_system=files, min_free_bytes=0) as store:
        stored = Stored()
        store.submit(delivery(LINES[0]), stored)
        wait_until(lambda: stored.lines, "it is stored")


def test_a_real_disk_stops_at_the_limit_with_room_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        settings: dict[str, Any] = {"data_dir": disk / "data", "min_free_bytes": 4 * MIB, "http": ("127.0.0.1", 0)}
        ballast = disk / "ballast"
        with caplog.at_level(logging.INFO, "logferry"), running_server(tmp_path, **settings) as server:
            port = http_port(caplog)
            ballast.write_bytes(bytes(5 * MIB))
            with server.connect() as client:
                client.send(b"".join(LINES))
                wait_until(lambda: "503" in http_get(port, "/readyz").splitlines()[0], "it is not ready")
                assert "less than 4M are free on the server's disk (--min-free-bytes)" in http_get(port, "/readyz")
                assert server.stored_lines() == []
                ballast.unlink()
                assert client.answers(100) == ["ok"] * 100
            wait_until(lambda: http_get(port, "/readyz").endswith("\r\n\r\nready\n"), "it is ready")
            assert server.stored_lines() == LINES


def test_the_limit_is_64_mebibytes_unless_it_is_set() -> None:
    assert load(ServeSettings, {}, {}).min_free_bytes == 64 * MIB
