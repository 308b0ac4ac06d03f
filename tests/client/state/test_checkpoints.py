"""Checkpoints on disk: saved in time, locked, never blocking shipping, never ahead of an ack."""

import errno
import functools
import json
import logging
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.command_line import EXIT_OK, EXIT_USAGE
from logferry.cli.dispatch import main
from logferry.client.files.identity import fingerprint
from logferry.client.state import checkpoints as checkpoint_module
from logferry.client.state import idle_sources, state_folder
from logferry.client.state.checkpoints import SAVE_INTERVAL_S, Checkpoints
from logferry.client.state.idle_sources import MAX_IDLE
from logferry.client.state.journal import Journal
from logferry.client.state.known_losses import KnownLosses
from logferry.errors import StateError
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source
from tests.support.fakes import FakeServer, Talk
from tests.support.processes import client
from tests.support.running import DEADLINE_S, fill, numbered_line, running_server, wait_until
from tests.support.shipping import append, assert_conserved, log_line, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


class Clock:
    """A clock that only moves when a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def saved(folder: Path) -> list[dict[str, Any]]:
    """Return the checkpoints on disk, read as journal_format.py specifies."""
    found: dict[str, dict[str, Any]] = {}
    for line in (folder / "checkpoints.json").read_bytes().splitlines():
        entry = json.loads(line)
        if "forget" in entry:
            del found[entry["forget"]]
        elif "id" in entry:
            found[entry["id"]] = {"committed": 0, **entry}
    return list(found.values())


class Written:
    """Counts what is written to checkpoints."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = self.appends = self.replacements = 0
        append, replace = Journal.append, Journal.replace

        def count_append(journal: Journal, lines: bytes) -> None:
            self.appends += 1
            self.bytes += len(lines)
            append(journal, lines)

        def count_replace(journal: Journal, lines: bytes) -> None:
            self.replacements += 1
            self.bytes += len(lines)
            replace(journal, lines)

        monkeypatch.setattr(Journal, "append", count_append)
        monkeypatch.setattr(Journal, "replace", count_replace)

    @property
    def times(self) -> int:
        """How often something was written."""
        return self.appends + self.replacements


def a_source(committed: int = 0, path: str = "/var/log/app.log", *, inode: int = 2) -> Source:
    """Return a source that is stored up to `committed`."""
    tail = b"x" * min(committed, 256)
    return Source(path, device=1, inode=inode, head=b"x" * committed, committed=committed, tail=tail)


def test_nobody_else_may_read_the_checkpoints(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state")
    checkpoints.register(a_source())
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "checkpoints.json").stat().st_mode & 0o777 == 0o600
    checkpoints.close()


# --- one process per folder -------------------------------------------------------------------------------------------


def test_a_second_client_gets_the_process_that_holds_the_folder(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path)
    with pytest.raises(StateError, match=rf"\(process {os.getpid()}\) is using it.*--state-dir"):
        Checkpoints(tmp_path)
    first.close()
    Checkpoints(tmp_path).close()


@pytest.mark.usefixtures("logging_restored")
def test_a_second_client_exits_with_code_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = append(tmp_path / "app.log", range(10))
    state = tmp_path / "state"
    with running_server(tmp_path) as server, client(log, server.port, "--mode", "continuous", folder=tmp_path) as run:
        run.wait_for_stderr("connected")
        words = ["ship", "--log-file", str(log), "--server-port", str(server.port), "--state-dir", str(state)]
        assert main(words) == EXIT_USAGE
        assert f"another logferry (process {run.process.pid}) is using it" in capfd.readouterr().err
        run.kill()
        assert main([*words, "--server-host", "127.0.0.1"]) == EXIT_OK  # a lock ends with its process


def test_reading_only_needs_no_lock_and_leaves_everything_as_it_is(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path)
    first.register(a_source())
    reader = Checkpoints(tmp_path, read_only=True)
    assert len(list(reader)) == 1
    reader.register(a_source())
    reader.close()
    assert len(saved(tmp_path)) == 1
    first.close()


# --- what is saved, and when ------------------------------------------------------------------------------------------


def test_a_source_is_on_disk_before_anything_of_it_is_sent(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    seen: list[int] = []

    def look(talk: Talk) -> None:
        talk.read_line()
        talk.say(
            b'{"status": "ok", "message": "hello", "version": 1, "max_batch_bytes": 999999, "durability": "fsync"}\n'
        )
        source = json.loads(talk.read_line())["source"]
        answer = {"status": "ok", "message": "open", "source": source, "committed": 0, "lines": 0, "crc32": 0}
        talk.say(json.dumps(answer).encode() + b"\n")
        assert json.loads(talk.read_line())["logferry"] == "batch"
        seen.extend(entry["committed"] for entry in saved(state) if entry["id"] == source)
        talk.stay_until_told()

    state = tmp_path / "state"
    with (
        FakeServer(look) as server,
        shipping(log, server.port, ack="auto", state_dir=state, shutdown_timeout=0.0),
    ):
        wait_until(lambda: seen, "a batch of it comes")
    assert seen == [0]


def test_it_is_saved_at_most_every_second_and_at_the_end(tmp_path: Path) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, clock=clock)
    source = a_source(100)
    checkpoints.register(source)
    source.committed = 200
    checkpoints.follow(source)
    clock.now += SAVE_INTERVAL_S * 0.9
    checkpoints.save_if_due()
    assert saved(tmp_path)[0]["committed"] == 100
    clock.now += SAVE_INTERVAL_S * 0.2
    checkpoints.save_if_due()
    assert saved(tmp_path)[0]["committed"] == 200
    source.committed = 300
    checkpoints.close()
    assert saved(tmp_path)[0]["committed"] == 300


def test_what_has_not_changed_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.register(a_source(100))
    written = Written(monkeypatch)
    checkpoints.save()
    checkpoints.close()
    assert not written.times


@pytest.mark.parametrize("resilient", [False, True])
def test_a_checkpoint_is_never_ahead_of_an_ack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resilient: bool
) -> None:
    """Each time it is saved, the server has stored at least as much, by its own count."""
    log = append(tmp_path / "app.log", range(5000))
    monkeypatch.setattr(checkpoint_module, "SAVE_INTERVAL_S", 0.0)
    monkeypatch.setattr(checkpoint_module, "_SAVE_SHARE", 1.0)
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", 4000)
    monkeypatch.setattr("logferry.client.delivery.engine.engine.WINDOW_BYTES", 1)  # one batch at a time
    ahead: list[tuple[int, int]] = []
    saves: list[int] = []
    longer = len(numbered_line(0)) - len(log_line(0))
    with running_server(tmp_path) as server:

        def check(journal: Journal, write: Callable[[Journal, bytes], None], lines: bytes) -> None:
            stored = sum(len(line) - longer for line in server.stored_lines())
            write(journal, lines)
            said = sum(entry["committed"] for entry in saved(journal.path.parent))
            saves.append(said)
            if said > stored:
                ahead.append((said, stored))

        for name in ("append", "replace"):
            monkeypatch.setattr(Journal, name, functools.partialmethod(check, getattr(Journal, name)))
        with shipping(log, server.port, ack="auto", resilient=resilient, poll_interval=0.01) as run:
            run.result()
        assert_conserved(range(5000), server.stored_lines())
    assert saves[-1] == log.stat().st_size
    assert len(set(saves)) > 3
    assert not ahead


def test_a_slow_disk_is_given_a_twentieth_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, clock=clock)
    source = a_source(100)
    checkpoints.register(source)
    append_to_journal = Journal.append

    def append_slowly(journal: Journal, lines: bytes) -> None:
        clock.now += 3.0
        append_to_journal(journal, lines)

    monkeypatch.setattr(Journal, "append", append_slowly)
    written = Written(monkeypatch)
    for step_s, times in ((1.1, 1), (59.0, 1), (2.0, 2)):
        clock.now += step_s
        source.committed += 1
        checkpoints.follow(source)
        checkpoints.save_if_due()
        assert written.appends == times
    checkpoints.close()


def test_a_quiet_source_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, clock=clock)
    sources = [a_source(number, f"/var/log/{number}.log", inode=number) for number in range(1, 10_001)]
    checkpoints.register_all(sources)
    hashed: list[bytes] = []

    def count(data: bytes) -> str:
        hashed.append(data)
        return fingerprint(data)

    monkeypatch.setattr("logferry.client.state.checkpoint.fingerprint", count)
    written = Written(monkeypatch)
    for source in sources[:3]:
        source.committed += 1
        checkpoints.follow(source)
    for _ in range(30):
        clock.now += SAVE_INTERVAL_S * 1.1
        checkpoints.save_if_due()
    assert len(hashed) == 2 * 3
    assert written.times == 1
    assert written.bytes < 3 * LINE_BYTES
    checkpoints.close()


# What a checkpoint takes at most on the disk, with a name of usual length.
LINE_BYTES = 400


def test_sources_are_registered_by_as_many_short_appends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda _: None)  # counted, not awaited
    written = Written(monkeypatch)
    checkpoints = Checkpoints(tmp_path)
    for number in range(2000):
        checkpoints.register(a_source(1000, f"/var/log/{number}.log", inode=number))
    assert (written.replacements, written.appends) == (1, 1999)
    assert written.bytes < 2000 * LINE_BYTES
    checkpoints.close()


def test_ten_thousand_sources_are_registered_by_a_single_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written(monkeypatch)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.register_all(a_source(1000, f"/var/log/{number}.log", inode=number) for number in range(10_000))
    assert written.times == 1
    assert written.bytes < 10_000 * LINE_BYTES
    assert len(list(Checkpoints(tmp_path, read_only=True))) == 10_000
    checkpoints.close()


def test_what_a_reader_changes_without_a_notification_is_saved_soon(tmp_path: Path) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, clock=clock)
    sources = [a_source(10, inode=number) for number in range(1000)]
    checkpoints.register_all(sources)
    sources[500].is_finished = True
    sources[700].inode = 5000  # it continues in a copy
    for _ in range(15):
        clock.now += SAVE_INTERVAL_S * 1.1
        checkpoints.save_if_due()
    assert [entry["id"] for entry in saved(tmp_path) if "is_finished" in entry] == [sources[500].id]
    assert [entry["id"] for entry in saved(tmp_path) if entry["inode"] == 5000] == [sources[700].id]
    checkpoints.close()


def test_a_source_that_has_ended_is_found_as_it_is_before_that_is_saved() -> None:
    checkpoints = Checkpoints(None)
    source = a_source(10, "/var/log/app.log", inode=7)
    checkpoints.register(source)
    source.committed, source.is_finished = 20, True
    for found in (checkpoints.of_path("/var/log/app.log"), checkpoints.of_identity(source.device, 7)):
        assert [(known.committed, known.is_finished) for known in found] == [(20, True)]


def test_finished_sources_are_forgotten_beyond_a_limit_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_IDLE >= 10_000
    monkeypatch.setattr(idle_sources, "MAX_IDLE", 3)
    times = iter(range(1, 100))
    monkeypatch.setattr("logferry.client.state.checkpoints.time.time", lambda: float(next(times)))
    checkpoints = Checkpoints(tmp_path)
    gone = str(tmp_path / "gone" / "app.log")
    for number in range(6):
        source = a_source(10 + number, gone, inode=number)
        checkpoints.register(source)
        source.is_finished = True
        checkpoints.save()
    checkpoints.register(a_source(99, gone, inode=99))
    checkpoints.close()
    assert [entry["committed"] for entry in saved(tmp_path)] == [13, 14, 15, 99]
    for memory in (checkpoints, Checkpoints(tmp_path, read_only=True)):
        assert [known.committed for known in memory.of_path(gone)] == [13, 14, 15, 99]
        assert not memory.of_identity(1, 2)
        assert memory.of_identity(1, 3)


def test_a_source_whose_file_may_exist_is_never_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_sources, "MAX_IDLE", 3)
    checkpoints = Checkpoints(tmp_path / "state")
    files = [append(tmp_path / f"{number}.log", range(1)) for number in range(4)]
    again = a_source(1, str(files[0]))  # shipped twice: the first time need not be remembered
    again.device, again.inode = files[0].stat().st_dev, files[0].stat().st_ino
    sources = [again, *(Source(str(file), device=file.stat().st_dev, inode=file.stat().st_ino) for file in files)]
    files[1].rename(tmp_path / "1.log.1")
    files[2].rename(tmp_path.parent / "elsewhere.log")
    for source in sources:
        checkpoints.register(source)
        source.is_finished = True
    checkpoints.save()
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "state")
    for number in range(5):
        checkpoints.register(a_source(number, str(tmp_path / "gone" / "app.log"), inode=number + 1))
    known = {checkpoint.id for checkpoint in checkpoints}
    assert known >= {sources[index].id for index in (1, 2, 4)}
    assert not known & {sources[index].id for index in (0, 3)}
    checkpoints.close()


def test_a_source_that_was_followed_only_is_on_disk_when_it_is_registered(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    source = a_source(10)
    checkpoints.follow(source)  # as with the plain protocol
    assert not (tmp_path / "checkpoints.json").exists()
    checkpoints.register(source)
    assert [entry["id"] for entry in saved(tmp_path)] == [source.id]
    checkpoints.close()


# --- looking up -------------------------------------------------------------------------------------------------------


def test_checkpoints_are_found_by_name_and_by_inode(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    first, second, third = a_source(1, "/a"), a_source(2, "/a", inode=3), a_source(3, "/b", inode=3)
    checkpoints.register_all([first, second, third])
    checkpoints.close()
    for known in (checkpoints, Checkpoints(tmp_path, read_only=True)):
        assert {checkpoint.committed for checkpoint in known.of_path("/a")} == {1, 2}
        assert {checkpoint.committed for checkpoint in known.of_identity(1, 3)} == {2, 3}
        assert not known.of_identity(2, 3)
        assert not known.of_path("/c")


def test_a_source_that_continues_in_another_file_is_found_by_that_file(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    source = a_source(1)
    checkpoints.register(source)
    source.inode = 77
    checkpoints.follow(source)
    checkpoints.save()
    assert not checkpoints.of_identity(1, 2)
    assert [checkpoint.id for checkpoint in checkpoints.of_identity(1, 77)] == [source.id]
    assert [checkpoint.id for checkpoint in checkpoints.of_path(source.path)] == [source.id]
    checkpoints.close()


def test_one_thread_may_look_up_while_another_one_adds() -> None:
    checkpoints = Checkpoints(None)
    failures: list[BaseException] = []
    sources = [a_source(path=str(number), inode=number) for number in range(3000)]
    current = sources[0]
    is_over = threading.Event()

    def look_up() -> None:
        try:
            while not is_over.is_set():
                for checkpoint in checkpoints.of_path(current.path):
                    assert checkpoints.of_identity(1, checkpoint.inode) == [checkpoint]
        except BaseException as error:
            failures.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=look_up, daemon=True)
        thread.start()
        for current in sources:
            checkpoints.register(current)
        is_over.set()
        thread.join(DEADLINE_S)
    finally:
        sys.setswitchinterval(before)
    assert not failures
    assert not thread.is_alive()


# --- how a source is rendered -----------------------------------------------------------------------------------------


def test_renderings_are_saved_and_omitted_where_there_are_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    plain, rich = a_source(1), a_source(2)
    rich.renderings += [(0, RenderSpec()), (7, RenderSpec("json", fields=(("a", "b"),), redact=("email",)))]
    checkpoints.register_all([plain, rich])
    checkpoints.close()
    assert ["renderings" in entry for entry in saved(tmp_path)] == [False, True]
    assert [known.renderings for known in Checkpoints(tmp_path, read_only=True)] == [(), tuple(rich.renderings)]


def test_another_rendering_is_on_disk_before_anything_of_it_is_sent(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    source = a_source(10)
    checkpoints.register(source)
    source.renderings.append((10, RenderSpec("json")))
    checkpoints.register(source)
    assert saved(tmp_path)[0]["renderings"] == [[10, {"format": "json"}]]
    checkpoints.close()


# --- what never stops the client --------------------------------------------------------------------------------------


def _ship_twice(tmp_path: Path, spoil: Callable[[Path], object]) -> tuple[int, list[bytes]]:
    """Ship ten lines in continuous mode, stop, spoil the checkpoints, ship again; return acks of the second run."""
    log, state = append(tmp_path / "app.log", range(10)), tmp_path / "state"
    with running_server(tmp_path) as server:
        with shipping(log, server.port, ack="auto", state_dir=state, mode="continuous") as run:
            run.wait_for_acks(10)
        spoil(state / "checkpoints.json")
        append(log, range(10, 20))
        with shipping(log, server.port, ack="auto", state_dir=state, mode="continuous") as run:
            run.wait_for_acks(10)
            wait_until(lambda: len(server.stored_lines()) >= 20 and run.counters.lines_acked >= 10, "all is stored")
            run.stop()
        return run.counters.lines_acked, server.stored_lines()


def test_an_intact_checkpoint_repeats_nothing(tmp_path: Path) -> None:
    acked, stored = _ship_twice(tmp_path, lambda path: None)
    assert acked == 10
    assert_conserved(range(20), stored)


SPOILED = {
    "damaged": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "binary": lambda path: path.write_bytes(os.urandom(300)),
    "emptied": lambda path: path.write_bytes(b""),
    "another version": lambda path: path.write_text(path.read_text().replace('"version":4', '"version":5')),
    "another shape": lambda path: path.write_text("[1, 2, 3]"),
    "deep": lambda path: path.write_text("[" * 200_000),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_unreadable_checkpoints_are_set_aside_and_the_client_logs_what_that_repeats(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object]
) -> None:
    caplog.set_level(logging.INFO)
    _, stored = _ship_twice(tmp_path, spoil)
    assert_conserved(range(20), stored, retried=10)
    assert "cannot read the checkpoints in" in caplog.text
    assert "is shipped, and stored, again" in caplog.text
    assert (tmp_path / "state" / "checkpoints.json.damaged").exists()
    assert len(saved(tmp_path / "state")) == 1


def test_missing_checkpoints_are_logged_and_everything_is_shipped_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, stored = _ship_twice(tmp_path, lambda path: path.unlink())
    assert_conserved(range(20), stored, retried=10)
    assert caplog.text.count("every file is taken as new") == 2  # the first run had none either


def test_verify_leaves_damaged_checkpoints_where_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "checkpoints.json").write_text("{")
    assert not list(Checkpoints(tmp_path, read_only=True))
    assert "cannot read the checkpoints" in caplog.text
    assert os.listdir(tmp_path) == ["checkpoints.json"]


@pytest.mark.parametrize(("name", "read"), [("checkpoints.json", Checkpoints), ("losses.json", KnownLosses)])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE])
def test_a_state_file_that_cannot_be_read_is_an_error_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, read: Callable[[Path], object], number: int
) -> None:
    """It may be intact, as when another user has used the folder once."""
    for file_name in ("checkpoints.json", "losses.json"):
        (tmp_path / file_name).write_text("whatever")
    os_open = os.open

    def refuse(path: Any, *words: Any, **options: Any) -> int:
        if str(path) == str(tmp_path / name):
            raise OSError(number, os.strerror(number), str(path))
        return os_open(path, *words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        for _ in range(2):  # the first one has not left the folder locked
            with pytest.raises(StateError, match=f"cannot read .*{name}: .*--state-dir"):
                read(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {"lock"} == {"checkpoints.json", "losses.json"}
    assert (tmp_path / name).read_text() == "whatever"


def test_a_folder_whose_lock_another_user_has_is_not_used_without_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(state_folder, "lock_folder", refuse)
    words = "cannot lock the state folder .*: Permission denied; .* belongs to user .*: run .*, or .*--state-dir"
    with pytest.raises(StateError, match=words):
        Checkpoints(tmp_path)


# --- a folder that cannot be written ----------------------------------------------------------------------------------


def test_a_failing_disk_is_logged_once_and_the_checkpoints_are_saved_when_it_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    state = tmp_path / "state"
    log = append(tmp_path / "app.log", range(10))
    tries: list[int] = []
    is_full = True

    def fail_at_first(journal: Journal, lines: bytes) -> None:
        tries.append(1)
        if is_full:
            raise OSError(28, "No space left on device")
        replace(journal, lines)

    replace = Journal.replace
    monkeypatch.setattr(Journal, "replace", fail_at_first)
    monkeypatch.setattr(checkpoint_module, "SAVE_INTERVAL_S", 0.0)
    with (
        running_server(tmp_path) as server,
        shipping(log, server.port, ack="auto", state_dir=state, mode="continuous") as run,
    ):
        run.wait_for_acks(10)
        wait_until(lambda: len(tries) >= 5, "it is tried again")
        assert caplog.text.count("cannot save checkpoints to") == 1
        assert "may be shipped again" in caplog.text
        is_full = False
        wait_until(lambda: (state / "checkpoints.json").exists(), "it is saved")
        wait_until(lambda: "are saved to" in caplog.text, "the recovery is logged")
        assert saved(state)[0]["committed"] == log.stat().st_size
        assert_conserved(range(10), server.stored_lines())


def test_a_state_folder_on_a_full_disk_stops_nothing(tmp_path: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    state = small_disk / "state"
    folder = tmp_path.joinpath(
        *["deep" * 50] * 17
    )  # a line with its name takes a page: some room is always left in one
    folder.mkdir(parents=True)
    log = append(folder / "app.log", range(1000))
    with running_server(tmp_path) as server:
        words = ("--mode", "continuous", "--poll-interval", "0.05")
        with client(log, server.port, *words, folder=tmp_path, env={"LOGFERRY_STATE_DIR": str(state)}) as run:
            wait_until(lambda: len(server.stored_lines()) == 1000, "the first lines are stored")
            fill(filler)
            append(log, range(1000, 2000))
            run.wait_for_stderr("cannot save checkpoints to")
            wait_until(lambda: len(server.stored_lines()) == 2000, "shipping goes on")
            filler.unlink()
            run.wait_for_stderr("are saved to")
            assert run.stderr.count("cannot save") == 1
            assert run.terminate() == EXIT_OK
        assert saved(state)[0]["committed"] == log.stat().st_size
        assert_conserved(range(2000), server.stored_lines())


def test_a_state_folder_that_may_only_be_read_stops_nothing(tmp_path: Path, small_disk: Path) -> None:
    log = append(tmp_path / "app.log", range(1000))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with running_server(tmp_path) as server:
        with client(log, server.port, folder=tmp_path, env={"LOGFERRY_STATE_DIR": str(small_disk / "state")}) as run:
            assert run.wait() == EXIT_OK
        assert "Read-only file system; shipping goes on" in run.stderr
        assert "Traceback" not in run.stderr
        assert_conserved(range(1000), server.stored_lines())


def test_nothing_is_due_while_everything_is_saved(tmp_path: Path) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, clock=clock)
    source = Source("app.log")
    checkpoints.register(source)
    assert checkpoints.patience_s == math.inf
    source.committed = 10
    checkpoints.follow(source)
    assert checkpoints.patience_s == 1.0
    clock.now += 1.5
    assert checkpoints.patience_s == 0.0
    checkpoints.save_if_due()
    assert checkpoints.patience_s == math.inf
    checkpoints.close()


def test_a_change_of_a_source_that_was_forgotten_is_ignored(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.change("forgotten", is_settled=True)
    assert checkpoints.known_ids() == []
    assert checkpoints.patience_s == math.inf
    checkpoints.close()
