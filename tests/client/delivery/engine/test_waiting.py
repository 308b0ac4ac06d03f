"""The engine's waits: what ends them, and that neither announcements nor lack of room keep the engine busy."""

import math
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.batches.batches import RenderingProducer
from logferry.client.delivery.engine.engine import WINDOW_BYTES
from logferry.client.delivery.engine.waiting import EngineWait
from logferry.client.net.waiting.poller import PAUSE_S
from logferry.client.net.waiting.readiness import READ
from logferry.client.net.waiting.wakeup import StopSignal, Wakeup
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import DeliveryAbandoned
from logferry.telemetry.metrics import Metrics
from tests.support import fakes
from tests.support.announcing import AnnouncingReader, rate_of
from tests.support.engines import engine_to_server
from tests.support.fakes import FakeServer
from tests.support.running import DEADLINE_S, numbered_line, wait_until
from tests.support.shipping import append, log_line, ship_settings, shipping
from tests.support.stopping import stop_signal

# --- the engine's waits ---


def waiting(
    log: Path, stop: StopSignal, ticks: list[float], *, clock: Callable[[], float] = time.monotonic, **changes: Any
) -> EngineWait:
    return EngineWait(
        ship_settings(log, 1, **({"poll_interval": 60.0} | changes)),
        stop,
        clock=clock,
        on_tick=lambda: ticks.append(clock()),
        on_stop=lambda: None,
        describe=lambda: "nothing",
    )


def test_an_announced_change_ends_a_wait_and_makes_the_reader_check(tmp_path: Path, announcement: Wakeup) -> None:
    ticks: list[float] = []
    announcement.set()
    assert waiting(tmp_path, stop_signal(), ticks).once({}, DEADLINE_S, announcing=[announcement.fileno()]) == {}
    assert len(ticks) == 1


def test_announcements_do_not_delay_the_regular_check(tmp_path: Path, announcement: Wakeup) -> None:
    now, ticks = [0.0], list[float]()
    wait = waiting(tmp_path, stop_signal(), ticks, clock=lambda: now[0], poll_interval=10.0)
    announcement.set()
    now[0] = 9.0
    wait.once({}, 0.0, announcing=[announcement.fileno()])
    announcement.clear()
    now[0] = 10.0
    wait.once({}, 0.0, announcing=[announcement.fileno()])
    assert ticks == [9.0, 10.0]


def test_a_look_that_nobody_needs_is_put_off(tmp_path: Path) -> None:
    now, ticks = [0.0], list[float]()
    wait = waiting(tmp_path, stop_signal(), ticks, clock=lambda: now[0], poll_interval=10.0)
    for now[0], patience_s in ((9.0, 30.0), (10.0, 29.0), (38.0, 1.0)):
        wait.once({}, 0.0, patience_s=patience_s)
    assert ticks == []
    for now[0] in (39.0, 48.0, 49.0):
        wait.once({}, 0.0, patience_s=0.0)
    assert ticks == [39.0, 49.0]


def test_patience_delays_neither_announcements_nor_deadlines(tmp_path: Path, announcement: Wakeup) -> None:
    ticks: list[float] = []
    wait = waiting(tmp_path, stop_signal(), ticks, deadline=0.01)
    announcement.set()
    wait.once({}, math.inf, announcing=[announcement.fileno()], patience_s=math.inf)
    assert len(ticks) == 1
    announcement.clear()
    with pytest.raises(DeliveryAbandoned, match="deadline"):
        wait.once({}, math.inf, announcing=[announcement.fileno()], patience_s=math.inf)


def test_a_ready_socket_is_reported_beside_an_announcement(
    tmp_path: Path, announcement: Wakeup, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    ticks: list[float] = []
    theirs.send(b"x")
    announcement.set()
    wait = waiting(tmp_path, stop_signal(), ticks)
    fd = ours.fileno()
    assert wait.once({fd: READ}, DEADLINE_S, announcing=[announcement.fileno()]) == {fd: READ}
    assert len(ticks) == 1


def test_a_stop_ends_a_wait_for_announcements(tmp_path: Path, announcement: Wakeup) -> None:
    stop, ticks = stop_signal(), list[float]()
    threading.Timer(0.01, stop.request).start()
    waiting(tmp_path, stop, ticks).once({}, DEADLINE_S, announcing=[announcement.fileno()])
    assert stop.is_requested
    assert ticks == []


def test_a_stop_ends_a_wait_without_an_end(tmp_path: Path) -> None:
    stop, ticks = stop_signal(), list[float]()
    threading.Timer(0.01, stop.request).start()
    waiting(tmp_path, stop, ticks).once({}, math.inf, patience_s=math.inf)
    assert stop.is_requested
    assert ticks == []


# --- the engine ---


class Run:
    """A basic engine in a thread, behind a reader of ours."""

    def __init__(self, reader: AnnouncingReader, tmp_path: Path, port: int, **changes: Any) -> None:
        self.metrics = Metrics()
        self.stop = stop_signal()
        settings = ship_settings(tmp_path / "app.log", port, **({"poll_interval": 60.0, "ack_timeout": 60.0} | changes))
        self._checkpoints = Checkpoints(tmp_path / "state")
        producer = RenderingProducer(reader, metrics=self.metrics)
        self._engine = engine_to_server(producer, settings, self._checkpoints, metrics=self.metrics, stop=self.stop)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._engine.run()
        except DeliveryAbandoned:
            pass  # it was stopped with lines in flight
        except BaseException as error:
            self._failure = error
        finally:
            self._checkpoints.close()

    def end(self) -> None:
        self.stop.request()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure


@contextmanager
def running(reader: AnnouncingReader, tmp_path: Path, port: int, **changes: Any) -> Iterator[Run]:
    run = Run(reader, tmp_path, port, **({"shutdown_timeout": 0.1} | changes))
    try:
        yield run
    finally:
        run.end()
        reader.close()


def test_lines_that_are_announced_are_shipped_long_before_the_next_regular_look(tmp_path: Path) -> None:
    reader = AnnouncingReader()
    with FakeServer(fakes.ack_every_line) as server, running(reader, tmp_path, server.port) as run:
        for number in range(3):  # the first without a connection, the others with one that is idle
            reader.grow(log_line(number))
            wait_until(lambda: run.metrics.total().counters.lines_acked == number + 1, f"line {number} is acked")  # noqa: B023
        assert server.lines == [numbered_line(number) for number in range(3)]


def test_lines_that_are_announced_are_shipped_while_others_wait_for_their_ack(tmp_path: Path) -> None:
    reader = AnnouncingReader()
    with FakeServer(fakes.swallow) as server, running(reader, tmp_path, server.port):
        for number in range(3):
            reader.grow(log_line(number))
            wait_until(lambda: len(server.lines) == number + 1, f"line {number} has arrived")  # noqa: B023


def test_what_is_acked_is_saved_soon_however_patient_the_reader_is(tmp_path: Path) -> None:
    reader, line = AnnouncingReader(patience_s=math.inf), log_line(1)
    with FakeServer(fakes.ack_every_line) as server, running(reader, tmp_path, server.port, poll_interval=0.02):
        reader.grow(line)
        wait_until(
            lambda: [known.committed for known in Checkpoints(tmp_path / "state", read_only=True)] == [len(line)],
            "it is saved",
        )


def test_announcements_that_no_check_resets_do_not_make_an_idle_engine_spin(tmp_path: Path) -> None:
    reader = AnnouncingReader(is_deaf=True)
    reader.grow(b"")
    with FakeServer(fakes.swallow) as server, running(reader, tmp_path, server.port):
        assert rate_of(lambda: reader.polls, at_least=100) <= 1 / PAUSE_S + 1
        assert reader.reads <= reader.polls + 2, "each look is followed by one read"


def test_while_the_window_is_full_announced_changes_wake_no_thread(tmp_path: Path) -> None:
    reader = AnnouncingReader(is_deaf=True, is_endless=True)
    reader.grow(b"")
    with FakeServer(fakes.swallow) as server, running(reader, tmp_path, server.port, poll_interval=0.02):
        almost_all = WINDOW_BYTES * 0.98  # a batch takes a little more than its lines
        wait_until(lambda: sum(map(len, server.lines)) >= almost_all, "all that the window takes has arrived")
        reads = reader.reads
        assert rate_of(lambda: reader.polls, at_least=10) <= 1 / 0.02 + 5
        assert reader.reads <= reads + 2


def test_while_the_server_is_away_announced_changes_wake_no_thread(tmp_path: Path) -> None:
    reader = AnnouncingReader(is_deaf=True)
    reader.grow(log_line(1))
    with FakeServer(fakes.accept_and_close) as server:
        port = server.port
    with running(reader, tmp_path, port, poll_interval=0.02, backoff_max=1.0, mode="continuous") as run:
        wait_until(lambda: run.metrics.total().counters.reconnects > 0, "it has found nobody")
        reads = reader.reads
        assert rate_of(lambda: reader.polls, at_least=10) <= 1 / 0.02 + 5
        assert reader.reads <= reads + run.metrics.total().counters.reconnects + 1


# --- the whole ---


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="without inotify a file is only looked at regularly")
@pytest.mark.parametrize("resilient", [False, True], ids=["basic", "resilient"])
def test_a_line_that_is_appended_is_acked_long_before_the_next_regular_look(tmp_path: Path, resilient: bool) -> None:
    log = append(tmp_path / "app.log", [0])
    with (
        FakeServer(fakes.ack_every_line) as server,
        shipping(log, server.port, mode="continuous", resilient=resilient, poll_interval=60.0) as client,
    ):
        client.wait_for_acks(1)
        for number in range(1, 20):
            append(log, [number])
            client.wait_for_acks(number + 1)
        client.stop()
        assert server.lines == [numbered_line(number) for number in range(20)]
