"""The server's status: its numbers, its verdict, and its log lines."""

import asyncio
import dataclasses
import logging
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from logferry import __version__
from logferry.errors import LogferryError
from logferry.server import serve
from logferry.server.clients.identities.authenticator import ANONYMOUS
from logferry.server.clients.memory.flow_control import MemoryBudget
from logferry.server.clients.reporting.counters import ClientCounters
from logferry.server.status import MEMORY_FULL_S, ServerStatus, describe, describe_recovery
from logferry.server.storage.memory_store import MemoryStore
from logferry.server.storage.store import RecoveryReport
from logferry.telemetry.server_table import SERVER
from logferry.telemetry.status_source import StatusSource
from tests.support.builders import Clock
from tests.support.http import http_get, http_port
from tests.support.running import numbered_line, running_server, serve_settings, wait_until
from tests.support.status_source_contract import StatusSourceContract

LINES = [numbered_line(number) for number in range(100)]


def status_of(store: MemoryStore, counters: ClientCounters | None = None) -> ServerStatus:
    return ServerStatus(store, budget=MemoryBudget(1 << 20), counters=counters or ClientCounters())


class TestServerStatus(StatusSourceContract):
    """The contract of the status seam."""

    metrics = SERVER

    def source(self) -> StatusSource:
        self.store, self.counters = MemoryStore(), ClientCounters()
        self.store.open(lambda: None)
        return status_of(self.store, self.counters)

    def work(self, source: StatusSource) -> None:
        self.counters.connections_total += 1

    def break_down(self, source: StatusSource) -> None:
        self.store.stall("No space left on device")


def test_the_verdict_is_that_of_the_store() -> None:
    store = MemoryStore()
    source: StatusSource = status_of(store)
    reasons = [source.snapshot().verdict]
    store.open(lambda: None)
    reasons.append(source.snapshot().verdict)
    store.stall("No space left on device")
    reasons.append(source.snapshot().verdict)
    store.fail("a bug")
    reasons.append(source.snapshot().verdict)
    store.close(0)
    reasons.append(source.snapshot().verdict)
    assert [(verdict.is_ready, verdict.reason) for verdict in reasons] == [
        (False, "the store is not open yet: it recovers what the last run left"),
        (True, ""),
        (False, "the store is stalled: No space left on device"),
        (False, "the store is broken: a bug"),
        (False, "the store is closed"),
    ]


def test_a_snapshot_has_the_numbers_of_the_table_and_no_others() -> None:
    source = status_of(MemoryStore())
    snapshot = source.snapshot()
    of_tls = "tls_expires_at"  # is there with TLS only: see test_tls.py
    names = {field.name for field in dataclasses.fields(source.stats())}
    assert [*snapshot.counters, *snapshot.gauges] == [
        metric.name for metric in SERVER if not metric.label and metric.name != of_tls
    ]
    assert {*snapshot.counters, *snapshot.gauges} == names - {"connections_by_principal", "handshakes_failed", of_tls}


def test_any_thread_may_take_a_snapshot_of_a_running_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, server.connect() as client:
        client.send(b"".join(LINES) + b"rubbish\n")
        assert client.answers(101) == ["ok"] * 100 + ["error"]
        snapshots = []
        thread = threading.Thread(target=lambda: snapshots.append(server.server.snapshot()))
        thread.start()
        thread.join()
        (snapshot,) = snapshots
        assert snapshot.verdict.is_ready
        assert snapshot.counters["lines_stored"] == 100
        assert snapshot.counters["lines_rejected"] == 1
        assert snapshot.gauges == {
            "connections": 1.0,
            "bytes_in_memory": 0.0,
            "damaged_extents": 0.0,
            "damaged_bytes": 0.0,
            "disk_is_failing": 0.0,
            "free_bytes": server.stats.free_bytes,
            "disk_bytes": server.stats.disk_bytes,
            "min_free_bytes": server.stats.min_free_bytes,
            "max_connections": server.stats.max_connections,
            "memory_limit": server.stats.memory_limit,
            "hosts_reporting": 0.0,
            "hosts_unread_bytes": 0.0,
            "hosts_unacked_bytes": 0.0,
            "files_not_proven": 0.0,
            "is_ready": 1.0,
            "started_at": server.stats.started_at,
        }
        assert server.stats.connections_by_principal == {ANONYMOUS.name: 1}


def test_a_server_that_takes_no_more_clients_is_not_ready() -> None:
    store, counters = MemoryStore(), ClientCounters(connections=2, max_connections=3)
    store.open(lambda: None)
    source = status_of(store, counters)
    assert source.snapshot().verdict.is_ready
    counters.connections = 3
    assert source.snapshot().verdict.reason == "full: 3 clients are connected (--max-connections)"
    assert source.snapshot().gauges["is_ready"] == 0


def test_a_server_whose_clients_wait_for_memory_is_not_ready_if_that_lasts() -> None:
    store, counters, clock = MemoryStore(), ClientCounters(), Clock()
    store.open(lambda: None)
    source = ServerStatus(store, budget=MemoryBudget(1 << 20), counters=counters, clock=clock)
    counters.memory_full_since = clock.now
    assert source.snapshot().verdict.is_ready
    clock.now += MEMORY_FULL_S + 1
    assert source.snapshot().verdict.reason == "full: clients wait for memory (--memory-limit-bytes)"
    counters.memory_full_since = None
    assert source.snapshot().verdict.is_ready


def test_a_server_serves_its_numbers_over_http_from_before_recovery_until_it_has_stopped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class SlowToOpen(MemoryStore):
        seen = ""

        def open(self, *arguments: Any, **more: Any) -> RecoveryReport:
            self.seen = http_get(http_port(caplog), "/readyz")
            return super().open(*arguments, **more)

    store = SlowToOpen()
    with (
        caplog.at_level(logging.INFO, "logferry"),
        running_server(tmp_path, store=store, http=("127.0.0.1", 0)) as server,
        server.connect() as client,
    ):
        port = http_port(caplog)
        client.send(LINES[0])
        assert client.answers(1) == ["ok"]
        assert "\nlogferry_server_connections_total 1\n" in http_get(port, "/metrics")
        assert http_get(port, "/readyz").endswith("\r\n\r\nready\n")
        store.stall("No space left on device")
        assert "503" in http_get(port, "/readyz").splitlines()[0]
        assert http_get(port, "/readyz").endswith("not ready: the store is stalled: No space left on device\n")
        assert http_get(port, "/healthz").endswith("\r\n\r\nok\n")
        store.resume()
    assert store.seen.endswith("not ready: the store is not open yet: it recovers what the last run left\n")
    with pytest.raises(ConnectionRefusedError):
        http_get(port, "/healthz")


def test_healthz_notices_an_event_loop_that_hangs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.server.server._BEAT_S", 0.01)
    with caplog.at_level(logging.INFO, "logferry"), running_server(tmp_path, http=("127.0.0.1", 0)) as server:
        port = http_port(caplog)
        assert http_get(port, "/healthz").endswith("\r\n\r\nok\n")
        with server.held():
            monkeypatch.setattr("logferry.telemetry.heartbeat.HANGS_AFTER_S", 0.0)
            wait_until(lambda: "503" in http_get(port, "/healthz").splitlines()[0], "the server says that it hangs")
            assert "hangs: the event loop has not turned for " in http_get(port, "/healthz")
            assert "ready" in http_get(port, "/readyz")
            monkeypatch.undo()
        wait_until(lambda: http_get(port, "/healthz").endswith("\r\n\r\nok\n"), "it turns again")


def test_a_port_that_is_in_use_keeps_a_server_from_starting_and_releases_its_store(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        problem = rf"^cannot serve metrics on 127.0.0.1 port {port}: Address already in use"
        with pytest.raises(LogferryError, match=problem), running_server(tmp_path, http=("127.0.0.1", port)):
            pass
    with running_server(tmp_path):
        pass


def test_the_metrics_line_omits_what_has_not_happened() -> None:
    counters = ClientCounters(connections=2, connections_total=7, lines_rejected=3)
    line = describe(status_of(MemoryStore(), counters).stats())
    assert line == (
        "2 clients connected (7 connections in total), stored 0 lines (0 bytes), rejected 3, repeats 0, groups 0, "
        "syncs 0, 0 bytes in memory"
    )
    counters.connections_silent, counters.clients_dropped = 5, 1
    assert describe(status_of(MemoryStore(), counters).stats()) == (
        f"{line}, 5 connections sent nothing, 1 clients dropped"
    )


def test_recovery_is_described_by_its_repairs() -> None:
    assert describe_recovery(RecoveryReport()) == "nothing to recover: the data folder has no segments"
    assert describe_recovery(RecoveryReport(segments=3)) == "recovered 3 segments: nothing to repair"
    unknown = "recovered 0 segments: left 2 files alone that are not in the ledger"
    assert describe_recovery(RecoveryReport(segments_unknown=2)) == unknown
    report = RecoveryReport(segments=9, bytes_moved=500, segments_moved=2, segments_too_short=1)
    assert describe_recovery(report) == (
        "recovered 9 segments: moved 500 bytes that the ledger does not record aside, from 2 segments, damage in 1 "
        "segment: run `logferry fsck`"
    )


def test_a_server_logs_its_version_folder_and_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "logferry"),
        running_server(tmp_path, durability="os") as server,
        server.connect() as client,
    ):
        client.send(LINES[0])
        assert client.answers(1) == ["ok"]
    first, second, *_, last = caplog.messages
    assert first == f"logferry {__version__}: data folder '{tmp_path / 'data'}', durability os"
    assert second == "nothing to recover: the data folder has no segments"
    assert last.startswith("metrics: 0 clients connected (1 connections in total), stored 1 lines (")


def test_the_counters_are_logged_at_the_interval(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "logferry"), running_server(tmp_path, metrics_interval=0.01):
        wait_until(lambda: len([line for line in caplog.messages if line.startswith("metrics: ")]) >= 3, "three lines")


def test_a_bug_in_the_loop_is_logged_with_its_traceback_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_ready(_: object) -> None:
            for _ in range(1000):
                loop.call_soon(lambda: 1 / 0)
            loop.call_soon(stop.set)

        await serve(serve_settings(tmp_path), stop_requested=stop, on_ready=on_ready)

    asyncio.run(scenario())
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len([record for record in errors if record.exc_info]) == 1
    assert len(errors) <= 3
