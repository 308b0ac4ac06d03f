"""Exactly once: our client, our server, and everything that happens to them; judged by what the server keeps."""

import contextlib
import dataclasses
import json
import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.client import feed as feed_module
from logferry.client.checkpoint import Checkpoints
from logferry.client.formatter import Rendered, render
from logferry.client.tcp_client import Backoff
from logferry.errors import GaveUp
from logferry.protocol.delivery import Loss
from logferry.server.audit import report
from tests.fakes import FakeServer, Script, Talk, ack_every_line, in_turn, refuse
from tests.faults.chaos_proxy import DOWN, UP, chaos_proxy
from tests.processes import client, free_port, ship
from tests.shipping import Conservation, append, assert_conserved, conservation, log_line, shipping
from tests.support import RunningServer, numbered_line, running_server, stored_lines, wait_until

pytestmark = pytest.mark.usefixtures("quick_backoff")

EVERY_WAY = [
    pytest.param({"resilient": resilient, "compress": compress}, id=f"{mode}-{wire}")
    for resilient, mode in ((False, "basic"), (True, "resilient"))
    for compress, wire in ((False, "plain"), (True, "gzip"))
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """Run a server."""
    with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def one_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> int:
    """Let a window hold one batch, of ten lines; return that number."""
    monkeypatch.setattr("logferry.client.shipper.WINDOW_BYTES", 1)
    monkeypatch.setattr("logferry.client.source_file.CHUNK_BYTES", 10 * len(log_line(10_000)))
    return 10


def once(settings: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return settings for a client that has one memory for the whole test, and delivers exactly once."""
    return {"ack": "auto", "state_dir": tmp_path / "state", **settings}


def losses(server: RunningServer) -> list[Loss]:
    """Return what the server's ledger says is lost, of all sources."""
    with sqlite3.connect(server.data_dir / "ledger.sqlite3") as ledger:
        ids = [row[0] for row in ledger.execute("SELECT id FROM sources")]
    return [loss for source in ids for loss in report(server.data_dir, source, after=0).losses]


# --- acks that are lost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_line_is_stored_once_when_200_acks_in_a_row_are_lost(
    tmp_path: Path,
    server: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
    one_batch_at_a_time: int,
    way: dict[str, Any],
) -> None:
    monkeypatch.setattr("logferry.client.shipper.Backoff", lambda **_: Backoff(first_s=0.001, ceiling_s=0.001))
    lines = range(10_000, 10_000 + 200 * one_batch_at_a_time)
    log = append(tmp_path / "app.log", lines)
    with chaos_proxy(server.port) as proxy:
        proxy.lose_next_acks_of_batches(200)
        with shipping(log, proxy.port, **once(way, tmp_path)) as run:
            run.result()
        assert proxy.happened.resets == 200
    assert_conserved(lines, server.stored_lines())
    assert run.counters.lines_acked == len(lines)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_line_is_stored_once_wherever_connections_break(
    tmp_path: Path, server: RunningServer, way: dict[str, Any]
) -> None:
    log = append(tmp_path / "app.log", range(100))
    with (
        chaos_proxy(server.port) as proxy,
        shipping(log, proxy.port, **once({"mode": "continuous", "batch_size": None, **way}, tmp_path)),
    ):
        wait_until(lambda: len(server.stored_lines()) == 100, "the client is welcome")
        for size, direction in ((1, UP), (100, UP), (300, UP), (3000, UP), (1, DOWN), (100, DOWN), (250, DOWN)):
            before = proxy.happened.resets
            proxy.reset_after(size, direction)
            while proxy.happened.resets == before:
                append(log, range(_count(log), _count(log) + 100))
                wait_until(
                    lambda: proxy.happened.resets > before or len(server.stored_lines()) == _count(log),  # noqa: B023
                    "a reset, or all is stored",
                )
        wait_until(lambda: len(server.stored_lines()) >= _count(log), "all is stored")
    assert proxy.happened.resets >= 7
    assert_conserved(range(_count(log)), server.stored_lines())


def _count(log: Path) -> int:
    return log.read_bytes().count(b"\n")


# --- a client that dies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--resilient", "--compress")], ids=["basic", "resilient-gzip"])
def test_a_client_that_is_killed_in_continuous_mode_repeats_nothing(
    tmp_path: Path, server: RunningServer, words: tuple[str, ...]
) -> None:
    log = append(tmp_path / "app.log", range(1000))
    words = ("--mode", "continuous", "--poll-interval", "0.02", "--batch-size", "auto", *words)
    count = 1000
    for _ in range(4):
        with client(log, server.port, *words, folder=tmp_path) as run:
            wait_until(lambda: len(server.stored_lines()) >= count, "all is stored")  # noqa: B023
            append(log, range(count, count + 20_000))
            wait_until(lambda: len(server.stored_lines()) > count, "some of it is stored")  # noqa: B023
            run.kill()
        count += 20_000
    with client(log, server.port, *words, folder=tmp_path) as run:
        run.wait_for_stderr("following")
        wait_until(lambda: len(server.stored_lines()) >= count, "all is stored")
        assert run.terminate() == 0
    assert_conserved(range(count), server.stored_lines())


def test_a_client_that_is_killed_again_before_it_ships_more_still_knows_its_file(
    tmp_path: Path, server: RunningServer
) -> None:
    """The checkpoint of each run is older than what the server has."""
    log = append(tmp_path / "app.log", range(1000))
    state = tmp_path / "state" / "checkpoints.json"
    words = ("--mode", "continuous", "--poll-interval", "0.02")
    with client(log, server.port, *words, folder=tmp_path) as run:
        wait_until(lambda: len(server.stored_lines()) >= 1000 and state.exists(), "all is stored")
        old = state.read_bytes()
        run.kill()
    for _ in range(3):
        state.write_bytes(old)
        with client(log, server.port, *words, folder=tmp_path) as run:
            run.wait_for_stderr("connected")
            wait_until(lambda: state.read_bytes() != old, "the checkpoint is saved")
            run.kill()
    append(log, range(1000, 1010))
    with client(log, server.port, *words, folder=tmp_path):
        wait_until(lambda: len(server.stored_lines()) >= 1010, "the rest is stored")
    assert_conserved(range(1010), server.stored_lines())
    assert len(list(Checkpoints(state.parent, read_only=True))) == 1


def test_batch_mode_goes_on_where_it_was_with_resume(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(1000))
    settings = once({"resume": True}, tmp_path)
    for count in (1000, 1500, 1500, 1501):
        append(log, range(_count(log), count))
        with shipping(log, server.port, **settings) as run:
            run.result()
        assert_conserved(range(count), server.stored_lines())


def test_batch_mode_that_was_killed_is_completed_with_resume(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(100_000))
    with client(log, server.port, folder=tmp_path) as run:
        wait_until(lambda: server.stored_lines(), "something is stored")
        run.kill()
    assert 0 < len(server.stored_lines()) < 100_000
    assert ship(log, server.port, "--resume", folder=tmp_path).process.returncode == 0
    assert_conserved(range(100_000), server.stored_lines())


def test_a_file_that_is_shipped_twice_on_purpose_is_stored_twice(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(100))
    for _ in range(2):
        with shipping(log, server.port, **once({}, tmp_path)) as run:
            run.result()
    assert server.stored_lines() == [numbered_line(number) for number in range(100)] * 2


def test_a_resumed_run_goes_on_with_the_latest_of_several_runs(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(100))
    for _ in range(2):
        with shipping(log, server.port, **once({}, tmp_path)) as run:
            run.result()
    append(log, range(100, 110))
    with shipping(log, server.port, **once({"resume": True}, tmp_path)) as run:
        run.result()
    assert len(server.stored_lines()) == 210
    assert run.counters.lines_acked == 10


# --- a server that is not what it was ---------------------------------------------------------------------------------


@pytest.mark.parametrize("resilient", [False, True])
def test_a_server_that_is_restarted_gets_every_line_once(tmp_path: Path, resilient: bool) -> None:
    log, port = append(tmp_path / "app.log", range(1000)), free_port()
    settings = once({"mode": "continuous", "resilient": resilient}, tmp_path)
    with shipping(log, port, **settings):
        for restart in range(1, 5):
            with running_server(tmp_path, server_port=port):
                wait_until(lambda: len(stored_lines(tmp_path / "data")) >= restart * 1000, "all is stored")  # noqa: B023
                append(log, range(restart * 1000, restart * 1000 + 1000))
        with running_server(tmp_path, server_port=port):
            wait_until(lambda: len(stored_lines(tmp_path / "data")) >= 5000, "all is stored")
    assert_conserved(range(5000), stored_lines(tmp_path / "data"))


@pytest.mark.parametrize("client_restarts", [False, True], ids=["client runs on", "client restarts"])
def test_a_server_that_was_restored_from_an_older_copy_gets_what_it_has_lost(
    tmp_path: Path, client_restarts: bool
) -> None:
    """Rule E18: the client goes back as far as the server does; after that everything is as it was."""
    log, port, data = append(tmp_path / "app.log", range(1000)), free_port(), tmp_path / "data"
    settings = once({"mode": "continuous"}, tmp_path)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(shipping(log, port, **settings))
        with running_server(tmp_path, server_port=port):
            run.wait_for_acks(1000)
        shutil.copytree(data, tmp_path / "copy")
        with running_server(tmp_path, server_port=port):
            append(log, range(1000, 3000))
            run.wait_for_acks(3000)
        shutil.rmtree(data)
        (tmp_path / "copy").rename(data)
        if client_restarts:
            run.stop()
            run = stack.enter_context(shipping(log, port, **settings))
        append(log, range(3000, 3010))
        with running_server(tmp_path, server_port=port):
            wait_until(lambda: len(stored_lines(data)) >= 3010, "all is stored again")
            assert_conserved(range(3010), stored_lines(data))
            run.stop()
            append(log, range(3010, 3020))
            with shipping(log, port, **settings):
                wait_until(lambda: len(stored_lines(data)) >= 3020, "what came later is stored")
        assert_conserved(range(3020), stored_lines(data))


def test_a_restored_server_and_a_dead_client_that_had_gone_back_agree_at_the_next_start(tmp_path: Path) -> None:
    """The client has gone back, saved that, and ended before anything was acked again."""
    log, data = append(tmp_path / "app.log", range(100)), tmp_path / "data"
    settings = once({"mode": "continuous"}, tmp_path)
    with running_server(tmp_path) as server, shipping(log, server.port, **settings) as run:
        run.wait_for_acks(100)
    shutil.copytree(data, tmp_path / "copy")
    append(log, range(100, 300))
    with running_server(tmp_path) as server, shipping(log, server.port, **settings) as run:
        run.wait_for_acks(200)
    append(log, [300])
    shutil.rmtree(data)
    (tmp_path / "copy").rename(data)
    with running_server(tmp_path) as server:
        with chaos_proxy(server.port) as proxy:
            proxy.lose_next_acks_of_batches(10_000)
            with shipping(log, proxy.port, **{**settings, "shutdown_timeout": 0.0}) as run:
                wait_until(lambda: proxy.happened.resets, "an ack is lost")
        with shipping(log, server.port, **settings):
            wait_until(lambda: len(server.stored_lines()) >= 301, "all is stored again")
        assert_conserved(range(301), server.stored_lines())


# --- files that are not what they were --------------------------------------------------------------------------------


def test_a_file_that_differs_from_what_the_server_has_beyond_the_checkpoint_is_a_new_source(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule E17: same inode, same beginning up to the checkpoint, but another history after it."""
    log, state = append(tmp_path / "app.log", range(100)), tmp_path / "state" / "checkpoints.json"
    settings = once({"mode": "continuous"}, tmp_path)
    with shipping(log, server.port, **settings) as run:
        run.wait_for_acks(100)
    old, size = state.read_bytes(), log.stat().st_size
    append(log, range(100, 200))
    with shipping(log, server.port, **settings) as run:
        run.wait_for_acks(100)
    state.write_bytes(old)
    os.truncate(log, size)
    append(log, range(500, 650))
    with shipping(log, server.port, **settings) as run:
        wait_until(lambda: len(server.stored_lines()) >= 200 + 250, "the file is stored")
    assert "is not the file that the server knows" in caplog.text
    stored = server.stored_lines()
    assert_conserved([*range(200), *range(500, 650)], stored, retried=100)
    assert stored[200:] == [numbered_line(number) for number in (*range(100), *range(500, 650))]


def test_a_state_folder_that_is_lost_repeats_everything_and_loses_nothing(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = append(tmp_path / "app.log", range(100))
    settings = once({"mode": "continuous"}, tmp_path)
    for count in (100, 200):
        with shipping(log, server.port, **settings) as run:
            run.wait_for_acks(count)
        append(log, range(100, 200) if count == 100 else [])
        shutil.rmtree(tmp_path / "state")
    assert_conserved(range(200), server.stored_lines(), retried=100)
    assert len(server.stored_lines()) == 300
    assert "every file is taken as new" in caplog.text


@pytest.mark.parametrize("resilient", [False, True])
def test_files_that_are_rotated_during_an_outage_are_stored_once_and_in_order(tmp_path: Path, resilient: bool) -> None:
    log, port = append(tmp_path / "app.log", range(100)), free_port()
    with shipping(log, port, **once({"mode": "continuous", "resilient": resilient}, tmp_path)) as run:
        with running_server(tmp_path, server_port=port):
            run.wait_for_acks(100)
        for rotation in range(1, 5):
            for number in range(rotation - 1, 0, -1):
                (tmp_path / f"app.log.{number}").rename(tmp_path / f"app.log.{number + 1}")
            log.rename(tmp_path / "app.log.1")
            append(log, range(rotation * 100, rotation * 100 + 100))
        with running_server(tmp_path, server_port=port):
            run.wait_for_acks(500)
    assert_conserved(range(500), stored_lines(tmp_path / "data"))


def test_a_chunk_of_blank_lines_moves_the_source_on(
    tmp_path: Path, server: RunningServer, one_batch_at_a_time: int
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(log_line(0) + b"\n" * 2000 + log_line(1) + b"  \r\n" * 500)
    settings = once({"resume": True}, tmp_path)
    with shipping(log, server.port, **settings) as run:
        run.result()
    assert_conserved(range(2), server.stored_lines())
    assert next(iter(Checkpoints(tmp_path / "state", read_only=True))).committed == log.stat().st_size
    append(log, [2])
    with shipping(log, server.port, **settings) as run:
        run.result()
    assert_conserved(range(3), server.stored_lines())
    assert run.counters.lines_blank == 0


# --- what cannot be delivered is told -----------------------------------------------------------------------------------


BAD = b"2024-01-15 08:23:45 INFO " + b"x" * 3000 + b"\n"


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_line_that_is_too_long_for_the_server_is_the_only_one_lost(tmp_path: Path, way: dict[str, Any]) -> None:
    log = append(tmp_path / "app.log", range(40))
    ranges = []
    for end in (80, 81, 120):
        start = log.stat().st_size
        log.write_bytes(log.read_bytes() + BAD)
        ranges.append((start, start + len(BAD)))
        append(log, range(_count(log) - len(ranges), end))
    with running_server(tmp_path, max_record_bytes=1024) as server:
        with shipping(log, server.port, **once(way, tmp_path)) as run:
            problems = run.result().problems
        assert_conserved(range(120), server.stored_lines())
        assert problems == ("3 lines were refused by the server",)
        assert run.counters.lines_rejected == 3
        assert run.counters.lines_acked == 120
        assert [(loss.start, loss.end) for loss in losses(server)] == ranges
        assert all("refused by the server: more than 1024 bytes" in loss.reason for loss in losses(server))


@pytest.fixture
def client_with_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client render `line 7` and `line 8` as something that no server takes."""

    def render_badly(*words: Any, **options: Any) -> Rendered:
        rendered = render(*words, **options)
        payload = re.sub(rb'"level": "INFO", ("message": "line [78]")', rb'"lovel": "INFO", \1', rendered.payload)
        return dataclasses.replace(rendered, payload=payload)

    monkeypatch.setattr(feed_module, "render", render_badly)


@pytest.mark.usefixtures("client_with_a_bug")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_line_that_the_server_refuses_in_the_middle_of_a_batch_is_the_only_one_lost(
    tmp_path: Path, server: RunningServer, way: dict[str, Any]
) -> None:
    log = append(tmp_path / "app.log", range(100))
    with shipping(log, server.port, **once(way, tmp_path)) as run:
        assert run.result().problems == ("2 lines were refused by the server",)
    assert_conserved([*range(7), *range(9, 100)], server.stored_lines())
    assert [(loss.start, loss.end) for loss in losses(server)] == [(7 * 32, 8 * 32), (8 * 32, 9 * 32)]
    assert "refused by the server" in losses(server)[0].reason


@pytest.mark.usefixtures("client_with_a_bug")
def test_a_refused_line_does_not_make_the_client_wait(tmp_path: Path, server: RunningServer) -> None:
    """Nothing has failed; with a second of backoff for each of them a bad file would take hours."""
    log = append(tmp_path / "app.log", range(100))
    with shipping(log, server.port, **once({"max_attempts": 1}, tmp_path)) as run:
        run.result()
    assert run.counters.reconnects == 0


@pytest.mark.usefixtures("client_with_a_bug")
def test_a_refused_line_is_not_mistaken_for_another_file_after_a_crash(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is ahead of the checkpoint, and what it has there is less than what is in the file."""
    log, state = append(tmp_path / "app.log", range(5)), tmp_path / "state" / "checkpoints.json"
    settings = once({"resume": True}, tmp_path)
    with shipping(log, server.port, **settings) as run:
        run.result()
    old = state.read_bytes()
    append(log, range(5, 50))
    with shipping(log, server.port, **settings) as run:
        run.result()
    for count in (50, 60):
        state.write_bytes(old)
        append(log, range(_count(log), count))
        with shipping(log, server.port, **settings) as run:
            run.result()
        assert_conserved([*range(7), *range(9, count)], server.stored_lines())
    assert "is not the file" not in caplog.text


@pytest.mark.parametrize("resilient", [False, True])
def test_a_line_that_was_cut_is_stored_and_noted(tmp_path: Path, server: RunningServer, resilient: bool) -> None:
    log = append(tmp_path / "app.log", range(3))
    start = log.stat().st_size
    log.write_bytes(log.read_bytes() + BAD)
    append(log, range(3, 6))
    with shipping(log, server.port, **once({"resilient": resilient, "max_line_bytes": 100}, tmp_path)) as run:
        assert run.result().problems == ("1 lines were too long and were cut",)
    stored = server.stored_lines()
    assert conservation(range(6), stored) == Conservation(altered=1)
    assert json.loads(stored[3])["truncated"] is True
    assert losses(server) == [Loss(start, start + len(BAD), "cut after 100 bytes")]


@pytest.mark.parametrize("resilient", [False, True])
def test_what_a_truncation_took_away_is_told_with_its_range(tmp_path: Path, resilient: bool) -> None:
    log, port = append(tmp_path / "app.log", range(10)), free_port()
    size = log.stat().st_size
    with shipping(log, port, **once({"mode": "continuous", "resilient": resilient}, tmp_path)) as run:
        with running_server(tmp_path, server_port=port):
            run.wait_for_acks(10)
            with log.open("ab") as file:
                file.write(b"an unfinished line")
            wait_until(lambda: run.counters.bytes_read >= size, "it is looked at")
        log.write_bytes(b"")
        append(log, range(100, 110))
        with running_server(tmp_path, server_port=port) as server:
            wait_until(lambda: len(server.stored_lines()) >= 20, "the new lines are stored")
            found = losses(server)
        run.request_stop()
    assert_conserved([*range(10), *range(100, 110)], stored_lines(tmp_path / "data"))
    assert [(loss.start, loss.reason) for loss in found] == [(size, "truncated or rewritten before it was read")] or (
        run.counters.bytes_lost == 0 and not found
    )


def test_a_batch_file_that_is_truncated_while_it_is_shipped_is_told_with_its_range(
    tmp_path: Path, server: RunningServer, one_batch_at_a_time: int
) -> None:
    log = append(tmp_path / "app.log", range(10_000, 11_000))
    size = log.stat().st_size
    with chaos_proxy(server.port) as proxy:
        proxy.stall(DOWN)
        with shipping(log, proxy.port, **once({}, tmp_path)) as run:
            wait_until(lambda: run.counters.bytes_read, "the first batch is read")
            log.write_bytes(b"")
            proxy.flow(DOWN)
            problems = run.result().problems
    read = run.counters.bytes_read
    assert problems == (f"{size - read} bytes of the file were gone before they were read",)
    assert losses(server) == [Loss(read, size, "truncated or rewritten while it was read")]
    assert_conserved(range(10_000, 10_000 + one_batch_at_a_time), server.stored_lines())


def test_what_was_not_asked_for_is_in_the_ledger_and_no_problem(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(10))
    size = log.stat().st_size
    with shipping(log, server.port, **once({"mode": "continuous", "start_at": "end"}, tmp_path)) as run:
        wait_until(lambda: losses(server), "the server knows")
        append(log, range(10, 20))
        run.wait_for_acks(10)
        assert run.stop().problems == ()
    assert_conserved(range(10, 20), server.stored_lines())
    assert losses(server) == [Loss(0, size, "not asked for (--start-at end)")]


def test_what_was_not_asked_for_is_not_shipped_after_a_crash_and_what_came_after_it_is(
    tmp_path: Path, server: RunningServer
) -> None:
    log, state = append(tmp_path / "app.log", range(10)), tmp_path / "state" / "checkpoints.json"
    settings = once({"mode": "continuous", "start_at": "end"}, tmp_path)
    with chaos_proxy(server.port) as proxy:
        proxy.lose_next_acks_of_batches(10_000)
        with shipping(log, proxy.port, **{**settings, "shutdown_timeout": 0.0}):
            wait_until(lambda: losses(server), "the server knows")
            old = state.read_bytes()
    state.write_bytes(old)
    assert json.loads(old)["sources"][0]["committed"] == 0
    append(log, range(10, 20))
    with shipping(log, server.port, **settings):
        wait_until(lambda: len(server.stored_lines()) >= 10, "what came later is stored")
    assert_conserved(range(10, 20), server.stored_lines())


# --- falling back to the plain protocol (rule E2) ---------------------------------------------------------------------


def hello_as_a_line(talk: Talk) -> None:
    """Take the hello for a log line, as a receiver that checks nothing."""
    ack_every_line(talk)


def close_on_hello(talk: Talk) -> None:
    """End every connection that begins with a hello."""
    while (line := talk.read_line()) and not line.startswith(b'{"logferry"'):
        talk.ack()


def log_lines(server: FakeServer) -> list[bytes]:
    """Return what a server has got but for the questions what it is."""
    return [line for line in server.lines if b"logferry" not in line and line.strip()]


OLD_SERVERS: dict[str, Script] = {
    "answers an error": refuse(lambda line: line.startswith(b'{"logferry"')),
    "acks it as a line": hello_as_a_line,
    "closes": close_on_hello,
}


@pytest.mark.parametrize("resilient", [False, True])
@pytest.mark.parametrize("script", OLD_SERVERS.values(), ids=OLD_SERVERS.keys())
def test_a_server_that_does_not_know_the_hello_gets_plain_lines(
    tmp_path: Path, script: Script, resilient: bool
) -> None:
    log = append(tmp_path / "app.log", range(100))
    with FakeServer(script) as old, shipping(log, old.port, **once({"resilient": resilient}, tmp_path)) as run:
        assert run.result().problems == ()
    assert log_lines(old) == [numbered_line(number) for number in range(100)]
    assert run.counters.lines_acked == 100
    assert run.counters.lines_rejected == 0


def test_a_server_that_was_welcome_once_never_gets_plain_lines(tmp_path: Path) -> None:
    """What it has stored by its own count would be repeated."""
    log, port = append(tmp_path / "app.log", range(10)), free_port()
    settings = once({"mode": "batch", "resume": True, "max_attempts": 5}, tmp_path)
    with running_server(tmp_path, server_port=port), shipping(log, port, **settings) as run:
        run.result()
    append(log, range(10, 20))
    for script in (hello_as_a_line, refuse(lambda line: True), close_on_hello):
        with FakeServer(in_turn(script), port=port) as old, shipping(log, port, **settings) as run:
            with pytest.raises(GaveUp, match="after 5 failures"):
                run.result()
        assert all(line.startswith(b'{"logferry": "hello"') for line in old.lines)
    with running_server(tmp_path, server_port=port), shipping(log, port, **settings) as run:
        run.result()
    assert_conserved(range(20), stored_lines(tmp_path / "data"))


@pytest.mark.parametrize("ack", ["auto", "line"])
def test_what_was_shipped_by_the_plain_protocol_is_not_repeated_when_the_server_learns_the_extension(
    tmp_path: Path, ack: str
) -> None:
    log, port = append(tmp_path / "app.log", range(10)), free_port()
    size = log.stat().st_size
    settings = once({"resume": True}, tmp_path)
    with FakeServer(refuse(lambda line: b"logferry" in line), port=port) as old:
        with shipping(log, port, **{**settings, "ack": ack}) as run:
            run.result()
        assert log_lines(old) == [numbered_line(number) for number in range(10)]
    with running_server(tmp_path, server_port=port) as server:
        for count in (20, 20, 30):
            append(log, range(_count(log), count))
            with shipping(log, port, **settings) as run:
                assert run.result().problems == ()
        assert_conserved(range(10, 30), server.stored_lines())
        assert losses(server) == [Loss(0, size, "shipped by the plain protocol before")]


def test_a_client_may_change_between_the_protocols_and_repeats_nothing(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", [])
    for round_, ack in enumerate(["auto", "line", "auto", "line", "line", "auto", "auto"]):
        append(log, range(round_ * 10, round_ * 10 + 10))
        with shipping(log, server.port, **{**once({"resume": True}, tmp_path), "ack": ack}) as run:
            run.result()
    assert sorted(server.stored_lines()) == sorted(numbered_line(number) for number in range(70))


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-86400.0 * 365, 86400.0 * 365], ids=["back", "forward"])
def test_a_clock_that_is_set_while_it_runs_changes_nothing(
    tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    real, jump = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    log = append(tmp_path / "app.log", range(100))
    settings = once({"mode": "continuous"}, tmp_path)
    with shipping(log, server.port, **settings) as run:
        run.wait_for_acks(100)
        jump = jump_s
        append(log, range(100, 200))
        run.wait_for_acks(200)
        log.rename(tmp_path / "app.log.1")
        append(log, range(200, 300))
        run.wait_for_acks(300)
    append(log, range(300, 400))
    jump = 0.0
    with shipping(log, server.port, **settings) as run:
        run.wait_for_acks(100)
    assert_conserved(range(400), server.stored_lines())
    assert run.counters.reconnects == 0
