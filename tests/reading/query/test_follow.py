"""Lines as they come: none is left out and none comes twice, whatever the server does meanwhile. Judged by sets."""

import datetime
from pathlib import Path

from logferry.reading.disk.logs import DiskLogs
from logferry.reading.query.follow import Follower
from logferry.reading.query.search import search
from logferry.reading.query.selection import Selection
from logferry.server.storage.disk.recovery.rebuild import rebuild
from tests.support.looking import clock, line, looking, store_lines, three_hosts
from tests.support.stores import MONDAY, opened


def messages(follower: Follower) -> list[str]:
    return [each.record.message for each in follower.look()]


def following(logs: DiskLogs, selection: Selection | None = None, **options: int) -> Follower:
    return Follower(logs, selection or Selection(), **options)


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
