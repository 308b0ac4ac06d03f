"""The probe against real ports, and the monitor with a probe that says what a test wants."""

import logging
import queue
import socket
import threading
from collections.abc import Iterator

import pytest

from logferry.client.net.connecting import health
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.connecting.health import Health, HealthMonitor, probe
from logferry.client.net.waiting.readiness import Readiness
from tests.support.running import DEADLINE_S, wait_until

# --- the probe --------------------------------------------------------------------------------------------------------


def test_a_port_where_somebody_listens_is_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert probe(Endpoint("127.0.0.1", listener.getsockname()[1]), timeout_s=DEADLINE_S) is None
        connection, _ = listener.accept()
        connection.settimeout(DEADLINE_S)
        with connection:
            assert connection.recv(1) == b"", "the probe says nothing and closes"


def test_a_probe_of_a_closed_port_returns_the_reason() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        assert probe(Endpoint("127.0.0.1", taken.getsockname()[1]), timeout_s=DEADLINE_S) == "Connection refused"


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".invalid"])
def test_a_probe_of_an_invalid_host_name_returns_the_reason(host: str) -> None:
    assert probe(Endpoint(host, 9), timeout_s=DEADLINE_S) == "not a host name"


def test_a_probe_of_an_unknown_host_name_returns_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert probe(Endpoint("name.invalid", 9), timeout_s=DEADLINE_S) == "Name or service not known"


def test_a_probe_of_a_host_that_does_not_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(interest: Readiness, timeout_s: float) -> dict[int, int]:
        assert interest
        assert timeout_s <= 0.01
        return {}

    monkeypatch.setattr(health, "poll", no_answer)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert probe(Endpoint(*listener.getsockname()), timeout_s=0.01) == "no answer within 0.01 s"


# --- the monitor ------------------------------------------------------------------------------------------------------


class Monitored:
    """A monitor whose probes give what the test says, one answer for each, and wait for it."""

    def __init__(self, interval_s: float) -> None:
        self._answers: queue.Queue[str | None] = queue.Queue()
        self.probes = 0
        self.transitions: list[Health] = []
        self.monitor = HealthMonitor(self._probe, interval_s=interval_s, on_transition=self.transitions.append)

    def knows(self, state: Health) -> bool:
        """Whether this is what the monitor knows now."""
        return self.monitor.state is state

    def _probe(self) -> str | None:
        self.probes += 1
        return self._answers.get(timeout=DEADLINE_S)

    def let_end(self, reason: str | None) -> None:
        """Let the probe that is under way, or the next one, end so."""
        self._answers.put(reason)

    def answer(self, *reasons: str | None) -> None:
        """Let the next probes end so, and wait until the last of them was judged (the one after it has begun)."""
        wanted = self.probes + len(reasons)
        for reason in reasons:
            self.let_end(reason)
        wait_until(lambda: self.probes >= wanted, "the next probe")

    def stop(self) -> None:
        """End the monitor and the probe that is under way."""
        self.monitor.stop()
        self.let_end(None)


def wait_for_end() -> None:
    wait_until(lambda: all(t.name != "health-monitor" for t in threading.enumerate()), "the monitor's thread ended")


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Iterator[Monitored]:
    """A started monitor that probes again at once; its first probe is under way."""
    caplog.set_level(logging.INFO, logger="logferry.client.net.connecting.health")
    monitored = Monitored(interval_s=0.0)
    monitored.monitor.start()
    wait_until(lambda: monitored.probes, "the first probe")
    yield monitored
    monitored.stop()
    wait_for_end()


def test_a_server_that_answers_but_stores_nothing_is_unhealthy_until_it_stores(
    watched: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    watched.answer(None)
    watched.monitor.note_stall("No space left on device")
    watched.answer(None, None)  # that the server accepts connections changes nothing
    assert watched.knows(Health.UNHEALTHY)
    watched.monitor.note_stall("")
    assert watched.knows(Health.HEALTHY)
    assert watched.transitions == [Health.HEALTHY, Health.UNHEALTHY, Health.HEALTHY]
    assert caplog.messages == [
        "health: the server is healthy",
        "health: the server is unhealthy: No space left on device",
        "health: the server is healthy again",
    ]


def test_what_a_broken_connection_said_does_not_keep_the_client_from_reconnecting(watched: Monitored) -> None:
    watched.monitor.note_stall("No space left on device")
    watched.monitor.suspect()
    watched.answer(None, None)
    assert watched.knows(Health.HEALTHY)


def test_before_the_first_probe_nothing_is_known(watched: Monitored) -> None:
    assert watched.knows(Health.UNKNOWN)
    assert watched.transitions == []


def test_each_transition_is_reported_and_logged_once(watched: Monitored, caplog: pytest.LogCaptureFixture) -> None:
    watched.answer(None, None, None)
    assert watched.knows(Health.HEALTHY)
    watched.answer("refused", "refused", "no route")
    assert watched.knows(Health.UNHEALTHY)
    watched.answer(None, None)
    watched.answer("refused")
    assert watched.transitions == [Health.HEALTHY, Health.UNHEALTHY, Health.HEALTHY, Health.UNHEALTHY]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "health: the server is healthy"),
        ("WARNING", "health: the server is unhealthy: refused"),
        ("INFO", "health: the server is healthy again"),
        ("WARNING", "health: the server is unhealthy: refused"),
    ]


def test_a_server_that_is_away_from_the_start_is_unhealthy(watched: Monitored) -> None:
    watched.answer("refused")
    assert watched.transitions == [Health.UNHEALTHY]


def test_an_answer_that_may_be_older_than_a_failure_does_not_count(watched: Monitored) -> None:
    watched.answer(None)
    watched.monitor.suspect()  # while a probe is under way
    assert watched.knows(Health.UNKNOWN)
    watched.answer(None)
    assert watched.knows(Health.UNKNOWN)
    watched.answer(None)
    assert watched.knows(Health.HEALTHY)
    assert watched.transitions == [Health.HEALTHY, Health.HEALTHY], "who waits since the failure must hear of it"


def test_a_suspicion_that_proves_wrong_is_not_logged(watched: Monitored, caplog: pytest.LogCaptureFixture) -> None:
    watched.answer(None)
    watched.monitor.suspect()
    watched.answer(None, None)
    assert [record.message for record in caplog.records] == ["health: the server is healthy"]


def test_a_suspicion_ends_a_long_wait(caplog: pytest.LogCaptureFixture) -> None:
    monitored = Monitored(interval_s=3600)
    monitored.monitor.start()
    wait_until(lambda: monitored.probes == 1, "the first probe")
    monitored.let_end(None)
    wait_until(lambda: monitored.transitions, "the first judgement")
    monitored.monitor.suspect()
    wait_until(lambda: monitored.probes == 2, "the second probe")
    monitored.stop()
    wait_for_end()


def test_an_unhealthy_server_is_probed_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_UNHEALTHY_INTERVAL_S", 0.0)
    monitored = Monitored(interval_s=3600)
    monitored.monitor.start()
    wait_until(lambda: monitored.probes == 1, "the first probe")
    monitored.answer("refused", "refused")
    monitored.stop()
    wait_for_end()


def test_stopping_ends_the_thread_and_tells_nothing_more(watched: Monitored) -> None:
    watched.answer(None)
    watched.monitor.stop()
    watched.let_end("refused")
    wait_for_end()
    assert watched.transitions == [Health.HEALTHY]
