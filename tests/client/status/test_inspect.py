"""`logferry status`: what is made of the last word of a client, of its lock and of its files; and how it is shown."""

import dataclasses
import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.client.status_report import status_as_json, status_as_table
from logferry.cli.dispatch import main
from logferry.client.delivery.output import Guarantee
from logferry.client.status.connection_state import ConnectionTracker
from logferry.client.status.inspect import Inspection, inspect
from logferry.client.status.snapshot import decode
from logferry.errors import StateError
from logferry.folder_lock import FolderInUse, lock_folder, lock_holder
from logferry.model.file_report import FileReport
from logferry.telemetry.table import Counters
from tests.support.builders import Clock
from tests.support.running import DEADLINE_S
from tests.support.shipping import Printed
from tests.support.statuses import DEAD, NOW, many, of_file, running, say

# --- is it running? ---------------------------------------------------------------------------------------------------


def test_asking_who_holds_a_lock_never_keeps_a_client_from_starting(tmp_path: Path) -> None:
    lock_folder(tmp_path).close()
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            lock_holder(tmp_path)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(200):
            lock_folder(tmp_path).close()
    finally:
        is_over.set()
        asker.join(DEADLINE_S)


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None
    with running(tmp_path):
        assert lock_holder(tmp_path) == str(os.getpid())
        with pytest.raises(FolderInUse):
            lock_folder(tmp_path)
    assert lock_holder(tmp_path) is None


def test_a_client_that_runs_quietly_has_no_problem_however_old_its_word_is(tmp_path: Path) -> None:
    with running(say(tmp_path / "state", *many(3), pid=os.getpid())) as folder:
        found = inspect(folder, now=NOW + 86400)
    assert (found.is_running, found.pid, found.age_seconds, found.problems) == (True, os.getpid(), 86400, ())


def test_a_client_that_was_killed_is_not_running(tmp_path: Path) -> None:
    found = inspect(say(tmp_path / "state", *many(3)), now=NOW)
    assert (found.is_running, found.pid) == (False, DEAD)
    assert found.problems == ("not running: it was killed, or its machine went down",)


def test_a_client_that_was_stopped_is_not_running_either(tmp_path: Path) -> None:
    assert inspect(say(tmp_path, ended_at=NOW), now=NOW).problems == ("not running: it was stopped",)


def test_a_batch_run_that_ended_well_is_no_problem(tmp_path: Path) -> None:
    assert inspect(say(tmp_path, mode="batch", ended_at=NOW), now=NOW).problems == ()


def test_a_problem_of_a_run_is_reported_once(tmp_path: Path) -> None:
    counters = Counters(bytes_lost=5)
    assert inspect(say(tmp_path, counters=counters, mode="batch", ended_at=NOW), now=NOW).problems == (
        "5 bytes were gone before they were read",
    )
    outcome = "5 bytes were gone before they were read"
    assert inspect(say(tmp_path, counters=counters, mode="batch", ended_at=NOW, outcome=outcome), now=NOW).problems == (
        f"not running: {outcome}",
    )


@pytest.mark.parametrize("said", [{"pid": DEAD}, {"ended_at": NOW}], ids=["another-process", "the-same-id-again"])
def test_the_word_of_an_earlier_run_is_not_taken_for_that_of_this_one(tmp_path: Path, said: dict[str, Any]) -> None:
    with running(say(tmp_path / "state", **{"pid": os.getpid(), **said})) as folder:
        (problem,) = inspect(folder, now=NOW).problems
    assert "has not reported a status yet; this is the status of an earlier run" in problem


def test_waiting_for_the_server_is_a_problem_with_a_reason(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = NOW - 60
    link = ConnectionTracker(clock=clock)
    link.failed("connection refused")
    clock.now = NOW - 5
    link.failed("connection refused again")
    with running(say(tmp_path / "state", pid=os.getpid(), link=link.state)) as folder:
        assert inspect(folder, now=NOW).problems == ("waiting for the server for 60 s: connection refused again",)


# --- what the disk says -----------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give a file of a thousand bytes that was written to at NOW + 10."""
    path = tmp_path / "app.log"
    path.write_bytes(bytes(1000))
    os.utime(path, (NOW + 10, NOW + 10))
    return path


def test_what_was_appended_since_is_lag(tmp_path: Path, log: Path) -> None:
    with running(say(tmp_path / "state", of_file(log, committed=400), pid=os.getpid())) as folder:
        (file,) = inspect(folder, now=NOW + 50).files
    assert (file.size, file.lag_bytes, file.lag_seconds) == (1000, 600, 40), "since the file was written to"


def test_the_lag_of_a_dead_client_counts_from_its_last_report(tmp_path: Path, log: Path) -> None:
    (file,) = inspect(say(tmp_path / "state", of_file(log, committed=400)), now=NOW + 50).files
    assert (file.lag_bytes, file.lag_seconds) == (600, 50)


def test_a_client_that_was_behind_already_lags_since_then(tmp_path: Path, log: Path) -> None:
    said = of_file(log, committed=400, behind_since=NOW - 30)
    with running(say(tmp_path / "state", said, pid=os.getpid())) as folder:
        assert inspect(folder, now=NOW + 50).files[0].lag_seconds == 80


def test_a_file_that_is_acked_does_not_lag(tmp_path: Path, log: Path) -> None:
    (file,) = inspect(say(tmp_path / "state", of_file(log, committed=1000, behind_since=NOW)), now=NOW + 50).files
    assert (file.lag_bytes, file.lag_seconds, file.reason) == (0, 0.0, "")


def test_names_are_looked_for_where_the_client_looks(tmp_path: Path, log: Path) -> None:
    said = dataclasses.replace(of_file(log, committed=400), path="app.log", name="app.log")
    (file,) = inspect(say(tmp_path / "state", said, directory=str(tmp_path)), now=NOW).files
    assert (file.lag_bytes, file.since_then, file.other_name) == (600, "", "")


def _rotate(log: Path) -> None:
    log.rename(log.with_suffix(".1"))
    log.write_bytes(b"new")


@pytest.mark.parametrize(
    ("change", "since_then", "lag"),
    [
        (_rotate, "replaced: this path is now a different file", 300),
        (Path.unlink, "deleted or renamed since", 300),
        (lambda log: os.truncate(log, 50), "truncated since", 50),
        (
            lambda log: log.parent.joinpath("x").symlink_to("x") or log.unlink() or log.symlink_to("x"),
            "cannot check it now",
            300,
        ),
    ],
    ids=["rotated", "deleted", "truncated", "unreachable"],
)
def test_what_has_happened_to_a_file_since_is_reported(
    tmp_path: Path, log: Path, change: Callable[[Path], object], since_then: str, lag: int
) -> None:
    folder = say(tmp_path / "state", of_file(log, committed=400, size=700))
    change(log)
    (file,) = inspect(folder, now=NOW).files
    assert file.since_then.startswith(since_then)
    assert file.reason == file.since_then
    assert file.lag_bytes == lag, "of what nobody can ask the disk for, the last word counts"


def test_what_comes_after_a_batch_run_is_no_lag(tmp_path: Path, log: Path) -> None:
    folder = say(tmp_path / "state", of_file(log, committed=400), mode="batch", ended_at=NOW)
    log.unlink()
    (file,) = inspect(folder, now=NOW).files
    assert (file.lag_bytes, file.reason) == (0, "")


def test_a_file_that_cannot_be_read_is_a_problem_and_says_why(tmp_path: Path) -> None:
    files = (*many(2), FileReport("/var/log/secret", state="unreadable", problem="Permission denied"))
    with running(say(tmp_path / "state", *files, pid=os.getpid())) as folder:
        found = inspect(folder, now=NOW)
    assert found.problems == ("1 of 3 files cannot be read",)
    assert [file.reason for file in found.files if file.is_unreadable] == ["Permission denied"]


# --- a file that says nothing -----------------------------------------------------------------------------------------


def test_a_folder_that_no_client_has_used_is_an_error(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StateError, match="no client has run with this state folder"):
            inspect(folder, now=NOW)


def test_a_client_that_has_not_reported_yet_is_an_error(tmp_path: Path) -> None:
    with running(tmp_path), pytest.raises(StateError, match=f"process {os.getpid()} is using the state folder"):
        inspect(tmp_path, now=NOW)


GOOD: dict[str, Any] = {
    "version": 1,
    "client": {"pid": 1, "mode": "batch", "server": "a:1", "started_at": 1, "written_at": 2},
    "files": [{"path": "/a"}],
}


def test_unknown_keys_of_a_later_version_are_ignored() -> None:
    later = {**GOOD, "another": 1, "files": [{"path": "/a", "colour": "red"}]}
    assert decode(json.dumps(later).encode()).files == (FileReport("/a"),)


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "null", "{}", "[" * 100_000, "{nonsense"),
        *({**GOOD, "version": 2}, {**GOOD, "client": {"pid": 1}}, {**GOOD, "client": [GOOD]}),
        {**GOOD, "client": {**GOOD["client"], "pid": "1"}},
        {**GOOD, "client": {**GOOD["client"], "counters": {"lines_read": "many"}}},
        {**GOOD, "client": {**GOOD["client"], "link": 5}},
        *({**GOOD, "files": [file]} for file in ({}, 5, {"path": 5}, {"path": "/a", "size": None})),
    ],
    ids=repr,
)
def test_a_file_that_is_not_a_status_is_an_error(tmp_path: Path, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(StateError, match="cannot understand"):
        inspect(tmp_path, now=NOW)


def test_a_status_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    with pytest.raises(StateError, match=r"status\.json: it is not a regular file"):
        inspect(tmp_path, now=NOW)


def test_a_lock_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(StateError, match=r"cannot read the state folder .*Not a directory"):
        inspect(tmp_path / "state", now=NOW)


# --- the table --------------------------------------------------------------------------------------------------------


def inspected(folder: Path, *files: FileReport, **more: Any) -> Inspection:
    """Return what is found of a running client that says so."""
    with running(say(folder, *files, **{"pid": os.getpid(), **more})):
        return inspect(folder, now=NOW)


def rows(table: str) -> list[list[str]]:
    """Return the cells of the rows of files, without the header."""
    lines = table.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("lag "))
    return [line.split() for line in lines[first + 1 :] if not line.startswith("and ")]


def test_files_that_need_attention_come_first_then_by_lag(tmp_path: Path) -> None:
    quiet, behind, further, held, secret = (
        dataclasses.replace(file, name="", path=f"/var/log/{name}", size=5000 + lag, state=state, problem=problem)
        for file, name, lag, state, problem in zip(
            many(5),
            ("quiet", "behind", "further", "held", "secret"),
            (0, 10, 20, 5, 0),
            ("parked", "following", "following", "held", "unreadable"),
            ("", "", "", "", "Permission denied"),
            strict=True,
        )
    )
    table = status_as_table(inspected(tmp_path / "state", quiet, behind, further, held, secret))
    assert [(row[0], row[-1]) for row in rows(table)] == [
        ("0", "denied"),
        ("5", "/var/log/held"),
        ("20", "/var/log/further"),
        ("10", "/var/log/behind"),
        ("0", "/var/log/quiet"),
    ]
    assert "/var/log/secret: Permission denied" in table
    assert "problem: 1 of 5 files cannot be read" in table


def test_a_row_says_all_that_is_known_of_a_file(tmp_path: Path) -> None:
    file = FileReport("/a", "/a.1", "cafe", 7, 8, 300, 200, 100, "held", "late", "json", NOW - 3700)
    (row,) = rows(status_as_table(inspected(tmp_path / "state", file, mode="batch")))
    assert " ".join(row) == "200 1 h 1 min held 300 100 json /a (now /a.1): late"


def test_a_name_without_a_file_has_no_numbers(tmp_path: Path) -> None:
    file = FileReport("/a", state="unreadable", problem="waiting for it to appear")
    (row,) = rows(status_as_table(inspected(tmp_path / "state", file)))
    assert " ".join(row) == "- - unreadable - - - /a: waiting for it to appear"


def test_of_many_files_the_problems_and_the_twenty_furthest_behind_are_shown(tmp_path: Path) -> None:
    files = [dataclasses.replace(file, size=5000 + max(0, file.inode - 70)) for file in many(100)]
    files += [FileReport(f"/secret/{number}", state="unreadable", problem="no") for number in range(60)]
    found = inspected(tmp_path / "state", *files, mode="batch")
    table = status_as_table(found)
    shown = rows(table)
    assert [row[0] for row in shown] == ["-"] * 60 + [str(lag) for lag in range(30, 10, -1)]
    assert table.splitlines()[-1] == (
        "and 80 more files without problems, 10 of them behind by 55 bytes in total (--all shows them)"
    )
    everything = status_as_table(found, shows_all=True)
    assert len(rows(everything)) == 160
    assert "--all" not in everything


def test_fifty_files_are_all_shown(tmp_path: Path) -> None:
    table = status_as_table(inspected(tmp_path / "state", *many(50), mode="batch"))
    assert len(rows(table)) == 50
    assert "--all" not in table


def test_a_name_never_reaches_the_terminal_as_it_is(tmp_path: Path) -> None:
    unreadable = FileReport("/l/\udcff\n\x1b[2J", state="unreadable", problem="\x07")
    found = inspected(tmp_path / "state", unreadable, server="lo\x1bgs:9000", mode="b\x1batch")
    table = status_as_table(found)
    assert table.isascii()
    assert "\x1b" not in table
    assert r"/l/\xff\n\x1b[2J: \x07" in table
    assert json.loads(status_as_json(found))["files"][0]["path"] == "/l/\\xff\n\x1b[2J"  # rule N1


def test_the_first_lines_say_how_the_client_is(tmp_path: Path) -> None:
    link = ConnectionTracker(clock=lambda: NOW)
    link.failed("connection refused")
    link.connected(Guarantee.EXACTLY_ONCE)
    counters = Counters(lines_acked=77, lines_filtered=3, redactions=2, bytes_lost=5, bytes_given_up=6)
    more = {"link": link.state, "counters": counters, "lines_per_second": 12.5, "queue_lines": 4}
    found = inspected(tmp_path / "state", held_files=2, held_bytes=900, written_at=NOW - 90, **more)
    first, second, third, fourth, fifth = status_as_table(found).splitlines()[:5]
    assert first.startswith(f"logferry (process {os.getpid()}) has been running since 20")
    assert second == f"mode continuous, state folder {tmp_path / 'state'}"
    assert third.startswith("server localhost:9000: connected since 20")
    assert ", exactly once (last failure 20" in third
    assert fourth == (
        "77 lines acked, 12.5 lines/s, queue 4 lines, held 2 files (900 bytes not acked), filtered 3 lines, "
        "redacted 2, lost 11 bytes"
    )
    assert fifth == "as of 1 min 30 s ago, when something last changed"


@pytest.mark.parametrize(
    ("outcome", "head"),
    [("", "the batch run of process 7 finished 20"), ("not delivered: x", "the batch run of process 7 ended 20")],
)
def test_a_batch_run_that_is_over_is_called_finished(tmp_path: Path, outcome: str, head: str) -> None:
    folder = say(tmp_path / "state", mode="batch", pid=7, ended_at=NOW, outcome=outcome)
    table = status_as_table(inspect(folder, now=NOW))
    assert table.startswith(head)
    assert re.match(r".* \d\d:\d\d:\d\d[+-]\d\d:\d\d$", table.splitlines()[0])


def test_everything_fits_a_terminal_of_80_columns(tmp_path: Path) -> None:
    paths = [f"/var/log/{'long/' * 20}{number}.log" for number in range(3)]
    files = [dataclasses.replace(file, path=path, name=path) for file, path in zip(many(3), paths, strict=True)]
    link = ConnectionTracker(clock=lambda: NOW)
    link.failed("connection refused, and a reason that goes on for as long as anybody likes to read it")
    found = inspected(tmp_path / "state", *files, mode="batch", link=link.state)
    table = status_as_table(found, columns=80)
    folder = str(tmp_path)  # a word that is longer than a line stands alone
    assert max(len(line) for line in table.splitlines() if folder not in line) <= 80
    assert [row[-1][-10:] for row in rows(table)] == [path[-10:] for path in paths]
    assert all("..." in row[-1] for row in rows(table))


def test_the_json_has_all_that_the_table_has_and_more(tmp_path: Path, log: Path) -> None:
    found = inspected(tmp_path / "state", of_file(log, committed=400, behind_since=NOW - 5, format="json"))
    told = json.loads(status_as_json(found))
    assert {"pid", "running", "state_dir", "age_seconds", "counters", "link", "started_at"} <= told["client"].keys()
    assert told["client"]["pid"] == os.getpid()
    assert told["problems"] == []
    status = log.stat()
    assert told["files"] == [
        {
            "path": str(log),
            "name": str(log),
            "source": "aaaa",
            "device": status.st_dev,
            "inode": status.st_ino,
            "size": 1000,
            "offset": 400,
            "committed": 400,
            "lag_bytes": 600,
            "lag_seconds": 5.0,
            "held": False,
            "state": "following",
            "problem": "",
            "since_then": "",
            "format": "json",
            "behind_since": NOW - 5,
        }
    ]


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def status(capfd: pytest.CaptureFixture[str], logging_restored: None) -> Callable[..., Printed]:
    """Run `logferry status` in this process, for the state folder of this test."""

    def run(*words: str) -> Printed:
        capfd.readouterr()
        return Printed(main(["status", *words]), *capfd.readouterr())

    return run


def words_of(folder: Path) -> Sequence[str]:
    return ("--state-dir", str(folder))


def test_the_exit_code_says_whether_all_is_well(tmp_path: Path, status: Callable[..., Printed]) -> None:
    folder = tmp_path / "state"
    never = status(*words_of(folder))
    assert (never.code, never.out) == (1, "")
    assert never.err.startswith("logferry status: found no status in")
    with running(say(folder, pid=os.getpid())):
        assert status(*words_of(folder)).code == 0
    assert status(*words_of(folder)).code == 3
    assert status("--what").code == 2


def test_the_help_tells_the_exit_codes(status: Callable[..., Printed], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        status("--help")
    told = capfd.readouterr().out
    for word in ("--state-dir", "--json", "--all", "exit codes:", "waits for the server"):
        assert word in told
