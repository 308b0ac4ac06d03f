"""A server with TLS on a real socket: what holds without TLS holds with it, and whoever speaks otherwise learns why."""

import contextlib
import logging
import re
import socket
import ssl
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest

from logferry.config.kinds.listen_urls import ListenUrl
from logferry.server import Patience
from tests.support.authenticators import Noting
from tests.support.certificates import DAY, NOW, authority_file, files_of, issued
from tests.support.delivery import hello
from tests.support.running import RawClient, RunningServer, numbered_line, running_server, wait_until
from tests.support.tls_client import TlsClient, client_context, server_options

LINES = [numbered_line(number) for number in range(3000)]

every_version = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@every_version
def test_every_line_is_acked_and_stored(tmp_path: Path, version: ssl.TLSVersion) -> None:
    context = client_context(least=version, most=version)
    with running_server(tmp_path, **server_options(tmp_path)) as server, TlsClient(server, context) as client:
        client.send(b"".join(LINES))
        assert client.answers(len(LINES)) == ["ok"] * len(LINES)
        assert server.stored_lines() == LINES


def test_the_expiry_of_the_certificate_is_a_metric(tmp_path: Path) -> None:
    files = files_of(issued("127.0.0.1", not_after=NOW + 20 * DAY), tmp_path)
    with running_server(tmp_path, tls_cert=files.certificate, tls_key=files.key) as server:
        wait_until(lambda: "tls_expires_at" in server.server.snapshot().gauges, "the files are looked at")
        assert server.server.snapshot().gauges["tls_expires_at"] == int((NOW + 20 * DAY).timestamp())


def serial_of(server: RunningServer) -> str:
    with TlsClient(server) as client:
        return str((client.tls.getpeercert() or {})["serialNumber"])


def test_changed_files_are_used_for_new_connections_and_broken_ones_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "logferry")
    files = files_of(issued("127.0.0.1"), tmp_path)
    with (
        running_server(tmp_path, tls_cert=files.certificate, tls_key=files.key) as server,
        TlsClient(server) as early,
    ):
        before = serial_of(server)
        files_of(issued("127.0.0.1", common_name="the next one"), tmp_path)
        assert server.server.load_files() == ["the files of TLS"]
        wait_until(lambda: serial_of(server) != before, "new connections get the new certificate")
        after = serial_of(server)
        files.certificate.write_text("rubbish")
        server.server.load_files()
        wait_until(lambda: server.stats.tls_reload_failures == 1, "the failure is counted")
        assert serial_of(server) == after
        assert any("the old ones stay in force" in text for text in caplog.messages)
        early.send(LINES[0])
        assert early.answers(1) == ["ok"]


def test_a_changed_authority_decides_about_new_clients(tmp_path: Path) -> None:
    stranger = files_of(issued("web-1", by="Another Authority"), tmp_path, "client")
    ca = authority_file(tmp_path)
    with running_server(tmp_path, **server_options(tmp_path, client_ca=ca)) as server:
        context = client_context(stranger, most=ssl.TLSVersion.TLSv1_2)
        with pytest.raises((ssl.SSLError, AssertionError)):
            TlsClient(server, context)
        ca.write_bytes(authority_file(tmp_path, "Another Authority").read_bytes())
        server.server.load_files()

        def is_admitted() -> bool:
            with contextlib.suppress(ssl.SSLError, AssertionError), TlsClient(server, context):
                return True
            return False

        wait_until(is_admitted, "the new authority counts")


@every_version
def test_a_client_that_has_declared_its_end_still_gets_every_ack(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Rule M17."""
    context = client_context(least=version, most=version)
    with running_server(tmp_path, **server_options(tmp_path)) as server, TlsClient(server, context) as client:
        client.send(b"".join(LINES)[:-1])  # the last line ends with the data: rule M9
        client.finish_sending()
        assert client.read_to_end().count(b'"ok"') == len(LINES)
        assert server.stored_lines() == LINES


def test_a_line_that_somebody_cut_is_not_stored(tmp_path: Path) -> None:
    """Rule M17."""
    with running_server(tmp_path, **server_options(tmp_path)) as server, TlsClient(server) as client:
        client.send(LINES[0] + b'{"level": "INFO", "message": "all"}')
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end().count(b'"ok"') == 1
        assert server.stored_lines() == LINES[:1]


def test_many_small_records_are_taken_in_steps_and_none_is_lost(tmp_path: Path) -> None:
    with running_server(tmp_path, **server_options(tmp_path)) as server, TlsClient(server) as client:
        text = b"".join(LINES[:40])
        client.socket.sendall(b"".join(client.encrypted(text[i : i + 1]) for i in range(len(text))))
        assert client.answers(40) == ["ok"] * 40
        client.finish_sending()
        assert client.read_to_end() == b""
        assert server.stored_lines() == LINES[:40]


def test_a_handshake_may_arrive_byte_by_byte(tmp_path: Path) -> None:
    with running_server(tmp_path, **server_options(tmp_path)) as server:
        client = TlsClient.__new__(TlsClient)
        plain_send = socket.socket.sendall

        def drip(self: socket.socket, data: bytes) -> None:
            for index in range(len(data)):
                plain_send(self, data[index : index + 1])

        class Dripping(socket.socket):
            sendall = drip  # type: ignore[assignment]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.support.running.socket.socket", Dripping)
            client.__init__(server)  # type: ignore[misc]
        with client:
            client.send(LINES[0])
            assert client.answers(1) == ["ok"]


def test_a_flood_of_bytes_after_the_handshake_ends_only_that_connection(tmp_path: Path) -> None:
    with running_server(tmp_path, **server_options(tmp_path)) as server:
        with TlsClient(server) as client, TlsClient(server) as honest:
            client.send(LINES[0])
            assert client.answers(1) == ["ok"]
            client.socket.sendall(b"\x17\x03\x03\xff\xff" + b"x" * 70000)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                client.answers(1)
            honest.send(LINES[1])
            assert honest.answers(1) == ["ok"]
        assert server.stored_lines() == LINES[:2]
        wait_until(lambda: server.stats.connections == 0, "everybody has left")


def test_the_names_of_a_certificate_reach_the_authenticator(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "logferry")
    noting = Noting()
    files = files_of(issued("web-1.example.com", common_name="web 1"), tmp_path, "client")
    options = server_options(tmp_path, client_ca=authority_file(tmp_path))
    with running_server(tmp_path, authenticator=noting, **options) as server:
        with TlsClient(server, client_context(files)) as client:
            client.send(LINES[0])
            assert client.answers(1) == ["ok"]
        assert (noting.peers[0].is_encrypted, noting.peers[0].certificate) == (True, ("web-1.example.com", "web 1"))
        assert any("(plain protocol over TLS, certificate of web-1.example.com," in text for text in caplog.messages)


@pytest.mark.parametrize(
    ("kind", "client", "reason"),
    [
        ("no_certificate", None, "it sent no client certificate"),
        ("unknown_issuer", {"by": "Another Authority"}, "no authority in --tls-client-ca has issued"),
        ("expired", {"not_before": NOW - 9 * DAY, "not_after": NOW - DAY}, "expired: the client's certificate"),
        ("not_yet_valid", {"not_before": NOW + DAY, "not_after": NOW + 2 * DAY}, "not valid yet: the client's"),
    ],
)
@every_version
def test_a_client_without_a_good_certificate_is_refused_with_the_reason(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    version: ssl.TLSVersion,
    kind: str,
    client: dict[str, Any] | None,
    reason: str,
) -> None:
    identity = None if client is None else files_of(issued("web-1", **client), tmp_path, "client")
    options = server_options(tmp_path, client_ca=authority_file(tmp_path))
    with running_server(tmp_path, **options) as server:
        for _ in range(2):
            with pytest.raises((ssl.SSLError, AssertionError)):
                TlsClient(server, client_context(identity, least=version, most=version)).answers(1)
        wait_until(lambda: sum(server.stats.handshakes_failed.values()) == 2, "both are counted")
        wait_until(lambda: server.stats.connections == 0, "both connections end")
        logged = [text for text in caplog.messages if "TLS handshake failed" in text]
        assert len(logged) == 1
        assert re.search(rf"^127\.0\.0\.1 port \d+: TLS handshake failed: .*{re.escape(reason)}", logged[0])
        assert server.stats.handshakes_failed == {kind: 2}
        if identity:
            assert re.search(r" of '[^']+', issued by '[^']+', valid from \d{4}-.* to \d{4}-", logged[0])


def test_a_client_that_refuses_the_server_says_why_in_the_servers_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running_server(tmp_path, **server_options(tmp_path)) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsClient(server, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        wait_until(lambda: sum(server.stats.handshakes_failed.values()) == 1, "it is counted")
        assert any("the client does not know who issued the server's certificate" in text for text in caplog.messages)


def test_versions_before_1_2_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    context = client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with running_server(tmp_path, **server_options(tmp_path)) as server:
        with pytest.raises((ssl.SSLError, AssertionError)):
            TlsClient(server, context)
        wait_until(lambda: sum(server.stats.handshakes_failed.values()) == 1, "it is counted")
        assert server.stats.handshakes_failed == {"version": 1}


def test_a_silent_peer_is_closed_after_the_time_limit_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patience = Patience(linger_s=0.2, handshake_s=0.2)
    with running_server(tmp_path, patience=patience, **server_options(tmp_path)) as server:
        with server.connect() as silent, server.connect() as half:
            half.send(b"\x16\x03\x01\x02\x00\x01")
            assert (silent.read_to_end(), half.read_to_end()) == (b"", b"")
        assert server.stats.handshakes_failed == {"timeout": 2}
        (logged,) = [text for text in caplog.messages if "TLS handshake failed" in text]
        assert logged.endswith("TLS handshake failed: not finished within 0.2 s")


def test_silent_peers_do_not_keep_an_honest_client_waiting(tmp_path: Path) -> None:
    with running_server(tmp_path, **server_options(tmp_path)) as server:
        silent = [server.connect() for _ in range(1000)]
        for client in silent[::2]:
            client.send(b"\x16\x03\x01\x02\x00\x01")
        with TlsClient(server) as honest:
            honest.send(b"".join(LINES))
            assert honest.answers(len(LINES)) == ["ok"] * len(LINES)
        assert sum(server.stats.handshakes_failed.values()) == 0


def test_a_plain_client_at_the_port_of_tls_learns_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rule M16."""
    with running_server(tmp_path, **server_options(tmp_path)) as server:
        with server.connect() as ours, server.connect() as lines, server.connect() as browser:
            ours.send(hello())
            assert ours.answer() == {
                "status": "error",
                "message": "this port takes connections with TLS only (--tls)",
            }
            assert ours.read_to_end() == b""
            lines.send(LINES[0])
            assert lines.read_to_end() == b"\x15\x03\x01\x00\x02\x02\x0a"
            browser.send(b"GET / HTTP/1.1\r\n\r\n")
            assert browser.read_to_end().startswith(b"HTTP/1.1 400")
        assert server.stats.connections_strange == 3
        assert server.stored_lines() == []
        texts = [text for text in caplog.messages if "is not a log client" in text]
        assert len(texts) == 3
        assert "it sent the hello of a log client without TLS" in texts[0]
        assert "(this port takes connections with TLS only)" in texts[0]


def test_a_tls_client_at_the_plain_port_is_named_with_the_port_of_tls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    urls = (ListenUrl("tcp", "127.0.0.1", 0), ListenUrl("tls", "127.0.0.1", 0))
    with running_server(tmp_path, listen=urls, **server_options(tmp_path)) as server:
        _, (_, tls_port) = server.server.addresses
        with pytest.raises((ssl.SSLError, AssertionError)):
            TlsClient(server)
        wait_until(lambda: server.stats.connections_strange == 1, "it is recognised")
        (text,) = [text for text in caplog.messages if "is not a log client" in text]
        assert f"(this port takes connections without TLS; TLS is at port {tls_port})" in text
        with RawClient(server.host, server.port) as plain:
            plain.send(LINES[0])
            assert plain.answers(1) == ["ok"]
        server.port = tls_port
        with TlsClient(server) as client:
            client.send(LINES[1])
            assert client.answers(1) == ["ok"]


def test_a_proxys_header_comes_before_the_handshake(tmp_path: Path) -> None:
    """Rule M13."""
    noting = Noting()
    options = server_options(tmp_path) | {"proxy_protocol": ("127.0.0.1",)}
    with running_server(tmp_path, authenticator=noting, **options) as server:
        with TlsClient(server, greeting=b"PROXY TCP4 10.1.2.3 10.0.0.1 4711 9000\r\n") as client:
            client.send(LINES[0])
            assert client.answers(1) == ["ok"]
        assert (noting.peers[0].address, noting.peers[0].port) == ("10.1.2.3", 4711)
        assert noting.peers[0].is_encrypted
        with pytest.raises((ssl.SSLError, AssertionError, ConnectionError)):
            TlsClient(server)
        assert server.stats.connections_strange == 1


def test_a_server_that_stops_declares_the_end_after_the_last_ack(tmp_path: Path) -> None:
    with running_server(tmp_path, **server_options(tmp_path)) as server, TlsClient(server) as client:
        client.send(b"".join(LINES))
        assert client.answers(1) == ["ok"]
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        acked = 1 + client.read_to_end().count(b'"ok"')  # raises an error without close_notify
        client.close()
        stopping.join()
        assert server.stored_lines() == LINES[:acked]


def test_a_client_over_tls_that_takes_no_acks_is_not_read_from(tmp_path: Path) -> None:
    with running_server(tmp_path, **server_options(tmp_path)) as server, TlsClient(server) as client:
        client.socket.settimeout(1)
        with pytest.raises(TimeoutError):
            client.send(b"x\n" * 60_000_000)
        assert server.stats.bytes_in_memory < 16 * 1024 * 1024


def test_unfinished_messages_over_tls_leave_room_for_an_honest_client(tmp_path: Path) -> None:
    limit = 4 * 1024 * 1024
    options = server_options(tmp_path) | {"memory_limit_bytes": limit}
    with running_server(tmp_path, **options) as server:
        hostile = [TlsClient(server) for _ in range(60)]
        for client in hostile:
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):  # a small part of it is not sent
                client.send(b'{"level": "INFO", "message": "' + b"x" * 200_000)
        with TlsClient(server) as honest:
            for number in range(20):
                honest.send(LINES[number])
                assert honest.answers(1) == ["ok"]
        assert server.stats.bytes_in_memory < 2 * limit
        assert server.stored_lines() == LINES[:20]
