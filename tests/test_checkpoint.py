"""The client's memory on disk: replaced at once, locked, never in the way of shipping, never ahead of an ack."""

import json
import logging
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry import cli, durable
from logferry.client import checkpoint as checkpoint_module
from logferry.client.checkpoint import MAX_IDLE, SAVE_INTERVAL_S, Checkpoints
from logferry.client.source_file import Source
from logferry.durable import replace_file
from logferry.errors import StateError
from tests.fakes import FakeServer, Talk
from tests.processes import client
from tests.shipping import append, assert_conserved, log_line, shipping
from tests.support import fill, numbered_line, running_server, wait_until

pytestmark = pytest.mark.usefixtures("quick_backoff")


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def saved(folder: Path) -> dict[str, Any]:
    """Return what is on the disk."""
    content: dict[str, Any] = json.loads((folder / "checkpoints.json").read_bytes())
    return content


def a_source(committed: int = 0, path: str = "/var/log/app.log") -> Source:
    """Return a source that is stored up to `committed`."""
    return Source(path, device=1, inode=2, head=b"x" * committed, committed=committed, tail=b"x" * min(committed, 256))


# --- replacing a file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "checkpoints.json"
    replace_file(path, b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "write":  # of all the steps the one that has no name in `os`
        real_open = open
        monkeypatch.setattr(durable, "open", lambda *words: _Full(real_open(*words)), raising=False)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["checkpoints.json"]


class _Full:
    """A file on a disk that is full."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> "_Full":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, _: bytes) -> int:
        raise OSError(28, "No space left on device")


def test_a_temporary_file_that_a_crash_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.json.new").write_bytes(b"half of something that was much longer")
    replace_file(tmp_path / "checkpoints.json", b"new")
    assert (tmp_path / "checkpoints.json").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["checkpoints.json"]


def test_nobody_else_may_read_the_checkpoints(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state")
    checkpoints.register(a_source())
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "checkpoints.json").stat().st_mode & 0o777 == 0o600
    checkpoints.close()


# --- one process per folder -------------------------------------------------------------------------------------------


def test_a_second_client_is_told_who_holds_the_folder(tmp_path: Path) -> None:
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
        assert cli.main(words) == cli.EXIT_USAGE
        assert f"another logferry (process {run.process.pid}) is using it" in capfd.readouterr().err
        run.kill()
        assert cli.main([*words, "--server-host", "127.0.0.1"]) == cli.EXIT_OK  # a lock ends with its process


def test_reading_only_needs_no_lock_and_leaves_everything_as_it_is(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path)
    first.register(a_source())
    reader = Checkpoints(tmp_path, read_only=True)
    assert len(list(reader)) == 1
    reader.register(a_source())
    reader.close()
    assert len(saved(tmp_path)["sources"]) == 1
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
        opening = json.loads(talk.read_line())
        seen.extend(entry["committed"] for entry in saved(state)["sources"] if entry["id"] == opening["source"])
        talk.stay_until_told()

    state = tmp_path / "state"
    with (
        FakeServer(look) as server,
        shipping(log, server.port, ack="auto", state_dir=state, shutdown_timeout=0.0),
    ):
        wait_until(lambda: seen, "the source is opened")
    assert seen == [0]


def test_it_is_saved_at_most_every_second_and_at_the_end(tmp_path: Path) -> None:
    clock = Clock()
    checkpoints = Checkpoints(tmp_path, clock=clock)
    source = a_source(100)
    checkpoints.register(source)
    source.committed = 200
    clock.now += SAVE_INTERVAL_S * 0.9
    checkpoints.save_if_due()
    assert saved(tmp_path)["sources"][0]["committed"] == 100
    clock.now += SAVE_INTERVAL_S * 0.2
    checkpoints.save_if_due()
    assert saved(tmp_path)["sources"][0]["committed"] == 200
    source.committed = 300
    checkpoints.close()
    assert saved(tmp_path)["sources"][0]["committed"] == 300


def test_what_has_not_changed_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.register(a_source(100))
    monkeypatch.setattr(checkpoint_module, "replace_file", lambda *_: pytest.fail("written"))
    checkpoints.save()
    checkpoints.close()


@pytest.mark.parametrize("resilient", [False, True])
def test_a_checkpoint_is_never_ahead_of_an_ack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resilient: bool
) -> None:
    """Each time it is saved, the server has stored at least as much, by its own count."""
    log = append(tmp_path / "app.log", range(5000))
    monkeypatch.setattr(checkpoint_module, "SAVE_INTERVAL_S", 0.0)
    monkeypatch.setattr("logferry.client.source_file.CHUNK_BYTES", 4000)
    monkeypatch.setattr("logferry.client.shipper.WINDOW_BYTES", 1)  # one batch at a time
    ahead: list[tuple[int, int]] = []
    saves: list[int] = []
    longer = len(numbered_line(0)) - len(log_line(0))
    with running_server(tmp_path) as server:

        def check(path: Path, content: bytes) -> None:
            stored = sum(len(line) - longer for line in server.stored_lines())
            said = sum(entry["committed"] for entry in json.loads(content)["sources"])
            saves.append(said)
            if said > stored:
                ahead.append((said, stored))
            replace_file(path, content)

        monkeypatch.setattr(checkpoint_module, "replace_file", check)
        with shipping(log, server.port, ack="auto", resilient=resilient, poll_interval=0.01) as run:
            run.result()
        assert_conserved(range(5000), server.stored_lines())
    assert saves[-1] == log.stat().st_size
    assert len(set(saves)) > 3
    assert not ahead


def test_finished_sources_are_forgotten_beyond_a_limit_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_IDLE >= 1000
    monkeypatch.setattr(checkpoint_module, "MAX_IDLE", 3)
    times = iter(range(1, 100))
    monkeypatch.setattr("logferry.client.checkpoint.time.time", lambda: float(next(times)))
    checkpoints = Checkpoints(tmp_path)
    sources = [a_source(10 + number) for number in range(6)]
    for source in sources:
        checkpoints.register(source)
        source.is_finished = True
        checkpoints.save()
    last = a_source(99)
    checkpoints.register(last)
    checkpoints.close()
    assert [entry["committed"] for entry in saved(tmp_path)["sources"]] == [13, 14, 15, 99]


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
    "another version": lambda path: path.write_text(path.read_text().replace('"version": 1', '"version": 2')),
    "another shape": lambda path: path.write_text("[1, 2, 3]"),
    "deep": lambda path: path.write_text("[" * 200_000),
    "wrong type": lambda path: path.write_text(path.read_text().replace('"lines": 10', '"lines": "10"')),
    "huge hash": lambda path: path.write_text(path.read_text().replace('"head_bytes": ', '"head_bytes": 999999999')),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
def test_checkpoints_that_cannot_be_read_are_set_aside_and_the_client_says_what_that_repeats(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object]
) -> None:
    caplog.set_level(logging.INFO)
    _, stored = _ship_twice(tmp_path, spoil)
    assert_conserved(range(20), stored, retried=10)
    assert "cannot read the checkpoints in" in caplog.text
    assert "is shipped, and stored, again" in caplog.text
    assert (tmp_path / "state" / "checkpoints.json.damaged").exists()
    assert len(saved(tmp_path / "state")["sources"]) == 1


def test_checkpoints_that_are_gone_are_told_and_everything_is_shipped_again(
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


# --- a folder that takes nothing --------------------------------------------------------------------------------------


def test_a_disk_that_refuses_is_told_once_and_the_checkpoints_are_saved_when_it_takes_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    state = tmp_path / "state"
    log = append(tmp_path / "app.log", range(10))
    tries: list[int] = []
    is_full = True

    def fail_at_first(path: Path, content: bytes) -> None:
        tries.append(1)
        if is_full:
            raise OSError(28, "No space left on device")
        replace_file(path, content)

    monkeypatch.setattr(checkpoint_module, "replace_file", fail_at_first)
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
        wait_until(lambda: "are saved to" in caplog.text, "that is told")
        assert saved(state)["sources"][0]["committed"] == log.stat().st_size
        assert_conserved(range(10), server.stored_lines())


def test_a_state_folder_on_a_full_disk_stops_nothing(tmp_path: Path, small_disk: Path) -> None:
    filler = small_disk / "filler"
    state = small_disk / "state"
    log = append(tmp_path / "app.log", range(1000))
    with running_server(tmp_path) as server:
        words = ("--mode", "continuous", "--poll-interval", "0.05")
        with client(log, server.port, *words, folder=tmp_path, env={"STATE_DIR": str(state)}) as run:
            wait_until(lambda: len(server.stored_lines()) == 1000, "the first lines are stored")
            fill(filler)
            append(log, range(1000, 2000))
            run.wait_for_stderr("cannot save checkpoints to")
            wait_until(lambda: len(server.stored_lines()) == 2000, "shipping goes on")
            filler.unlink()
            run.wait_for_stderr("are saved to")
            assert run.stderr.count("cannot save") == 1
            assert run.terminate() == cli.EXIT_OK
        assert saved(state)["sources"][0]["committed"] == log.stat().st_size
        assert_conserved(range(2000), server.stored_lines())


def test_a_state_folder_that_may_only_be_read_stops_nothing(tmp_path: Path, small_disk: Path) -> None:
    log = append(tmp_path / "app.log", range(1000))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with running_server(tmp_path) as server:
        with client(log, server.port, folder=tmp_path, env={"STATE_DIR": str(small_disk / "state")}) as run:
            assert run.wait() == cli.EXIT_OK
        assert "Read-only file system; shipping goes on" in run.stderr
        assert "Traceback" not in run.stderr
        assert_conserved(range(1000), server.stored_lines())
