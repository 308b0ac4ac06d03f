"""Nothing disappears silently: what cannot be delivered is in the ledger with its range, all else is stored."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from logferry.client.state.losses_file import read_losses
from logferry.protocol.messages.reports import RecordedLoss
from logferry.rendering.engine.format import Rendered
from logferry.rendering.renderer import Renderer
from tests.faults.chaos_proxy import DOWN, chaos_proxy
from tests.support.messages import without_duration
from tests.support.processes import free_port
from tests.support.running import RunningServer, running_server, stored_lines, wait_until
from tests.support.shipping import (
    EVERY_WAY,
    Conservation,
    append,
    assert_conserved,
    conservation,
    count_lines,
    log_line,
    losses,
    once,
    shipping,
)

pytestmark = pytest.mark.usefixtures("quick_backoff")


BAD = b"2024-01-15 08:23:45 INFO " + b"x" * 3000 + b"\n"


@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_line_that_is_too_long_for_the_server_is_the_only_one_lost(tmp_path: Path, way: dict[str, Any]) -> None:
    log = append(tmp_path / "app.log", range(40))
    ranges = []
    for end in (80, 81, 120):
        start = log.stat().st_size
        log.write_bytes(log.read_bytes() + BAD)
        ranges.append((start, start + len(BAD)))
        append(log, range(count_lines(log) - len(ranges), end))
    with running_server(tmp_path, max_record_bytes=1024) as server:
        with shipping(log, server.port, **once(tmp_path, **way)) as run:
            problems = run.result().problems
        assert_conserved(range(120), server.stored_lines())
        assert problems == ("3 lines were refused by the server",)
        assert run.counters.lines_rejected == 3
        assert run.counters.lines_acked == 120
        assert [(loss.start, loss.end) for loss in losses(server)] == ranges
        assert all("refused by the server: more than 1024 bytes" in loss.reason for loss in losses(server))
    (known,) = read_losses(tmp_path / "state").losses
    assert (known.path, known.count, known.reason) == (str(log), 3, "refused by the server: more than 1024 bytes")


@pytest.fixture
def client_with_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client render `line 7` and `line 8` as something that no server takes."""

    render = Renderer.render

    def render_badly(*words: Any, **options: Any) -> Rendered:
        rendered = render(*words, **options)
        payload = re.sub(rb'"level": "INFO", ("message": "line [78]")', rb'"lovel": "INFO", \1', rendered.payload)
        return dataclasses.replace(rendered, payload=payload)

    monkeypatch.setattr(Renderer, "render", render_badly)


@pytest.mark.usefixtures("client_with_a_bug")
@pytest.mark.parametrize("way", EVERY_WAY)
def test_a_line_that_the_server_refuses_in_the_middle_of_a_batch_is_the_only_one_lost(
    tmp_path: Path, server: RunningServer, way: dict[str, Any]
) -> None:
    """Rule E11."""
    log = append(tmp_path / "app.log", range(100))
    with shipping(log, server.port, **once(tmp_path, **way)) as run:
        assert run.result().problems == ("2 lines were refused by the server",)
    assert_conserved([*range(7), *range(9, 100)], server.stored_lines())
    assert [(loss.start, loss.end) for loss in losses(server)] == [(7 * 32, 8 * 32), (8 * 32, 9 * 32)]
    assert "refused by the server" in losses(server)[0].reason


@pytest.mark.usefixtures("client_with_a_bug")
@pytest.mark.parametrize("resilient", [False, True])
def test_lines_that_must_be_read_again_and_are_gone_are_told_with_their_range(
    tmp_path: Path, server: RunningServer, resilient: bool
) -> None:
    """A batch is refused for one bad line; the others were to be sent one by one, but the file is truncated by then."""
    log = append(tmp_path / "app.log", [0])
    with (
        chaos_proxy(server.port) as proxy,
        shipping(log, proxy.port, **once(tmp_path, mode="continuous", resilient=resilient)) as run,
    ):
        run.wait_for_acks(1)
        start = log.stat().st_size
        proxy.stall(DOWN)
        append(log, range(1, 20))
        size = log.stat().st_size
        wait_until(lambda: run.counters.lines_read == 20, "the lines are read")
        log.write_bytes(b"")
        append(log, range(100, 110))
        wait_until(lambda: run.counters.lines_read == 30, "the new lines are read")
        proxy.flow(DOWN)
        wait_until(lambda: losses(server), "the server knows")
        run.wait_for_acks(11)
    assert_conserved([0, *range(100, 110)], server.stored_lines())
    assert losses(server) == [RecordedLoss(start, size, "gone when it was to be read again")]
    assert run.counters.bytes_lost == size - start


@pytest.mark.usefixtures("client_with_a_bug")
def test_a_refused_line_does_not_make_the_client_wait(tmp_path: Path, server: RunningServer) -> None:
    """Nothing has failed; with a second of backoff for each of them a bad file would take hours."""
    log = append(tmp_path / "app.log", range(100))
    with shipping(log, server.port, **once(tmp_path, max_attempts=1)) as run:
        run.result()
    assert run.counters.reconnects == 0


@pytest.mark.usefixtures("client_with_a_bug")
def test_a_refused_line_is_not_mistaken_for_another_file_after_a_crash(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The server is ahead of the checkpoint, and what it has there is less than what is in the file."""
    log, state = append(tmp_path / "app.log", range(5)), tmp_path / "state" / "checkpoints.json"
    settings = once(tmp_path, resume=True)
    with shipping(log, server.port, **settings) as run:
        run.result()
    old = state.read_bytes()
    append(log, range(5, 50))
    with shipping(log, server.port, **settings) as run:
        run.result()
    for count in (50, 60):
        state.write_bytes(old)
        append(log, range(count_lines(log), count))
        with shipping(log, server.port, **settings) as run:
            run.result()
        assert_conserved([*range(7), *range(9, count)], server.stored_lines())
    assert "is not the file" not in caplog.text


@pytest.mark.parametrize("way", [{}, {"include": ("INFO",)}], ids=["blank lines", "filtered lines"])
def test_lines_that_are_not_stored_are_no_gap_after_a_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, way: dict[str, Any]
) -> None:
    """A batch without lines moves the position of the server, which then has neither an extent nor a loss there."""
    log, state = append(tmp_path / "app.log", [0]), tmp_path / "state" / "checkpoints.json"
    unwanted = b"2024-01-15 08:23:45 DEBUG unwanted\n" if way else b"\n"
    with running_server(tmp_path, max_record_bytes=1024) as server:
        with shipping(log, server.port, **once(tmp_path, **way)) as run:
            run.result()
        old = state.read_bytes()
        log.write_bytes(log.read_bytes() + 2 * unwanted + BAD + 2 * unwanted)
        append(log, [1])
        log.write_bytes(log.read_bytes() + 3 * unwanted)
        for _ in range(2):
            with shipping(log, server.port, **once(tmp_path, resume=True, **way)) as run:
                run.result()
            state.write_bytes(old)
        append(log, [2])
        with shipping(log, server.port, **once(tmp_path, resume=True, **way)) as run:
            run.result()
        assert_conserved(range(3), server.stored_lines())
    assert "is not the file" not in caplog.text


@pytest.mark.parametrize("resilient", [False, True])
def test_a_line_that_was_cut_is_stored_and_noted(tmp_path: Path, server: RunningServer, resilient: bool) -> None:
    """Rules E13 and F9."""
    log = append(tmp_path / "app.log", range(3))
    start = log.stat().st_size
    log.write_bytes(log.read_bytes() + BAD)
    append(log, range(3, 6))
    with shipping(log, server.port, **once(tmp_path, resilient=resilient, max_line_bytes=100)) as run:
        assert run.result().problems == ("1 lines were too long and were truncated",)
    stored = server.stored_lines()
    assert conservation(range(6), stored) == Conservation(altered=1)
    assert json.loads(stored[3])["truncated"] is True
    assert losses(server) == [RecordedLoss(start, start + len(BAD), "cut after 100 bytes")]


def test_a_client_logs_at_its_end_how_many_messages_it_left_out(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(15 * BAD)
    with shipping(log, server.port, **once(tmp_path, max_line_bytes=100)) as run:
        assert run.result().problems == ("15 lines were too long and were truncated",)
    assert caplog.text.count("marked truncated") == 11
    assert "marked truncated (repeated 5 times in T s)" in without_duration(caplog.text)
    assert len(server.stored_lines()) == len(losses(server)) == 15


def test_a_client_logs_at_its_end_how_many_holes_it_left_out(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"".join(bytes(5000) + log_line(number) for number in range(5)))
    with shipping(log, server.port, **once(tmp_path)) as run:
        assert not run.result().problems
    assert "NUL bytes at the beginning of a line" in caplog.text
    assert "(repeated " in caplog.text
    assert_conserved(range(5), server.stored_lines())


@pytest.mark.parametrize("resilient", [False, True])
def test_what_a_truncation_took_away_is_told_with_its_range(tmp_path: Path, resilient: bool) -> None:
    log, port = append(tmp_path / "app.log", range(10)), free_port()
    size = log.stat().st_size
    with shipping(log, port, **once(tmp_path, mode="continuous", resilient=resilient)) as run:
        with running_server(tmp_path, server_port=port):
            run.wait_for_acks(10)
            with log.open("ab") as file:
                file.write(b"an unfinished line")
            wait_until(lambda: run.counters.bytes_read >= size, "it is looked at")
        log.write_bytes(b"")
        append(log, range(100, 110))
        with running_server(tmp_path, server_port=port) as server:
            wait_until(lambda: len(server.stored_lines()) >= 20, "the new lines are stored")
            wait_until(lambda: losses(server) or not run.counters.bytes_lost, "what is lost is in the ledger")
            found = losses(server)
        run.request_stop()
    assert_conserved([*range(10), *range(100, 110)], stored_lines(tmp_path / "data"))
    assert [(loss.start, loss.reason) for loss in found] == [(size, "truncated or rewritten before it was read")] or (
        run.counters.bytes_lost == 0 and not found
    )


def test_a_batch_file_that_is_truncated_while_it_is_shipped_is_told_with_its_range(
    tmp_path: Path, server: RunningServer, one_batch_at_a_time: int
) -> None:
    """Rule E12."""
    log = append(tmp_path / "app.log", range(10_000, 11_000))
    size = log.stat().st_size
    with chaos_proxy(server.port) as proxy:
        proxy.stall(DOWN)
        with shipping(log, proxy.port, **once(tmp_path)) as run:
            wait_until(lambda: run.counters.bytes_read, "the first batch is read")
            log.write_bytes(b"")
            proxy.flow(DOWN)
            problems = run.result().problems
    read = run.counters.bytes_read
    assert problems == (f"{size - read} bytes were gone before they were read",)
    assert losses(server) == [RecordedLoss(read, size, "truncated or rewritten while it was read")]
    assert_conserved(range(10_000, 10_000 + one_batch_at_a_time), server.stored_lines())


def test_what_was_not_asked_for_is_in_the_ledger_and_no_problem(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(10))
    size = log.stat().st_size
    with shipping(log, server.port, **once(tmp_path, mode="continuous", start_at="end")) as run:
        wait_until(lambda: losses(server), "the server knows")
        append(log, range(10, 20))
        run.wait_for_acks(10)
        assert run.stop().problems == ()
    assert_conserved(range(10, 20), server.stored_lines())
    assert losses(server) == [RecordedLoss(0, size, "not asked for (--start-at end)")]


def test_what_was_not_asked_for_is_not_shipped_after_a_crash_and_what_came_after_it_is(
    tmp_path: Path, server: RunningServer
) -> None:
    log, state = append(tmp_path / "app.log", range(10)), tmp_path / "state" / "checkpoints.json"
    settings = once(tmp_path, mode="continuous", start_at="end")
    with chaos_proxy(server.port) as proxy:
        proxy.lose_next_acks_of_batches(10_000)
        with shipping(log, proxy.port, **{**settings, "shutdown_timeout": 0.0}):
            wait_until(lambda: losses(server), "the server knows")
            old = state.read_bytes()
    state.write_bytes(old)
    assert "committed" not in json.loads(old.splitlines()[1]), "nothing of the source was acked"
    append(log, range(10, 20))
    with shipping(log, server.port, **settings):
        wait_until(lambda: len(server.stored_lines()) >= 10, "what came later is stored")
    assert_conserved(range(10, 20), server.stored_lines())
