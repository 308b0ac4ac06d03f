"""Losses and unknown windows in `logferry status`, also of earlier runs, until somebody has acknowledged them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_OK
from logferry.cli.dispatch import main
from logferry.client.state.known_losses import MAX_WINDOWS_OF_FILE, KnownLosses
from logferry.client.state.losses_file import FILE_NAME, FORGOTTEN, MAX_ENTRIES, read_losses
from logferry.client.status.acknowledged import FILE_NAME as ACKNOWLEDGED
from logferry.client.status.inspect import inspect
from logferry.errors import StateError
from logferry.model.unknown_window import UnknownWindow
from logferry.telemetry.table import Counters
from tests.support.builders import Clock
from tests.support.running import running_server
from tests.support.shipping import once, shipping
from tests.support.statuses import NOW, running, say

# An entry with a time that is none.
LOSS_AT = (
    b'{"version": 1, "numbered": 1, "forgotten": 0, "losses": [{"number": 1, "path": "/a", "source": "s", "start": 0, '
    b'"end": 1, "reason": "x", "noticed_at": %s}]}'
)

pytestmark = pytest.mark.usefixtures("logging_restored")


def window(source: str = "s1", path: str = "/var/log/app.log", reason: str = "it is gone") -> UnknownWindow:
    return UnknownWindow(source, path, 4711, NOW - 300, NOW - 60, reason)


def run_status(folder: Path, *words: str) -> int:
    return main(["status", "--state-dir", str(folder), *words])


def test_a_window_is_a_problem_until_it_is_acknowledged_also_after_a_restart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(say(tmp_path / "state", pid=os.getpid(), counters=Counters(unknown_windows=1))) as folder:
        KnownLosses(folder).add_window(window())
        assert run_status(folder) == EXIT_INCOMPLETE
        shown = capsys.readouterr().out
        assert "may be lost: /var/log/app.log: what was written at byte 4711 and later: it is gone; last look" in shown
        assert "problem: files that may have lost bytes that nobody saw: 1" in shown
        say(folder, pid=os.getpid(), started_at=NOW)  # another run
        assert run_status(folder, "--json") == EXIT_INCOMPLETE
        (loss,) = json.loads(capsys.readouterr().out)["windows"]
        assert (loss["path"], loss["start"], loss["is_window"]) == ("/var/log/app.log", 4711, True)
        assert run_status(folder, "--acknowledge") == EXIT_OK
        assert "what was written at byte 4711" in capsys.readouterr().out
        assert run_status(folder) == EXIT_OK
        KnownLosses(folder).add_window(window("s2", "/var/log/other.log"))
        assert run_status(folder) == EXIT_INCOMPLETE
        assert "app.log" not in capsys.readouterr().out


def test_losses_of_earlier_runs_are_known_and_those_of_this_run_are_counted_until_acknowledged(tmp_path: Path) -> None:
    with running(say(tmp_path / "state", pid=os.getpid(), counters=Counters(bytes_lost=5))) as folder:
        known = KnownLosses(folder)
        for start in (0, 100):
            known.add_loss("/var/log/app.log", "s1", start, start + 50, "truncated before it was read")
        known.close()
        (loss,) = inspect(folder, now=NOW).losses
        assert (loss.count, loss.size, loss.start) == (2, 100, 100)
        assert inspect(folder, now=NOW).problems == ("5 bytes were gone before they were read",)
        assert run_status(folder, "--acknowledge") == EXIT_OK
        assert inspect(folder, now=NOW).problems == ()
        say(folder, pid=os.getpid(), counters=Counters(bytes_lost=12))
        assert inspect(folder, now=NOW).problems == ("7 bytes were gone before they were read",)
        (folder / ACKNOWLEDGED).unlink()
        later = loss.noticed_at + 1
        say(folder, pid=os.getpid(), started_at=later, written_at=later)
        (problem,) = inspect(folder, now=later).problems
        assert problem.startswith("100 bytes were lost in earlier runs")


def test_a_window_that_is_over_is_no_problem(tmp_path: Path) -> None:
    with running(say(tmp_path / "state", pid=os.getpid())) as folder:
        known = KnownLosses(folder)
        known.add_window(window())
        known.note_found("s1")
        assert inspect(folder, now=NOW).problems == ()


def test_known_losses_are_kept_across_runs_and_bounded(tmp_path: Path) -> None:
    known = KnownLosses(tmp_path)
    assert known.add_window(window())
    assert not KnownLosses(tmp_path).add_window(window()), "it is known"
    assert known.add_window(window("s2")), "another source of the same file"
    assert [(entry.count, entry.source) for entry in read_losses(tmp_path).losses] == [(1, "s1"), (1, "s2")]
    for number in range(3, MAX_WINDOWS_OF_FILE + 6):
        known.add_window(window(f"s{number}"))
    entries = read_losses(tmp_path).losses
    assert (len(entries), entries[-1].count, entries[-1].source) == (
        MAX_WINDOWS_OF_FILE,
        6,
        f"s{MAX_WINDOWS_OF_FILE + 5}",
    )
    known.note_found("s20")
    known.note_recorded(window(f"s{MAX_WINDOWS_OF_FILE + 5}"))
    known.close()
    recorded = [entry.is_recorded for entry in read_losses(tmp_path).losses]
    assert recorded == [False] * (MAX_WINDOWS_OF_FILE - 1) + [True]
    for number in range(MAX_ENTRIES + 5):
        known.add_loss(f"/var/log/{number}.log", "s", 0, 1, "x")
    known.close()
    assert len(read_losses(tmp_path).losses) == MAX_ENTRIES


def test_what_is_acknowledged_or_over_makes_room_first_and_what_is_forgotten_is_counted_until_acknowledged(
    tmp_path: Path,
) -> None:
    acknowledged = [0]
    with running(say(tmp_path / "state", pid=os.getpid())) as folder:
        clock = Clock()
        known = KnownLosses(folder, acknowledged=lambda: acknowledged[0], clock=clock)
        known.add_window(window("s1", "/var/log/first.log"))
        for number in range(MAX_ENTRIES - 1):
            known.add_loss(f"/var/log/{number}.log", "s", 0, 5, "x")
        known.add_window(window("s2", "/var/log/unread.log"))  # nobody has acknowledged any
        assert [loss.count for loss in read_losses(folder).losses if not loss.path] == [2], "this entry needs room, too"
        known.note_found("s2")
        known.add_loss("/var/log/next.log", "s", 0, 5, "x")
        known.close()
        names = {loss.path for loss in read_losses(folder).losses}
        assert "/var/log/unread.log" not in names, "it is over"
        assert [loss.count for loss in read_losses(folder).losses if not loss.path] == [2]
        (problem,) = [problem for problem in inspect(folder, now=NOW).problems if "forgotten" in problem]
        assert problem.startswith(f"{FORGOTTEN}: 2 (")
        assert run_status(folder, "--acknowledge") == EXIT_OK
        acknowledged[0] = read_losses(folder).numbered
        clock.now += 1
        known.add_window(window("s3"))
        for number in range(MAX_ENTRIES - 1):
            known.add_loss(f"/var/log/later/{number}.log", "s", 0, 5, "x")
        known.close()
        assert inspect(folder, now=NOW).losses[0].source == "s3"
        assert not any("forgotten" in problem for problem in inspect(folder, now=NOW).problems)


def test_a_file_that_is_found_ends_only_its_own_window_of_those_that_are_one_entry(tmp_path: Path) -> None:
    known = KnownLosses(tmp_path)
    count = MAX_WINDOWS_OF_FILE + 3
    for number in range(count):
        known.add_window(window(f"s{number}"))
    known.note_found(f"s{count - 1}")
    for losses in (known, KnownLosses(tmp_path)):
        losses.note_found("s0")
        losses.note_found(f"s{count - 2}")  # nobody knows that it is in the entry
        open_ones = [loss for loss in losses if not loss.is_over]
        assert sum(loss.count for loss in open_ones) == count - 2
        assert all(loss.is_recorded for loss in open_ones if not loss.source), "it cannot be sent again"
    known.add_window(window("another"))
    known.note_found("another")
    assert sum(loss.count for loss in known if not loss.is_over) == count - 2


@pytest.mark.parametrize("reason", ["it is gone", "it was truncated"])
def test_a_source_that_is_lost_again_after_it_was_found_is_a_new_window(tmp_path: Path, reason: str) -> None:
    with running(say(tmp_path / "state", pid=os.getpid())) as folder:
        known = KnownLosses(folder)
        known.add_window(window())
        known.note_recorded(window())
        assert run_status(folder, "--acknowledge") == EXIT_OK
        known.note_found("s1")
        for losses in (known, KnownLosses(folder)):  # in the same run and after a restart
            losses.note_found("s1")
            assert losses.add_window(window(reason=reason))
            assert not losses.add_window(window(reason=reason)), "it is known"
            (entry,) = read_losses(folder).losses
            assert (entry.reason, entry.count, entry.is_recorded, entry.is_over) == (reason, 1, False, False)
            assert len(inspect(folder, now=NOW).problems) == 1


def test_a_window_that_another_thread_forgets_while_its_file_is_found_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crowded:
        """A lock for which one must wait: meanwhile another thread does something."""

        meanwhile: Callable[[], object] = staticmethod(lambda: None)

        def __enter__(self) -> None:
            act, self.meanwhile = self.meanwhile, lambda: None
            act()

        def __exit__(self, *error: object) -> None:
            pass

    lock = Crowded()
    monkeypatch.setattr("logferry.client.state.known_losses.threading", SimpleNamespace(Lock=lambda: lock))
    monkeypatch.setattr("logferry.client.state.known_losses.MAX_ENTRIES", 2)
    known = KnownLosses(tmp_path)
    known.add_window(window())
    known.add_loss("/var/log/another.log", "s2", 0, 1, "x")
    lock.meanwhile = lambda: known.add_loss("/var/log/other.log", "s3", 0, 1, "x")
    known.note_found("s1")
    assert [entry.source for entry in known] == ["s3", ""]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{")], ids=["deleted", "damaged"])
def test_new_losses_count_although_earlier_ones_were_acknowledged_and_their_file_is_gone(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    log, state = tmp_path / "app.log", tmp_path / "state"
    log.write_bytes(b"x" * 3000 + b"\n")
    say(state)
    known = KnownLosses(state)
    for source in ("s1", "s2", "s3"):
        known.add_window(window(source))
    run_status(state, "--acknowledge")
    assert inspect(state, now=NOW).losses == ()
    damage(state / FILE_NAME)
    with running_server(tmp_path, max_record_bytes=1024) as server, shipping(log, server.port, **once(tmp_path)) as run:
        assert run.result().problems
        assert server.stored_lines() == []
    *damage_to_the_file, loss = inspect(state, now=NOW).losses
    assert (loss.path, loss.number) == (str(log), 4 + len(damage_to_the_file))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"7", b'{"version": 2, "numbered": 0, "forgotten": 0, "losses": []}', b"[" * 100_000),
        b'{"version": 1, "numbered": -1, "forgotten": 0, "losses": []}',
        b'{"version": 1, "numbered": 1, "forgotten": 0, "losses": [{"number": "1"}]}',
        b'{"version": 1, "numbered": 1, "forgotten": 0, "losses": [7]}',
        *(LOSS_AT % at for at in (b"NaN", b"-Infinity", b"1e400", b"1e300", b"1" + 400 * b"0")),
    ],
)
def test_damaged_losses_are_set_aside_by_a_client_and_are_a_problem_until_acknowledged(
    tmp_path: Path, content: bytes
) -> None:
    with running(say(tmp_path / "state", pid=os.getpid())) as folder:
        (folder / FILE_NAME).write_bytes(content)
        with pytest.raises(StateError, match="cannot understand"):
            read_losses(folder)
        (problem,) = inspect(folder, now=NOW).problems
        assert problem.startswith("cannot understand ")
        assert run_status(folder, "--acknowledge") == EXIT_INCOMPLETE, "nobody could read what is lost"
        for _ in range(2):  # the client, and its next run
            (loss,) = KnownLosses(folder)
            assert (loss.path, loss.reason.endswith(f"(kept as {FILE_NAME}.damaged)")) == ("", True)
        assert (folder / f"{FILE_NAME}.damaged").read_bytes() == content
        assert len(inspect(folder, now=NOW).problems) == 1
        assert run_status(folder, "--acknowledge") == EXIT_OK


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"[]", b'{"version": 1, "number": "7", "run": [1, 2], "counters": {}}'),
        b'{"version": 1, "number": 1%s, "run": [1, 2], "counters": {}}' % (4000 * b"0"),
        b'{"version": 1, "number": 7, "run": [1, 1%s], "counters": {}}' % (400 * b"0"),
    ],
)
def test_a_damaged_acknowledgement_acknowledges_nothing(tmp_path: Path, content: bytes) -> None:
    with running(say(tmp_path / "state", pid=os.getpid())) as folder:
        KnownLosses(folder).add_window(window())
        (folder / ACKNOWLEDGED).write_bytes(content)
        assert len(inspect(folder, now=NOW).problems) == 1
