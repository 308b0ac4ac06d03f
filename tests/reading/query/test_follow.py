"""Lines as they come: none is left out and none comes twice, whatever the server does meanwhile. Judged by sets."""

import datetime
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logferry.errors import StoreError
from logferry.reading.disk import changes
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.disk.segments import SegmentReader
from logferry.reading.query.follow import Follower
from logferry.reading.query.search import search
from logferry.reading.query.selection import Selection
from logferry.server.storage.disk.disk_store import DiskStore
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.recovery.rebuild import rebuild
from logferry.server.storage.log_names import LogName
from tests.support.compressing import compress_all
from tests.support.looking import clock, line, looking, store_lines, three_hosts
from tests.support.running import DEADLINE_S, wait_until
from tests.support.stores import MONDAY, Stored, delivery, opened, parts_of


def messages(follower: Follower) -> list[str]:
    return [each.record.message for each in follower.look()]


def following(logs: DiskLogs, selection: Selection | None = None, **options: Any) -> Follower:
    return Follower(logs, selection or Selection(), **options)


class LookingFiles(FileSystem):
    """Looks whenever something is written to a segment: then its row is there, and its bytes are not committed."""

    def __init__(self) -> None:
        self.look: Callable[[], object] = lambda: None

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview]) -> int:
        self.look()
        return super().write(descriptor, pieces)


@pytest.mark.parametrize("begins", ["before", "within"])
def test_a_group_that_fills_several_segments_comes_once(tmp_path: Path, begins: str) -> None:
    files, shown, ended = LookingFiles(), list[str](), list[DiskLogs]()
    followers: list[Follower] = []

    def look() -> None:
        if not followers:
            logs = DiskLogs(tmp_path)
            ended.append(logs)
            followers.append(following(logs))
        shown.extend(messages(followers[0]))

    with opened(tmp_path, segment_bytes=200, file_system=files) as store:
        store_lines(store, "a", line("a0", clock(0)))
        if begins == "before":
            look()
        files.look = look
        stored = Stored()
        for number in range(1, 80):
            store.submit(delivery(line(f"a{number}", clock(number)), log=LogName("a", "")), stored)
        wait_until(lambda: len(stored.deliveries) == 79, "the lines are stored")
    files.look = lambda: None
    shown += messages(followers[0])
    before = [each.record.message for each in search(ended[0], Selection())]
    ended[0].close()
    assert sorted([*before, *shown]) == sorted(f"a{number}" for number in range(80))


def test_lines_come_once_through_rolls_days_restarts_and_a_new_ledger(tmp_path: Path) -> None:
    days = [MONDAY]
    with opened(tmp_path, segment_bytes=200, today=lambda: days[-1]) as store:
        store_lines(store, "a", *(line(f"a{number}", clock(number)) for number in range(5)))
        logs = DiskLogs(tmp_path)
        shown = [each.record.message for each in search(logs, Selection())]
        follower = following(logs)
        assert messages(follower) == []
        store_lines(store, "a", *(line(f"a{number}", clock(number)) for number in range(5, 15)))
        store_lines(store, "b", line("b0", clock(1)))
        shown += messages(follower)
        days.append(MONDAY + datetime.timedelta(days=1))
        store_lines(store, "a", line("a15"), line("a16"))
        shown += messages(follower)
        assert messages(follower) == []
    with opened(tmp_path, segment_bytes=200, today=lambda: days[-1]) as store:
        store_lines(store, "a", line("a17"))
    shown += messages(follower)
    rebuild(tmp_path)
    assert messages(follower) == []
    with opened(tmp_path, segment_bytes=200, today=lambda: days[-1]) as store:
        store_lines(store, "a", line("a18"), line("a19"), line("a20"))
        shown += messages(follower)
    logs.close()
    assert sorted(shown) == sorted([f"a{number}" for number in range(21)] + ["b0"])
    assert [each for each in shown if each.startswith("a")] == [f"a{number}" for number in range(21)]


def test_retention_deletes_what_was_shown_and_nothing_comes_again(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=200, retention_bytes=600) as store, looking(tmp_path) as logs:
        follower = following(logs)
        shown = []
        for number in range(30):
            store_lines(store, "a", line(f"a{number}", clock(number)))
            shown += messages(follower)
        assert shown == [f"a{number}" for number in range(30)]
        logs.refresh()
        assert len(list(search(logs, Selection()))) < 20


def test_only_what_is_asked_for_comes_and_its_context_once(tmp_path: Path) -> None:
    with three_hosts(tmp_path) as store, looking(tmp_path) as logs:
        errors = following(logs, Selection.of_words(levels=["error"], hosts=("a",)), before_lines=1, after_lines=1)
        store_lines(store, "b", line("no", level="ERROR"))
        store_lines(store, "a", line("x0"), line("x1"), line("e1", level="ERROR"), line("e2", level="ERROR"))
        assert messages(errors) == ["x1", "e1", "e2"]
        store_lines(store, "a", line("x2"), line("x3"), line("e3", level="ERROR"))
        assert [(each.record.message, each.is_context) for each in errors.look()] == [
            ("x2", True),
            ("x3", True),
            ("e3", False),
        ]


def test_a_ledger_that_cannot_be_read_for_a_while_loses_nothing(tmp_path: Path) -> None:
    with three_hosts(tmp_path):
        pass
    with looking(tmp_path) as logs:
        follower = following(logs)
        ledger = tmp_path / "ledger.sqlite3"
        ledger.rename(tmp_path / "away")
        assert messages(follower) == []
        assert "ledger.sqlite3" in follower.problem
        (tmp_path / "away").rename(ledger)
        with opened(tmp_path) as store:
            store_lines(store, "a", line("new"))
        assert messages(follower) == ["new"]
        assert follower.problem == ""


def test_nothing_is_lost_or_repeated_while_everything_happens_at_once(tmp_path: Path) -> None:
    """Rolls, compression, retention, scrub, and a server that is killed: its folder is as a copy made meanwhile."""
    busy: dict[str, Any] = {"segment_bytes": 300, "retention_bytes": 2000, "scrub_interval_s": 0.05}
    data, crashed, copied = tmp_path / "data", tmp_path / "crashed", threading.Event()
    shown: list[str] = []

    def dies(point: str) -> None:
        if point == "compressed file renamed" and not crashed.exists():
            shutil.copytree(data, crashed)
            copied.set()

    def store_and_look(store: DiskStore, first: int, last: int) -> None:
        for number in range(first, last):
            for host in "ab":
                store_lines(store, host, line(f"{host}{number}", clock(number)))
            if number % 3 == 0:
                shown.extend(messages(follower))

    with opened(data, **busy, crash_point=dies) as store:
        logs = DiskLogs(data)
        follower = following(logs)
        store_and_look(store, 0, 30)
        parts_of(store).compressor.change("gzip")
        assert copied.wait(DEADLINE_S)
    data.rename(tmp_path / "before")
    crashed.rename(data)
    with opened(data, **busy, compression="gzip") as store:
        store_and_look(store, 30, 50)
        wait_until(lambda: list(data.rglob("*.gz")), "segments are compressed")
        store_and_look(store, 50, 60)
        shown += messages(follower)
    logs.close()
    for host in "ab":
        assert [each for each in shown if each.startswith(host)] == [f"{host}{number}" for number in range(60)]


@pytest.mark.parametrize("failing", ["ledger", "file"])
def test_what_an_error_has_kept_from_being_shown_comes_with_the_next_look(
    tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with three_hosts(tmp_path) as store, looking(tmp_path) as logs:
        follower = following(logs)
        for host in "abc":
            store_lines(store, host, line(f"{host}1"), line(f"{host}2"))
        read, calls = SegmentReader._bytes, []

        def once_failing(reader: SegmentReader, *arguments: Any) -> bytes:
            calls.append(arguments)
            if len(calls) == 2:
                raise FileNotFoundError if failing == "ledger" else PermissionError(13, "Permission denied")
            return read(reader, *arguments)

        monkeypatch.setattr(SegmentReader, "_bytes", once_failing)
        if failing == "ledger":
            monkeypatch.setattr(logs._reader, "_now", failing_ledger)
        shown = messages(follower)
        assert follower.problem
        store_lines(store, "b", line("b3"))
        shown += messages(follower)
    assert not follower.problem
    assert sorted(shown) == ["a1", "a2", "b1", "b2", "b3", "c1", "c2"]
    assert [each for each in shown if each.startswith("b")] == ["b1", "b2", "b3"]


def failing_ledger(_: object) -> None:
    raise StoreError("the ledger is busy")


def test_what_stays_unreadable_is_left_out_and_said_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with three_hosts(tmp_path) as store, looking(tmp_path) as logs:
        follower = following(logs)
        store_lines(store, "a", line("gone"))
        store_lines(store, "b", line("there"))
        (segment,) = (tmp_path / "segments" / "a").rglob("*.ndjson")
        segment.unlink()
        assert messages(follower) == ["there"]
        assert segment.name in follower.problem
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 60, time_ns=time.time_ns)
        monkeypatch.setattr(changes, "time", later)
        assert messages(follower) == []
        assert follower.problem.startswith("left out ")
        store_lines(store, "a", line("in another segment"))
        assert messages(follower) == ["in another segment"]
        assert not follower.problem


def test_a_segment_that_has_another_file_by_now_is_read_from_that(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=400) as store, looking(tmp_path) as logs:
        for number in range(20):
            store_lines(store, "a", line(f"a{number}", clock(number)))
        logs.refresh()
        assert len(list(search(logs, Selection()))) == 20  # files are open from now on
        compress_all(store, tmp_path, "gzip")
        for path in (tmp_path / "segments").rglob("*.gz"):
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
        assert len(list(search(logs, Selection()))) == 20
