"""Clients that ship by TLS: to receivers of any kind, with every form of acks."""

import logging
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.errors import DeliveryAbandoned
from tests.support import fakes
from tests.support.certificates import DAY, NOW, Identity, authority_file, files_of, issued
from tests.support.fakes import FakeServer, Talk
from tests.support.processes import free_port
from tests.support.running import DEADLINE_S, numbered_line, wait_until
from tests.support.shipping import append, shipping


@pytest.fixture
def certificates(tmp_path: Path) -> Identity:
    return files_of(issued("127.0.0.1"), tmp_path / "tls")


@pytest.fixture
def trusting(tmp_path: Path) -> dict[str, Any]:
    """The settings of a client that trusts the test's authority."""
    return {"tls": True, "tls_ca": authority_file(tmp_path / "tls")}


def context_of(identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    return context


@pytest.mark.parametrize("changes", [{}, {"resilient": True}, {"batch_size": None}, {"compress": True}])
def test_a_receiver_of_lines_gets_each_once(
    tmp_path: Path, certificates: Identity, trusting: dict[str, Any], changes: dict[str, Any]
) -> None:
    log = append(tmp_path / "app.log", range(2000))
    script = fakes.ack_every_frame if changes.get("compress") else fakes.ack_every_line
    with FakeServer(script, context=context_of(certificates)) as server:
        with shipping(log, server.port, **trusting, **changes) as client:
            assert client.result().problems == ()
        assert server.lines == [numbered_line(number) for number in range(2000)]


def test_a_receiver_that_never_answers_gets_everything_before_the_end(
    tmp_path: Path, certificates: Identity, trusting: dict[str, Any]
) -> None:
    log = append(tmp_path / "app.log", range(20_000))
    received: list[bytes] = []

    def sink(talk: Talk) -> None:
        while data := talk.read():
            received.append(data)

    receiver = FakeServer(sink, context=context_of(certificates), receive_buffer=8192, takes_silent=True)
    settings = {**trusting, "ack": "none", "batch_size": None}
    with receiver as server, shipping(log, server.port, **settings) as client:
        assert client.result().problems == ()
        assert client.counters.lines_acked == 20_000
    assert b"".join(received) == b"".join(map(numbered_line, range(20_000)))


@contextmanager
def openssl_server(folder: Path, identity: Identity, port: int) -> Iterator[Path]:
    """Run `openssl s_server`, which writes what it receives to a file."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl here")
    out = folder / "received"
    with out.open("wb") as file:
        files = ["-cert", str(identity.certificate), "-key", str(identity.key)]
        words = ["-accept", f"127.0.0.1:{port}", *files, "-quiet"]
        server = subprocess.Popen(["openssl", "s_server", *words], stdin=subprocess.PIPE, stdout=file)
        try:
            yield out
        finally:
            server.kill()
            server.communicate(timeout=DEADLINE_S)


def test_a_receiver_that_is_not_of_python_gets_everything(
    tmp_path: Path, certificates: Identity, trusting: dict[str, Any]
) -> None:
    log, port = append(tmp_path / "app.log", range(5000)), free_port()
    with openssl_server(tmp_path, certificates, port) as received:
        settings = {"ack": "none", "max_attempts": 0, "backoff_max": 0.1}
        with shipping(log, port, **trusting, **settings) as client:
            assert client.result().problems == ()
        expected = b"".join(map(numbered_line, range(5000)))
        wait_until(lambda: received.read_bytes() == expected, "everything is written")


def test_a_certificate_that_is_refused_ends_a_batch_run_with_the_reason(
    tmp_path: Path, trusting: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    old = files_of(issued("127.0.0.1", not_before=NOW - 9 * DAY, not_after=NOW - DAY), tmp_path / "old")
    log = append(tmp_path / "app.log", range(3))
    with FakeServer(fakes.ack_every_line, context=context_of(old)) as server:
        with (
            shipping(log, server.port, **trusting, max_attempts=2) as client,
            pytest.raises(DeliveryAbandoned) as caught,
        ):
            client.result()
        assert "the server's certificate has expired: it was valid until " in str(caught.value)
        assert server.lines == []
    assert "retrying in" in caplog.text


def test_a_certificate_that_is_replaced_in_time_lets_the_lines_flow(
    tmp_path: Path, certificates: Identity, trusting: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A client that does not trust the server yet retries; the file that it is given later is enough."""
    caplog.set_level(logging.INFO)
    log = append(tmp_path / "app.log", range(10))
    authorities = authority_file(tmp_path / "tls", "Somebody Else")
    settings = {**trusting, "tls_ca": authorities, "max_attempts": 0, "backoff_max": 0.2}
    with FakeServer(fakes.ack_every_line, context=context_of(certificates)) as server:
        with shipping(log, server.port, **settings) as client:
            wait_until(lambda: client.counters.reconnects >= 2, "the client has tried")
            authorities.write_bytes(trusting["tls_ca"].read_bytes())
            assert client.result().problems == ()
        assert server.lines == [numbered_line(number) for number in range(10)]
    assert "has an unknown issuer" in caplog.text


def test_broken_files_are_counted_and_the_old_ones_stay_in_force(
    tmp_path: Path, certificates: Identity, trusting: dict[str, Any]
) -> None:
    own = files_of(issued("web-1", not_after=NOW + 100 * DAY), tmp_path / "own")
    log = append(tmp_path / "app.log", range(3))
    with FakeServer(fakes.ack_every_line, context=context_of(certificates)) as server:
        settings = {"tls_cert": own.certificate, "tls_key": own.key, "mode": "continuous"}
        with shipping(log, server.port, **trusting, **settings) as client:
            client.wait_for_acks(3)
            assert client.metrics.total().gauges.tls_expires_at == int((NOW + 100 * DAY).timestamp())
            own.key.unlink()
            wait_until(lambda: client.counters.tls_reload_failures == 1, "the failure is counted")
            append(log, range(3, 6))
            client.wait_for_acks(6)
            client.stop()
        assert server.lines == [numbered_line(number) for number in range(6)]


@pytest.mark.parametrize("ack", ["auto", "line", "none"])
def test_a_client_without_tls_at_a_port_for_tls_says_so(tmp_path: Path, ack: str) -> None:
    def alert(talk: Talk) -> None:
        talk.read()
        talk.say(b"\x15\x03\x01\0\x02\x02\x0a")

    log = append(tmp_path / "app.log", range(3))
    with (
        FakeServer(alert) as server,
        shipping(log, server.port, ack=ack, max_attempts=1, batch_size=None) as client,
        pytest.raises(DeliveryAbandoned, match=rf"127\.0\.0\.1:{server.port} speaks TLS; use --tls"),
    ):
        client.result()
