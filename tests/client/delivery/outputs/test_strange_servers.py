"""Whatever answers in place of a log server: its answers are verdicts on nothing, and the user reads who answers."""

from pathlib import Path

import pytest

from logferry.errors import DeliveryAbandoned
from logferry.protocol.plain.acks import ACK_OK, error_ack
from tests.support.fakes import FakeServer, Script, Talk, ack_every_line, in_turn, refuse
from tests.support.messages import without_duration
from tests.support.processes import free_port
from tests.support.running import RunningServer, numbered_line, running_server, wait_until
from tests.support.shipping import append, assert_conserved, shipping
from tests.support.speaking_proxy import speaking_proxy
from tests.support.strangers import PROXY_V2

pytestmark = pytest.mark.usefixtures("quick_backoff")

PROXY_V1 = b"PROXY TCP4 10.1.2.3 127.0.0.1 40000 9000\r\n"


def answering(answer: bytes, *, first: bytes = b"") -> Script:
    """Say `first` at once, then give the same answer to every line."""

    def script(talk: Talk) -> None:
        talk.say(first)
        while talk.read_line():
            talk.say(answer)

    return script


def late_by_one(talk: Talk) -> None:
    """Answer something that nobody has sent, then each line, in time."""
    talk.read_line()
    talk.say(error_ack("invalid JSON") + ACK_OK)
    ack_every_line(talk)


def echo(talk: Talk) -> None:
    """Send back what comes."""
    while data := talk.read():
        talk.say(data)


def hang_up(talk: Talk) -> None:
    """Answer with something that has no end, and close."""
    talk.read_line()
    talk.say(b"\x15\x03\x01\0\x02\x02\x46")


SERVICES: dict[str, Script] = {
    "http.server": answering(b"<!DOCTYPE HTML>\r\n<html>\r\n"),
    "HTTP": answering(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "SSH": answering(b"Invalid SSH identification string.\r\n", first=b"SSH-2.0-OpenSSH_9.6\r\n"),
    "SMTP": answering(b"500 unrecognized command\r\n", first=b"220 mail.example.com ESMTP\r\n"),
    "Redis": answering(b"-ERR unknown command\r\n"),
    "TLS": hang_up,
    "echo": echo,
    "an ack in advance": answering(ACK_OK, first=ACK_OK),
    "an error in advance": answering(ACK_OK, first=error_ack("invalid JSON")),
    "three errors, then nothing": answering(b"", first=error_ack("empty line") * 3),
    "two acks for one line": answering(ACK_OK * 2),
    "two errors for one line": answering(error_ack("no") * 2),
    "an answer too many": late_by_one,
}


@pytest.mark.parametrize("ack", ["auto", "line"])
@pytest.mark.parametrize("name", SERVICES)
def test_no_answer_of_another_service_is_a_verdict_on_a_line(
    tmp_path: Path, name: str, ack: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Rules C8 and C9: then a log server takes the place of the other, and has every line once."""
    log, port = append(tmp_path / "app.log", range(30)), free_port()
    settings = {"ack": ack, "resume": True, "state_dir": tmp_path / "state", "ack_timeout": 0.3}
    with (
        FakeServer(SERVICES[name], port=port, takes_silent=True),
        shipping(log, port, **settings, max_attempts=4) as client,
        pytest.raises(
            DeliveryAbandoned, match=rf"127\.0\.0\.1:{port} (is not a Logferry server \(it |speaks TLS; use --tls)"
        ),
    ):
        client.result()
    assert (client.counters.lines_acked, client.counters.lines_rejected) == (0, 0)
    logged = [
        message for message in caplog.messages if "is not a Logferry server" in message or "speaks TLS" in message
    ]
    assert len(logged) == len(set(logged)), "each sentence is logged once"
    with running_server(tmp_path, server_port=port) as server:
        with shipping(log, port, **settings) as client:
            assert client.result().problems == ()
        assert_conserved(range(30), server.stored_lines())


def test_the_answer_is_shown_in_one_line_and_cut(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(3))
    answer = b'\x1b[31m"\\' + b"x" * 1000 + b"\n"
    with (
        FakeServer(answering(answer)) as server,
        shipping(log, server.port, ack="auto", max_attempts=1) as client,
        pytest.raises(DeliveryAbandoned) as caught,
    ):
        client.result()
    reason = str(caught.value)
    assert r'(it answered "\x1b[31m"\xxx' in reason
    assert 'xxx...")' in reason
    assert len(reason) < 300


def test_the_end_of_the_trouble_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    log = append(tmp_path / "app.log", range(3))
    script = in_turn(*[answering(b"220 hello\r\n")] * 5, ack_every_line)
    with FakeServer(script) as server, shipping(log, server.port, ack="line", max_attempts=0) as client:
        client.result()
    shown = [message for message in caplog.messages if "log server" in message.lower() or "Logferry" in message]
    assert shown[0].startswith(f'127.0.0.1:{server.port} is not a Logferry server (it answered "220 hello"); failure 1')
    assert without_duration(shown[1]) == "the server answers as a log server now (repeated 4 times in T s)"
    assert len(shown) == 2


@pytest.mark.parametrize("ack", ["auto", "line"])
@pytest.mark.parametrize("greeting", [PROXY_V1, PROXY_V2], ids=["v1", "v2"])
def test_a_proxy_that_speaks_first_costs_nothing(
    tmp_path: Path, server: RunningServer, greeting: bytes, ack: str
) -> None:
    """Rules C8 and M10: the client waits until the proxy is put right, and still has the delivery extension."""
    log = append(tmp_path / "app.log", range(30))
    with speaking_proxy(server.port, greeting) as proxy:
        with shipping(log, proxy.port, ack=ack, ack_timeout=1.0, max_attempts=0) as client:
            wait_until(lambda: client.counters.reconnects >= 8, "the client has tried many times")
            assert (client.counters.lines_acked, client.counters.lines_rejected) == (0, 0)
            proxy.greeting = b""
            assert client.result().problems == ()
        assert_conserved(range(30), server.stored_lines())
        assert server.stats.lines_rejected == 0


def test_a_service_that_refuses_everything_in_the_same_form_refuses_nothing(tmp_path: Path) -> None:
    """Rule C9: with `--ack line`, the user has said that it is a log server."""
    log = append(tmp_path / "app.log", range(30))
    settings = {"resume": True, "state_dir": tmp_path / "state"}
    with FakeServer(answering(error_ack("unknown command"))) as service:
        with (
            shipping(log, service.port, ack="auto", max_attempts=3, **settings) as client,
            pytest.raises(
                DeliveryAbandoned, match=r'is not a Logferry server \(it refuses every line: "unknown command"'
            ),
        ):
            client.result()
        assert client.counters.lines_rejected == 0
        with shipping(log, service.port, ack="line", **settings) as client:
            assert client.result().problems == ("30 lines were refused by the server",)


@pytest.mark.parametrize("is_refused", [0, 15, 29])
def test_a_plain_server_that_stores_some_lines_may_refuse_others(tmp_path: Path, is_refused: int) -> None:
    """Rules C3 and C9."""
    log = append(tmp_path / "app.log", range(30))
    refused = {numbered_line(is_refused)}
    script = refuse(lambda line: line.startswith(b'{"logferry"') or line in refused)
    with FakeServer(script) as server, shipping(log, server.port, ack="auto") as client:
        assert client.result().problems == ("1 lines were refused by the server",)
        assert client.counters.lines_acked == 29


def test_a_refusal_that_ends_two_connections_counts(tmp_path: Path) -> None:
    """Rule C9: or the line that is refused would be sent for ever."""

    def refuse_and_close(talk: Talk) -> None:
        talk.read_line()
        talk.say(error_ack("too long"))

    log = append(tmp_path / "app.log", range(3))
    with FakeServer(in_turn(*[refuse_and_close] * 2, ack_every_line)) as server:
        with shipping(log, server.port, ack_timeout=1.0) as client:
            assert client.result().problems == ("1 lines were refused by the server",)
        assert client.counters.lines_acked == 2


def test_acks_count_when_the_connection_breaks_before_it_is_certain_to_be_in_step(tmp_path: Path) -> None:
    """Rule C9: fewer answers than lines have come, and none before anything was sent."""

    def ack_one_and_close(talk: Talk) -> None:
        talk.read_line()
        talk.ack()

    log = append(tmp_path / "app.log", range(5))
    with FakeServer(ack_one_and_close) as server, shipping(log, server.port, max_attempts=2) as client:
        assert client.result().problems == ()
    assert client.counters.lines_acked == 5
