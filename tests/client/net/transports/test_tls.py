"""Connections by TLS to scripted servers: what is refused, with which sentence, and what a client does meanwhile."""

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import trustme

from logferry.client.net.connecting.connect import dial
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.connecting.security import Security, problems_with_files
from logferry.client.net.conversation.hand_over import hand_over
from logferry.client.net.conversation.hello import ask
from logferry.client.net.transports.memory import MemoryTransport
from logferry.client.net.transports.tls import TlsTransport
from logferry.client.net.transports.transport import Transport, receive_some
from logferry.client.net.waiting.readiness import READ, Readiness, poll
from logferry.client.net.waiting.steps import run
from logferry.errors import ConfigError, DeliveryError, PeerClosed, TlsAlert, Unreachable
from logferry.protocol.delivery.client import DeliveryClientProtocol
from tests.support import fakes
from tests.support.certificates import DAY, NOW, Identity, authority, authority_file, files_of, issued
from tests.support.fakes import FakeServer, Script, Talk
from tests.support.running import DEADLINE_S, wait_until


@dataclass(frozen=True)
class Asked:
    """The settings of TLS of a client."""

    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_server_name: str | None = "log.example"
    tls_insecure: bool = False


@pytest.fixture
def trusting(tmp_path: Path) -> Path:
    return authority_file(tmp_path)


def server_context(
    certificate: object = None, *, client_ca: str = "", highest: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (certificate or issued("log.example")).configure_cert(context)  # type: ignore[attr-defined]
    if client_ca:
        authority(client_ca).configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    if highest:
        context.maximum_version = highest
    return context


def connect(port: int, asked: Asked, timeout_s: float = DEADLINE_S) -> Transport:
    endpoint = Endpoint("127.0.0.1", port, Security(asked))
    return run(dial(endpoint, timeout_s=timeout_s), wait=poll, clock=time.monotonic)


@contextmanager
def connected(port: int, asked: Asked) -> Iterator[Transport]:
    transport = connect(port, asked)
    try:
        yield transport
    finally:
        transport.close()


def failure(server: FakeServer, asked: Asked, timeout_s: float = DEADLINE_S) -> str:
    with pytest.raises(Unreachable) as caught:
        connect(server.port, asked, timeout_s)
    prefix = f"cannot connect to 127.0.0.1:{server.port}: 127.0.0.1: "
    assert str(caught.value).startswith(prefix)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(prefix)


def receive(transport: Transport) -> bytes:
    """Wait for data; return it."""
    found: list[bytes] = []

    def has_come() -> bool:
        data = receive_some(transport)
        found.extend([data] if data else [])
        return bool(data)

    wait_until(has_come, "something has come")
    return found[0]


# --- what works -------------------------------------------------------------------------------------------------------


def test_a_server_that_is_trusted_gets_what_is_sent_and_is_heard(trusting: Path) -> None:
    with (
        FakeServer(fakes.ack_every_line, context=server_context()) as server,
        connected(server.port, Asked(trusting)) as transport,
    ):
        assert isinstance(transport, TlsTransport)
        assert transport.tls.version() == "TLSv1.3"
        transport.send((b"one\n",), more=False)
        assert b"ok" in receive(transport)
    assert server.lines == [b"one\n"]


def test_tls_1_2_works(trusting: Path) -> None:
    context = server_context(highest=ssl.TLSVersion.TLSv1_2)
    with FakeServer(fakes.ack_every_line, context=context) as server, connected(server.port, Asked(trusting)) as tls:
        tls.send((b"one\n",), more=False)
        assert b"ok" in receive(tls)


def test_an_address_is_a_name_that_a_certificate_can_have(trusting: Path) -> None:
    context = server_context(issued("127.0.0.1"))
    with FakeServer(fakes.ack_every_line, context=context) as server:
        connect(server.port, Asked(trusting, tls_server_name=None)).close()


def test_a_client_certificate_is_shown(trusting: Path, tmp_path: Path) -> None:
    own = files_of(issued("web-1"), tmp_path, "client")
    with (
        FakeServer(fakes.ack_every_line, context=server_context(client_ca="Test Authority")) as server,
        connected(server.port, Asked(trusting, own.certificate, own.key)) as transport,
    ):
        transport.send((b"one\n",), more=False)
        assert b"ok" in receive(transport)


def test_without_verification_everything_is_accepted_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with FakeServer(fakes.ack_every_line, context=server_context(issued("other.example"))) as server:
        for _ in range(2):
            connect(server.port, Asked(tls_insecure=True)).close()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "the certificate of 127.0.0.1 was not checked (--tls-insecure)" in caplog.text


def test_a_large_part_arrives_whole_though_the_peer_reads_slowly(trusting: Path) -> None:
    line = b"x" * 999 + b"\n"
    reader = FakeServer(
        lambda talk: talk.ack(len(talk.read_lines(3000))), context=server_context(), receive_buffer=4096
    )
    with reader as server, connected(server.port, Asked(trusting)) as transport:
        rest = memoryview(line * 3000)

        def is_sent() -> bool:
            nonlocal rest
            rest = rest[transport.send((rest,), more=False) :]
            return not rest and not transport.wants()

        wait_until(is_sent, "everything is sent")
        assert receive(transport)
    assert server.lines == [line] * 3000


def test_lines_that_are_held_back_share_a_record(trusting: Path) -> None:
    reader = FakeServer(lambda talk: talk.ack(len(talk.read_lines(500))), context=server_context())
    with reader as server, connected(server.port, Asked(trusting)) as transport:
        assert isinstance(transport, TlsTransport)
        for number in range(500):
            assert transport.send((b"%d\n" % number,), more=True)
        assert transport.unconfirmed_bytes() > 1000, "not sent"
        transport.flush()
        receive(transport)
    assert server.lines == [b"%d\n" % number for number in range(500)]


# --- what is refused --------------------------------------------------------------------------------------------------

Made = trustme.LeafCert | trustme.CA


def shown(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


REFUSED: dict[str, tuple[Callable[[], Made], str]] = {
    "expired": (
        lambda: issued("log.example", not_before=NOW - 9 * DAY, not_after=NOW - DAY),
        f"the server's certificate has expired: it was valid until {shown(NOW - DAY)}",
    ),
    "not yet valid": (
        lambda: issued("log.example", not_before=NOW + DAY),
        f"the server's certificate is not valid yet: it is valid from {shown(NOW + DAY)}.* on",
    ),
    "wrong name": (
        lambda: issued("web.example", "*.logs.example"),
        r"the server's certificate is not for 'log.example' but for 'web.example', '\*.logs.example' "
        r"\(--tls-server-name is the expected name\)",
    ),
    "unknown issuer": (
        lambda: issued("log.example", by="Somebody Else"),
        r"the server's certificate has an unknown issuer \('.*Somebody Else.*'\): is it in --tls-ca\?",
    ),
    "self-signed": (
        lambda: authority("Log Server Itself"),
        r"the server's certificate is self-signed \('.*Log Server Itself.*'\): it is trusted only if --tls-ca has it",
    ),
}


@pytest.mark.parametrize(("certificate", "sentence"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_is_refused_with_the_check_that_failed(
    trusting: Path, tmp_path: Path, certificate: Callable[[], Made], sentence: str, version: ssl.TLSVersion
) -> None:
    made = certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = version
    if isinstance(made, trustme.LeafCert):
        made.configure_cert(context)
    else:
        (tmp_path / "self.pem").write_bytes(made.cert_pem.bytes() + made.private_key_pem.bytes())
        context.load_cert_chain(tmp_path / "self.pem")
    with FakeServer(fakes.ack_every_line, context=context, takes_silent=True) as server:
        assert re.match(sentence, failure(server, Asked(trusting))), failure(server, Asked(trusting))
    assert server.lines == []


def test_a_server_that_wants_a_certificate_says_so_at_the_first_read(trusting: Path) -> None:
    with (
        FakeServer(fakes.ack_every_line, context=server_context(client_ca="Test Authority")) as server,
        connected(server.port, Asked(trusting)) as transport,
        pytest.raises(TlsAlert) as caught,
    ):
        run(ask(transport, DeliveryClientProtocol(), b"\n", timeout_s=5, what="it"), wait=poll, clock=time.monotonic)
    assert str(caught.value) == "the server wants a client certificate (--tls-cert)"


def test_what_is_wrong_at_several_addresses_is_said_once(trusting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(fakes.ack_every_line, context=server_context(issued("web.example"))) as server:
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address, address])
        assert failure(server, Asked(trusting)).count("the server's certificate is not for") == 1
    assert len(server.handshake_failures) >= 2, "both were tried"


def test_a_server_of_tls_1_2_that_wants_a_certificate_says_so_in_the_handshake(trusting: Path) -> None:
    context = server_context(client_ca="Test Authority", highest=ssl.TLSVersion.TLSv1_2)
    with FakeServer(fakes.ack_every_line, context=context) as server:
        assert "a client certificate (--tls-cert)" in failure(server, Asked(trusting))


def client_files(folder: Path, by: str = "Test Authority", *, expired: bool = False) -> Identity:
    begin, end = (NOW - 9 * DAY, NOW - DAY) if expired else (None, None)
    return files_of(issued("web-1", by=by, not_before=begin, not_after=end), folder, "client")


@pytest.mark.parametrize(
    ("by", "expired", "reason"),
    [
        ("Somebody Else", False, "it does not trust the issuer"),
        ("Test Authority", True, "it has expired, or is not valid yet, by the server's clock"),
    ],
)
def test_a_client_certificate_that_is_refused_is_said_with_the_reason(
    trusting: Path, tmp_path: Path, by: str, expired: bool, reason: str
) -> None:
    own = client_files(tmp_path, by, expired=expired)
    with (
        FakeServer(fakes.ack_every_line, context=server_context(client_ca="Test Authority")) as server,
        connected(server.port, Asked(trusting, own.certificate, own.key)) as transport,
    ):
        with pytest.raises(TlsAlert) as caught:
            receive(transport)
        for _ in range(3):
            with pytest.raises(PeerClosed, match="did not accept the client certificate"):
                transport.receive(100)
    assert str(caught.value) == f"the server did not accept the client certificate: {reason}"


def test_the_reason_of_the_server_is_said_though_it_is_sending_that_fails(trusting: Path) -> None:
    with (
        FakeServer(fakes.ack_every_line, context=server_context(client_ca="Test Authority")) as server,
        connected(server.port, Asked(trusting)) as transport,
    ):

        def is_broken() -> bool:
            try:
                transport.send((b"x" * 1000,), more=False)
            except TlsAlert:
                return True
            return False

        wait_until(is_broken, "sending fails with the reason")


def test_a_server_with_an_old_version_is_refused(trusting: Path) -> None:
    def hello_of_tls_1_1(talk: Talk) -> None:
        talk.read()
        talk.say(b"\x15\x03\x02\x00\x02\x02\x46")  # the alert protocol_version

    with FakeServer(hello_of_tls_1_1) as server:
        assert failure(server, Asked(trusting)).startswith("the server speaks no version of TLS that is new enough")


def read_once(talk: Talk) -> None:
    talk.read()


NOT_TLS: dict[str, tuple[Script, str]] = {
    "HTTP": (
        lambda talk: talk.say(talk.read() and b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        'the server does not speak TLS at this port (it answered "HTTP/1.1 400 Bad Request"): leave out --tls, or use '
        "another port",
    ),
    "a log server": (
        lambda talk: talk.say(talk.read() and b'{"status": "error", "message": "not JSON"}\n'),
        'the server does not speak TLS at this port (it answered "{"status": "error", "message": "not JSON"}"): '
        "leave out --tls, or use another port",
    ),
    "a greeting": (
        lambda talk: talk.say(b"220 mail.example ESMTP\r\n"),
        'the server does not speak TLS at this port (it answered "220 mail.example ESMTP"): leave out --tls, or use '
        "another port",
    ),
    "a close": (
        read_once,
        "the server closed the connection in the TLS handshake: does it speak TLS at this port?",
    ),
}


@pytest.mark.parametrize(("script", "sentence"), NOT_TLS.values(), ids=NOT_TLS)
def test_a_port_without_tls_is_recognised_at_once(trusting: Path, script: Script, sentence: str) -> None:
    with FakeServer(script, takes_silent=True) as server:
        assert failure(server, Asked(trusting)) == sentence


def test_a_peer_that_resets_in_the_handshake_is_said_to(trusting: Path) -> None:
    with FakeServer(lambda talk: talk.reset(), takes_silent=True) as server:
        sentence = failure(server, Asked(trusting))
    assert "closed the connection in the TLS handshake" in sentence or "Connection reset by peer" in sentence


def test_a_peer_that_stays_silent_costs_one_time_limit(trusting: Path) -> None:
    now, waits = [0.0], list[float]()

    def wait(interest: Readiness, timeout_s: float) -> dict[int, int]:
        ready = poll(interest, 0.0 if waits else DEADLINE_S)
        waits.append(timeout_s)
        if not ready:
            now[0] += timeout_s
        return ready

    with FakeServer(lambda talk: talk.stay_until_told(), takes_silent=True) as server:
        with pytest.raises(Unreachable, match=r"no answer to the TLS handshake within 6\.99 s"):
            run(
                dial(Endpoint("127.0.0.1", server.port, Security(Asked(trusting))), timeout_s=6.98765),
                wait=wait,
                clock=lambda: now[0],
            )
        server.may_end.set()
    assert now[0] == 6.98765


@pytest.mark.parametrize("name", ["..", ".example", "x" * 300, "a..b"])
def test_a_name_that_no_certificate_can_have_is_a_sentence(trusting: Path, name: str) -> None:
    with FakeServer(fakes.ack_every_line, context=server_context(), takes_silent=True) as server:
        sentence = failure(server, Asked(trusting, tls_server_name=name))
    assert "not a name that a certificate can have" in sentence or "is not for" in sentence


def test_what_a_certificate_says_of_itself_is_escaped(trusting: Path) -> None:
    nasty = issued("log.example", by="Bad\x1b[31m\nAuthority")
    with FakeServer(fakes.ack_every_line, context=server_context(nasty), takes_silent=True) as server:
        sentence = failure(server, Asked(trusting))
    assert sentence.isprintable()
    assert r"Bad\x1b[31m\nAuthority" in sentence


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_receiver_that_does_not_answer_gets_everything_and_then_the_end(
    trusting: Path, version: ssl.TLSVersion
) -> None:
    received: list[bytes] = []

    def sink(talk: Talk) -> None:
        while data := talk.read():
            received.append(data)
        received.append(b"[the end]")

    with (
        FakeServer(sink, context=server_context(highest=version), takes_silent=True) as server,
        connected(server.port, Asked(trusting)) as transport,
    ):
        transport.send((b"x" * 100_000, b"y"), more=False)
        run(hand_over(transport, timeout_s=5), wait=poll, clock=time.monotonic)
    assert b"".join(received) == b"x" * 100_000 + b"y" + b"[the end]"


def test_a_peer_that_closes_without_a_close_notify_has_closed(trusting: Path) -> None:
    def cut(talk: Talk) -> None:
        talk.read_line()
        talk.say(b"answer")

    with FakeServer(cut, context=server_context()) as server, connected(server.port, Asked(trusting)) as transport:
        transport.send((b"one\n",), more=False)
        assert receive(transport) == b"answer"
        with pytest.raises(PeerClosed, match="the server closed the connection"):
            receive(transport)


# --- files ------------------------------------------------------------------------------------------------------------


def test_new_files_are_used_for_new_connections(trusting: Path, tmp_path: Path) -> None:
    security = Security(Asked(trusting))
    with FakeServer(fakes.ack_every_line, context=server_context(issued("log.example", by="New Authority"))) as server:
        endpoint = Endpoint("127.0.0.1", server.port, security)
        with pytest.raises(DeliveryError, match="unknown issuer"):
            run(dial(endpoint, timeout_s=5), wait=poll, clock=time.monotonic)
        trusting.write_bytes(trusting.read_bytes() + authority("New Authority").cert_pem.bytes())
        assert security.files.look()
        run(dial(endpoint, timeout_s=5), wait=poll, clock=time.monotonic).close()


def test_problems_with_files_are_all_found_before_anything_connects(trusting: Path, tmp_path: Path) -> None:
    assert problems_with_files(Asked(trusting)) == []
    with pytest.raises(ConfigError, match=r"--tls-ca .*cannot be read: No such file"):
        Security(Asked(tmp_path / "missing.pem"))
    own = client_files(tmp_path, expired=True)
    (problem,) = problems_with_files(Asked(trusting, own.certificate, own.key))
    assert f"--tls-cert '{own.certificate}'" in problem
    assert "expired at" in problem


def test_the_transport_polls_for_what_it_needs_itself(trusting: Path) -> None:
    """OpenSSL may have to read before it can write, when a server of TLS 1.2 negotiates again."""
    with (
        FakeServer(fakes.ack_every_line, context=server_context()) as server,
        connected(server.port, Asked(trusting)) as transport,
    ):
        assert isinstance(transport, TlsTransport)
        real = transport.tls

        class Reluctant:
            refusals = 1

            def write(self, data: bytes) -> int:
                if self.refusals:
                    self.refusals -= 1
                    raise ssl.SSLWantReadError
                return real.write(data)

            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

        transport._tls = Reluctant()  # type: ignore[assignment]
        assert transport.send((b"one\n",), more=False) == 4
        assert transport.wants() == READ
        assert transport.send((b"two\n",), more=False) == 0
        assert transport.send((b"two\n",), more=True) == 0
        assert transport.unconfirmed_bytes() >= 4
        transport.receive(100)
        assert transport.wants() == 0
        transport.send((b"two\n",), more=False)
        wait_until(lambda: server.lines == [b"one\n", b"two\n"], "both have arrived, in order")


def test_a_server_that_sends_records_without_data_keeps_no_client_busy(trusting: Path) -> None:
    class Endless:
        def read(self, limit: int) -> bytes:
            raise ssl.SSLWantReadError

        def unwrap(self) -> None:
            raise ssl.SSLWantReadError

    ours, theirs = MemoryTransport.pair(capacity=4 << 20)
    transport = TlsTransport(ours, Security(Asked(trusting)).context, server_name="log.example")
    transport._tls = Endless()  # type: ignore[assignment]
    theirs.send((bytes(3 << 20),), more=False)
    with pytest.raises(PeerClosed, match=r"has sent \d+ bytes of TLS without data"):
        transport.receive(100)
    transport.close()
