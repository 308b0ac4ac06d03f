"""Exactly once: our client, our server, and everything that happens to them; judged by what the server keeps."""

import contextlib
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.servers.retry import Backoff
from logferry.client.state.checkpoints import Checkpoints
from logferry.server.storage.disk.integrity.source_report import report
from tests.faults.chaos_proxy import DOWN, UP, chaos_proxy
from tests.support.processes import client, free_port, ship
from tests.support.running import (
    RunningServer,
    numbered_line,
    running_server,
    stored_lines,
    wait_until,
    wait_while_it_moves,
)
from tests.support.shipping import (
    EVERY_WAY,
    append,
    assert_conserved,
    count_lines,
    log_line,
    once,
    shipping,
)

pytestmark = pytest.mark.usefixtures("quick_backoff")


def assert_agreed(state: Path, data: Path) -> None:
    """Fail unless the checkpoint of the client and the ledger of the server say the same of the only source."""
    (checkpoint,) = Checkpoints(state, read_only=True)
    found = report(data, checkpoint.id, after=0)
    assert (checkpoint.committed, checkpoint.lines, checkpoint.crc32) == (found.committed, found.lines, found.crc32)


# --- acks that are lost -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_line_is_stored_once_when_200_acks_in_a_row_are_lost(
    tmp_path: Path,
    server: RunningServer,
    monkeypatch: pytest.MonkeyPatch,
    one_batch_at_a_time: int,
    way: dict[str, Any],
) -> None:
    monkeypatch.setattr(
        "logferry.client.delivery.engine.engine.Backoff", lambda **_: Backoff(first_s=0.001, ceiling_s=0.001)
    )
    lines = range(10_000, 10_000 + 200 * one_batch_at_a_time)
    log = append(tmp_path / "app.log", lines)
    with chaos_proxy(server.port) as proxy:
        proxy.lose_next_acks_of_batches(200)
        with shipping(log, proxy.port, **once(tmp_path, **way)) as run:
            wait_while_it_moves(lambda: run.is_over, lambda: proxy.happened.resets, "200 acks are lost")
            run.result()
        assert proxy.happened.resets == 200
    assert_conserved(lines, server.stored_lines())
    assert_agreed(tmp_path / "state", server.data_dir)
    assert run.counters.lines_acked == len(lines)


@pytest.mark.parametrize("way", EVERY_WAY)
def test_every_line_is_stored_once_wherever_connections_break(
    tmp_path: Path, server: RunningServer, way: dict[str, Any]
) -> None:
    log = append(tmp_path / "app.log", range(100))
    with (
        chaos_proxy(server.port) as proxy,
        shipping(log, proxy.port, **once(tmp_path, mode="continuous", batch_size=None, **way)),
    ):
        wait_until(lambda: len(server.stored_lines()) == 100, "the client is welcome")
        for size, direction in ((1, UP), (100, UP), (300, UP), (3000, UP), (1, DOWN), (100, DOWN), (250, DOWN)):
            before = proxy.happened.resets
            proxy.reset_after(size, direction)
            while proxy.happened.resets == before:
                append(log, range(count_lines(log), count_lines(log) + 100))
                wait_until(
                    lambda: proxy.happened.resets > before or len(server.stored_lines()) == count_lines(log),  # noqa: B023
                    "a reset, or all is stored",
                )
        wait_until(lambda: len(server.stored_lines()) >= count_lines(log), "all is stored")
    assert proxy.happened.resets >= 7
    assert_conserved(range(count_lines(log)), server.stored_lines())


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
        wait_until(lambda: len(server.stored_lines()) >= count, "all is stored")
        append(log, range(count, count + 10))  # so that this client too has asked the server where it is
        wait_until(lambda: len(server.stored_lines()) >= count + 10, "the rest is stored")
        assert run.terminate() == 0
    assert_agreed(tmp_path / "state", server.data_dir)
    assert_conserved(range(count + 10), server.stored_lines())


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
    settings = once(tmp_path, resume=True)
    for count in (1000, 1500, 1500, 1501):
        append(log, range(count_lines(log), count))
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
        with shipping(log, server.port, **once(tmp_path, resume=False)) as run:
            run.result()
    assert server.stored_lines() == [numbered_line(number) for number in range(100)] * 2


def test_a_resumed_run_goes_on_with_the_latest_of_several_runs(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(100))
    for _ in range(2):
        with shipping(log, server.port, **once(tmp_path, resume=False)) as run:
            run.result()
    append(log, range(100, 110))
    with shipping(log, server.port, **once(tmp_path, resume=True)) as run:
        run.result()
    assert len(server.stored_lines()) == 210
    assert run.counters.lines_acked == 10


# --- a server that is not what it was ---------------------------------------------------------------------------------


@pytest.mark.parametrize("resilient", [False, True])
def test_a_server_that_is_restarted_gets_every_line_once(tmp_path: Path, resilient: bool) -> None:
    log, port = append(tmp_path / "app.log", range(1000)), free_port()
    settings = once(tmp_path, mode="continuous", resilient=resilient)
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
    settings = once(tmp_path, mode="continuous")
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
        assert_agreed(tmp_path / "state", data)
        assert_conserved(range(3020), stored_lines(data))


def test_a_restored_server_and_a_dead_client_that_had_gone_back_agree_at_the_next_start(tmp_path: Path) -> None:
    """The client has gone back, saved that, and ended before anything was acked again."""
    log, data = append(tmp_path / "app.log", range(100)), tmp_path / "data"
    settings = once(tmp_path, mode="continuous")
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
        with shipping(log, server.port, **settings) as run:
            append(log, [301])
            wait_until(lambda: len(server.stored_lines()) >= 302, "all is stored again")
        assert_agreed(tmp_path / "state", data)
        assert_conserved(range(302), server.stored_lines())


# --- files that are not what they were --------------------------------------------------------------------------------


def test_a_file_that_differs_from_what_the_server_has_beyond_the_checkpoint_is_a_new_source(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule E17: same inode, same beginning up to the checkpoint, but another history after it."""
    log, state = append(tmp_path / "app.log", range(100)), tmp_path / "state" / "checkpoints.json"
    settings = once(tmp_path, mode="continuous")
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
    settings = once(tmp_path, mode="continuous")
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
    with shipping(log, port, **once(tmp_path, mode="continuous", resilient=resilient)) as run:
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
    settings = once(tmp_path, resume=True)
    with shipping(log, server.port, **settings) as run:
        run.result()
    assert_conserved(range(2), server.stored_lines())
    assert next(iter(Checkpoints(tmp_path / "state", read_only=True))).committed == log.stat().st_size
    append(log, [2])
    with shipping(log, server.port, **settings) as run:
        run.result()
    assert_conserved(range(3), server.stored_lines())
    assert run.counters.lines_blank == 0


# --- many files -------------------------------------------------------------------------------------------------------


def logs_of(folder: Path, numbers: range, *, count: int) -> list[Path]:
    """Append lines of these numbers to `count` files, as many to each."""
    share = len(numbers) // count
    return [append(folder / f"{n:03}.log", numbers[n * share : (n + 1) * share]) for n in range(count)]


def lines_of_each(data_dir: Path) -> list[bytes]:
    """Return what is stored, sorted by the numbers in the lines; each file's lines must be in their order."""
    for path in data_dir.glob("segments/**/*.ndjson"):
        lines = path.read_bytes().splitlines(keepends=True)
        assert lines == sorted(lines, key=_number)
    return sorted(stored_lines(data_dir), key=_number)


def _number(line: bytes) -> int:
    return int(line.split(b'"line ')[1].split(b'"')[0])


@pytest.mark.parametrize("way", EVERY_WAY)
def test_many_files_are_stored_once_wherever_connections_break(
    tmp_path: Path, server: RunningServer, way: dict[str, Any]
) -> None:
    total = 0
    with chaos_proxy(server.port) as proxy:
        for size, direction in ((300, UP), (3000, UP), (10_000, UP), (200, DOWN), (1000, DOWN), (9000, DOWN)):
            proxy.reset_after(size, direction)
            logs = logs_of(tmp_path, range(total, total + 300), count=100)
            total += 300
            with shipping(logs, proxy.port, **once(tmp_path, resume=True, **way)) as run:
                assert run.result().problems == ()
            proxy.disarm()
        assert proxy.happened.resets >= 5
    assert lines_of_each(server.data_dir) == [numbered_line(number) for number in range(total)]


def test_a_client_that_was_killed_agrees_with_the_server_about_many_files_at_once(
    tmp_path: Path, server: RunningServer
) -> None:
    """Rule E17: its checkpoints are all behind."""
    state, settings = tmp_path / "state" / "checkpoints.json", once(tmp_path, resume=True)
    old = b""
    for turn in range(3):
        logs = logs_of(tmp_path, range(turn * 300, turn * 300 + 300), count=100)
        with shipping(logs, server.port, **settings) as run:
            run.result()
        if turn == 0:
            old = state.read_bytes()
        elif turn == 1:
            state.write_bytes(old)
    assert lines_of_each(server.data_dir) == [numbered_line(number) for number in range(900)]


@pytest.mark.parametrize("client_restarts", [False, True], ids=["client runs on", "client restarts"])
def test_a_server_that_was_restored_from_an_older_copy_gets_what_it_has_lost_of_many_files(
    tmp_path: Path, client_restarts: bool
) -> None:
    """Rule E18."""
    port, data = free_port(), tmp_path / "data"
    settings = once(tmp_path, mode="continuous")
    logs = logs_of(tmp_path, range(300), count=50)
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(shipping(logs, port, **settings))
        with running_server(tmp_path, server_port=port):
            run.wait_for_acks(300)
        shutil.copytree(data, tmp_path / "copy")
        with running_server(tmp_path, server_port=port):
            logs_of(tmp_path, range(300, 600), count=50)
            run.wait_for_acks(600)
        shutil.rmtree(data)
        (tmp_path / "copy").rename(data)
        if client_restarts:
            run.stop()
            run = stack.enter_context(shipping(logs, port, **settings))
        logs_of(tmp_path, range(600, 900), count=50)
        with running_server(tmp_path, server_port=port):
            wait_until(lambda: len(stored_lines(data)) >= 900, "all is stored again")
            run.stop()
    assert lines_of_each(data) == [numbered_line(number) for number in range(900)]


@pytest.mark.parametrize("resilient", [False, True])
def test_more_sources_than_one_connection_may_open_take_several_and_nothing_is_sent_twice(
    tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, resilient: bool
) -> None:
    """Rule E4."""
    monkeypatch.setattr("logferry.server.clients.sessions.delivery.MAX_SOURCES", 7)
    logs = logs_of(tmp_path, range(300), count=30)
    with shipping(logs, server.port, **once(tmp_path, resilient=resilient)) as run:
        assert run.result().problems == ()
    assert lines_of_each(server.data_dir) == [numbered_line(number) for number in range(300)]
    assert (run.counters.reconnects, run.counters.lines_retried) == (0, 0)
    assert server.stats.connections_total >= 5
    assert server.stats.repeats == 0


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-86400.0 * 365, 86400.0 * 365], ids=["back", "forward"])
def test_a_clock_that_is_set_while_it_runs_changes_nothing(
    tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    real, jump = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    log = append(tmp_path / "app.log", range(100))
    settings = once(tmp_path, mode="continuous")
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
