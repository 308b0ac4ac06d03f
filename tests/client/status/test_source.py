"""The client as a StatusSource: its numbers, how far it is behind, and whether it delivers."""

import json
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.client.ship import ship_and_summarise
from logferry.cli.client.status_report import status_as_json
from logferry.client.delivery.engine.engine import DeliveryEngine
from logferry.client.delivery.output import Guarantee
from logferry.client.status.connection_state import ConnectionTracker
from logferry.client.status.inspect import inspect
from logferry.client.status.lag import LagMeter
from logferry.client.status.source import ClientStatus
from logferry.model.file_report import FileReport
from logferry.telemetry.metrics import Lag, Metrics
from logferry.telemetry.status_source import StatusSource, Verdict
from logferry.telemetry.table import CLIENT, CLIENT_COUNTERS
from tests.support.builders import Clock
from tests.support.http import http_get, http_port
from tests.support.running import DEADLINE_S, running_server, wait_until
from tests.support.shipping import append, ship_settings, shipping
from tests.support.status_source_contract import StatusSourceContract

REPORTS = [
    FileReport("/a", "/a", size=100, offset=60, committed=10, behind_since=990.0),
    FileReport("/b", "/b", size=100, offset=100, committed=100),
    FileReport("/c", state="unreadable", problem="Permission denied"),
    FileReport("/d", "/d", size=10, offset=40, committed=40, behind_since=0.0),  # truncated
]


class TestClientStatus(StatusSourceContract):
    """The contract."""

    metrics = CLIENT

    def source(self) -> StatusSource:
        self.counted, self.clock, self.unix = Metrics(), Clock(), Clock()
        self.unix.now = 1000.0
        self.connection = ConnectionTracker(monotonic=self.clock, progress=self.counted.answered_lines)
        meter = LagMeter(lambda: REPORTS, clock=self.clock)
        return ClientStatus(self.counted, self.connection, meter, ready_max_lag_s=60, clock=self.unix)

    def work(self, source: StatusSource) -> None:
        self.counted.add(lines_read=1)

    def break_down(self, source: StatusSource) -> None:
        self.connection.failed("connection refused")
        self.clock.now += 61

    def test_it_is_ready_until_it_has_not_delivered_for_long_enough(self) -> None:
        source = self.source()
        self.connection.failed("connection refused")
        self.clock.now += 60
        assert source.snapshot().verdict == Verdict.ready()
        assert source.snapshot().gauges["stalled_seconds"] == 60
        self.clock.now += 1
        reason = "nothing was delivered for 61 s: connection refused"
        assert source.snapshot().verdict == Verdict.not_ready(reason)

    def test_it_says_whether_it_uses_the_server_that_it_prefers(self) -> None:
        source = self.source()
        assert source.snapshot().gauges["is_preferred"] == 1
        self.connection.uses("b:9000", "unreachable", is_preferred=False, why_not_first="connection refused")
        assert source.snapshot().gauges["is_preferred"] == 0
        self.connection.uses("a:9000", "returned")
        assert source.snapshot().gauges["is_preferred"] == 1

    def test_an_ack_makes_it_ready_and_a_mere_connection_does_not(self) -> None:
        source = self.source()
        for _ in range(4):  # a server that accepts, and answers nothing until the client gives up
            self.connection.failed("no progress for 30 s")
            self.clock.now += 1
            self.connection.connected(Guarantee.EXACTLY_ONCE)
            self.clock.now += 10
            self.connection.stalled("it has acked nothing for 10 s", 1.0)
            self.clock.now += 20
            self.connection.stalled("", 0.0)
            self.connection.closed()
        self.connection.failed("no progress for 30 s")
        assert source.snapshot().verdict.reason == "nothing was delivered for 124 s: no progress for 30 s"
        self.connection.connected(Guarantee.EXACTLY_ONCE)
        assert not source.snapshot().verdict.is_ready
        self.counted.acked(1, 0.1)
        assert source.snapshot().verdict.is_ready

    def test_it_is_ready_again_if_it_is_connected_and_nothing_is_owed(self) -> None:
        source = self.source()
        self.break_down(source)
        self.connection.connected(Guarantee.EXACTLY_ONCE)
        assert not source.snapshot().verdict.is_ready
        self.clock.now += 16
        assert source.snapshot().verdict.is_ready
        self.clock.now += 1000
        self.connection.closed()  # by a server that is restarted
        assert source.snapshot().verdict.is_ready
        self.connection.failed("connection refused")
        assert source.snapshot().verdict.is_ready  # not for as long as since the first failure

    def test_a_failure_after_a_quiet_time_is_a_new_one(self) -> None:
        source = self.source()
        self.break_down(source)
        self.connection.connected(Guarantee.EXACTLY_ONCE)
        self.connection.closed()  # a proxy closes quiet connections
        self.clock.now += 100
        assert source.snapshot().verdict.is_ready
        self.connection.failed("connection refused")
        assert source.snapshot().verdict.is_ready

    def test_the_lag_is_the_sum_over_all_files(self) -> None:
        gauges = self.source().snapshot().gauges
        expected = {"files": 4, "files_unreadable": 1, "unread_bytes": 40, "unacked_bytes": 50}
        assert {name: gauges[name] for name in expected} == expected
        assert gauges["lag_seconds"] == 10


def test_the_lag_is_measured_at_most_every_few_seconds_and_in_small_pieces() -> None:
    clock, pauses, asked = Clock(), [], []

    def report() -> list[FileReport]:
        asked.append(1)
        return REPORTS * 100

    meter = LagMeter(report, clock=clock, pause=lambda: pauses.append(1))
    assert meter.lag() == meter.lag() == Lag(400, 100, 4000, 5000, 990.0)
    assert (len(asked), len(pauses)) == (1, 20)
    clock.now += 5
    meter.lag()
    assert len(asked) == 2


def exposed(port: int) -> dict[str, float]:
    """Return the numbers without labels that a client serves, by their exposed names."""
    lines = http_get(port, "/metrics").partition("\r\n\r\n")[2].splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_the_metrics_and_the_status_file_say_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.client.status.lag.MIN_AGE_S", 0.0)
    log, state = append(tmp_path / "app.log", range(50)), tmp_path / "state"
    settings = {"mode": "continuous", "ack": "auto", "state_dir": state, "http": ("127.0.0.1", 0), "ready_max_lag": 0.0}
    with (
        caplog.at_level(logging.INFO, "logferry"),
        running_server(tmp_path) as server,
        shipping(log, server.port, **settings, backoff_max=0.05) as run,
    ):
        port = http_port(caplog)
        run.wait_for_acks(50)
        wait_until(lambda: http_get(port, "/readyz").endswith("\r\n\r\nready\n"), "it is ready")
        server.stop()
        append(log, range(50, 80))
        size = log.stat().st_size

        def status() -> dict[str, Any]:
            answer: dict[str, Any] = json.loads(status_as_json(inspect(state, now=time.time())))
            return answer

        def agree() -> bool:
            numbers, told = exposed(port), status()
            counters = {each.exposed_as: told["client"]["counters"][each.name] for each in CLIENT_COUNTERS}
            lag = sum(file["lag_bytes"] for file in told["files"])
            return (
                {name: numbers[name] for name in counters if "reconnects" not in name}
                == {name: value for name, value in counters.items() if "reconnects" not in name}
                and lag == numbers["logferry_client_unread_bytes"] + numbers["logferry_client_unacked_bytes"] > 0
                and told["client"]["counters"]["bytes_read"] == size
                and told["client"]["held_files"] == numbers["logferry_client_held_files"]
                and told["client"]["link"]["state"] == "waiting"
                and numbers["logferry_client_connected"] == numbers["logferry_client_ready"] == 0
            )

        wait_until(agree, "both say the same")
        assert "not ready: nothing was delivered for " in http_get(port, "/readyz")
        assert numbers_of_histogram(http_get(port, "/metrics")) == 50


@pytest.mark.parametrize("resilient", [False, True])
def test_healthz_notices_an_engine_that_hangs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, resilient: bool
) -> None:
    hangs, may_go_on = threading.Event(), threading.Event()
    taking = DeliveryEngine._take_batches

    def hanging(engine: DeliveryEngine) -> bool:
        if hangs.is_set():
            assert may_go_on.wait(DEADLINE_S)
        return taking(engine)

    monkeypatch.setattr(DeliveryEngine, "_take_batches", hanging)
    log, settings = append(tmp_path / "app.log", range(5)), {"state_dir": tmp_path / "state", "http": ("127.0.0.1", 0)}
    with (
        caplog.at_level(logging.INFO, "logferry"),
        running_server(tmp_path) as server,
        shipping(log, server.port, mode="continuous", resilient=resilient, ack="auto", **settings) as run,
    ):
        port = http_port(caplog)
        run.wait_for_acks(5)
        assert http_get(port, "/healthz").endswith("\r\n\r\nok\n")
        hangs.set()
        monkeypatch.setattr("logferry.telemetry.heartbeat.HANGS_AFTER_S", 0.0)
        says = "hangs: the delivery engine has not turned for "
        wait_until(lambda: says in http_get(port, "/healthz"), "the client says that it hangs")
        hangs.clear()
        may_go_on.set()
        monkeypatch.setattr("logferry.telemetry.heartbeat.HANGS_AFTER_S", 30.0)
        wait_until(lambda: http_get(port, "/healthz").endswith("\r\n\r\nok\n"), "it turns again")


def numbers_of_histogram(text: str) -> int:
    """Return how many acks the histogram of latencies has counted."""
    (line,) = (line for line in text.splitlines() if line.startswith("logferry_client_ack_latency_seconds_count "))
    return int(line.rpartition(" ")[2])


def test_a_port_that_is_in_use_is_an_error_of_the_configuration_before_anything_is_shipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = append(tmp_path / "app.log", range(5))
    with running_server(tmp_path) as server, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = ship_settings(log, server.port, http=("127.0.0.1", port))
        assert ship_and_summarise(settings) == 2
        assert server.stored_lines() == []
    first, last = capsys.readouterr().err.splitlines()[-2:]
    assert first.startswith(f"logferry: cannot serve metrics on 127.0.0.1 port {port}: Address already in use; choose")
    assert last.startswith("logferry: 0 lines acked")
