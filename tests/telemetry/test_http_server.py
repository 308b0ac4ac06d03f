"""The HTTP server: bounded whatever its peers do, never in the way of the process, and gone when it is closed."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from logferry.errors import AddressError
from logferry.telemetry import http_server
from logferry.telemetry.heartbeat import Heartbeat
from logferry.telemetry.http_pages import Pages
from logferry.telemetry.http_requests import Request, Response
from logferry.telemetry.http_server import MAX_CONNECTIONS, HttpServer
from logferry.telemetry.server_table import SERVER_COUNTERS
from logferry.telemetry.status_source import Snapshot, Verdict
from tests.support.http import http_get, http_send, received
from tests.support.running import DEADLINE_S
from tests.support.status_source_contract import FixedStatus

COUNTERS = {metric.name: 3 for metric in SERVER_COUNTERS}


@contextmanager
def serving(answer: http_server.Answer | None = None, *, host: str = "127.0.0.1") -> Iterator[int]:
    """Run a server on a free port, and give the port."""
    pages = Pages(
        FixedStatus(Snapshot(Verdict.not_ready("a\nb"), COUNTERS)), SERVER_COUNTERS, heartbeat=Heartbeat("it")
    )
    server = HttpServer(host, 0, answer or pages.answer)
    server.start()
    try:
        yield int(server.url.rpartition(":")[2].partition("/")[0])
    finally:
        server.close()


def test_each_page_has_its_answer() -> None:
    with serving() as port:
        head, _, body = http_get(port, "/metrics").partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
        assert f"\r\nContent-Length: {len(body)}\r\n" in head
        assert "logferry_server_lines_stored_total 3\n" in body
        assert http_get(port, "/healthz").startswith("HTTP/1.1 200 OK\r\n")
        assert http_get(port, "/readyz").endswith("\r\n\r\nnot ready: a\\nb\n")
        assert http_get(port, "/readyz").startswith("HTTP/1.1 503 ")
        assert "/metrics" in http_get(port, "/")
        assert http_get(port, "/etc/passwd").startswith("HTTP/1.1 404 ")
        assert http_send(port, b"HEAD /metrics HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


def test_the_snapshot_is_taken_once_a_request_and_others_may_run_between_pieces() -> None:
    snapshots, pauses = [], []

    class Counting:
        def snapshot(self) -> Snapshot:
            snapshots.append(1)
            return Snapshot(Verdict.ready(), COUNTERS)

    Pages(Counting(), SERVER_COUNTERS, heartbeat=Heartbeat("it"), pause=lambda: pauses.append(1)).answer(
        Request("/metrics")
    )
    assert len(snapshots) == 1
    assert len(pauses) == len(SERVER_COUNTERS) // 4


def test_hostile_bytes_are_answered_with_400_and_the_connection_ends() -> None:
    with serving() as port:
        for data in (b"\x16\x03\x01\x02\x00", b"\0" * 100_000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000):
            assert http_send(port, data).startswith(b"HTTP/1.1 400 ") or data.count(b"\n") > 1
        assert http_get(port, "/healthz").endswith("ok\n")


def test_a_request_may_come_byte_by_byte() -> None:
    with serving() as port, socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as peer:
        for byte in b"GET /healthz HTTP/1.1\r\n\r\n":
            peer.sendall(bytes([byte]))
        assert received(peer).endswith(b"ok\n")


def test_silent_peers_are_dropped_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_S", 0.05)
    with serving() as port, socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as peer:
        peer.sendall(b"GET /healthz HT")
        assert received(peer) == b""


def test_a_peer_that_does_not_take_its_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_S", 0.2)
    body = bytes(32 * 1024 * 1024)  # more than the kernel takes
    with (
        serving(lambda request: Response(200, body)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as peer,
    ):
        peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as silent:
            assert received(silent) == b""  # dropped later than the first one
        assert len(received(peer)) < len(body)


def test_more_peers_than_the_limit_take_the_places_of_the_oldest() -> None:
    with serving() as port, ExitStack() as stack:
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S))
            for _ in range(MAX_CONNECTIONS + 5)
        ]
        assert all(received(peer) == b"" for peer in peers[:5])
        assert http_get(port, "/healthz").endswith("ok\n")
        peers[-1].sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        assert received(peers[-1]).endswith(b"ok\n")


def test_a_page_that_fails_is_logged_once_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request) -> Response:
        raise ValueError("a fault")

    with serving(fail) as port:
        for _ in range(5):
            assert http_get(port, "/metrics").startswith("HTTP/1.1 500 ")
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_port_in_use_is_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AddressError) as caught:
            HttpServer("127.0.0.1", port, lambda request: Response(200, b""))
    assert str(caught.value) == (
        f"cannot serve metrics on 127.0.0.1 port {port}: Address already in use; choose another address with --http"
    )


def test_a_name_that_does_not_exist_is_one_clear_sentence() -> None:
    with pytest.raises(AddressError, match=r"^cannot serve metrics on nowhere.invalid port 1: .*; choose"):
        HttpServer("nowhere.invalid", 1, lambda request: Response(200, b""))


def test_it_says_where_it_is_and_warns_unless_that_is_loopback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serving() as port:
        assert caplog.messages == [f"metrics at http://127.0.0.1:{port}/metrics"]
    caplog.clear()
    with caplog.at_level(logging.INFO), serving(host="0.0.0.0") as port:
        first, second = caplog.messages
        assert first == f"metrics at http://0.0.0.0:{port}/metrics"
        assert second.startswith(f"everybody who can reach http://0.0.0.0:{port}/metrics can read the metrics")


def test_closing_ends_the_thread_and_releases_the_port_while_peers_are_connected() -> None:
    before = threading.active_count()
    with serving() as port, socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as peer:
        peer.sendall(b"GET ")
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    HttpServer("127.0.0.1", port, lambda request: Response(200, b"")).close()
