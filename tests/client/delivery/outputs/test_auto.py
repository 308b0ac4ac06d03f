"""Servers without the delivery extension get plain lines (rule E2); one that has learned it gets nothing twice."""

from pathlib import Path

import pytest

from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import DeliveryAbandoned
from logferry.protocol.messages.reports import RecordedLoss
from tests.faults.chaos_proxy import chaos_proxy
from tests.support.fakes import FakeServer, Script, Talk, ack_every_line, refuse, swallow
from tests.support.processes import free_port
from tests.support.running import RunningServer, numbered_line, running_server, stored_lines, wait_until
from tests.support.shipping import append, assert_conserved, count_lines, losses, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


def hello_as_a_line(talk: Talk) -> None:
    """Take the hello for a log line, as a receiver that checks nothing."""
    ack_every_line(talk)


def close_on_hello(talk: Talk) -> None:
    """End every connection that begins with a hello."""
    while (line := talk.read_line()) and not line.startswith(b'{"logferry"'):
        talk.ack()


def log_lines(server: FakeServer) -> list[bytes]:
    """Return what a server has got but for the questions what it is."""
    return [line for line in server.lines if b"logferry" not in line and line.strip()]


OLD_SERVERS: dict[str, Script] = {
    "answers an error": refuse(lambda line: line.startswith(b'{"logferry"')),
    "acks it as a line": hello_as_a_line,
    "closes": close_on_hello,
}


@pytest.mark.parametrize("resilient", [False, True])
@pytest.mark.parametrize("script", OLD_SERVERS.values(), ids=OLD_SERVERS.keys())
def test_a_server_that_does_not_know_the_hello_gets_plain_lines(
    tmp_path: Path, script: Script, resilient: bool
) -> None:
    """Rule E2."""
    log = append(tmp_path / "app.log", range(100))
    with FakeServer(script) as old, shipping(log, old.port, **once(tmp_path, resilient=resilient)) as run:
        assert run.result().problems == ()
    assert log_lines(old) == [numbered_line(number) for number in range(100)]
    assert run.counters.lines_acked == 100
    assert run.counters.lines_rejected == 0


def test_a_server_that_was_welcome_once_never_gets_plain_lines(tmp_path: Path) -> None:
    """What it has stored by its own count would be repeated (rules E2 and E3)."""
    log, port = append(tmp_path / "app.log", range(10)), free_port()
    settings = once(tmp_path, mode="batch", resume=True, max_attempts=5)
    with running_server(tmp_path, server_port=port), shipping(log, port, **settings) as run:
        run.result()
    append(log, range(10, 20))
    for script in (hello_as_a_line, refuse(lambda line: True), close_on_hello):
        with (
            FakeServer(script, port=port) as old,
            shipping(log, port, **settings) as run,
            pytest.raises(DeliveryAbandoned, match="after 5 failures"),
        ):
            run.result()
        assert all(line.startswith(b'{"logferry": "hello"') for line in old.lines)
    with running_server(tmp_path, server_port=port), shipping(log, port, **settings) as run:
        run.result()
    assert_conserved(range(20), stored_lines(tmp_path / "data"))


@pytest.mark.parametrize("ack", ["auto", "line"])
def test_what_was_shipped_by_the_plain_protocol_is_not_repeated_when_the_server_learns_the_extension(
    tmp_path: Path, ack: str
) -> None:
    log, port = append(tmp_path / "app.log", range(10)), free_port()
    size = log.stat().st_size
    settings = once(tmp_path, resume=True)
    with FakeServer(refuse(lambda line: b"logferry" in line), port=port) as old:
        with shipping(log, port, **{**settings, "ack": ack}) as run:
            run.result()
        assert log_lines(old) == [numbered_line(number) for number in range(10)]
    with running_server(tmp_path, server_port=port) as server:
        for count in (20, 20, 30):
            append(log, range(count_lines(log), count))
            with shipping(log, port, **settings) as run:
                assert run.result().problems == ()
        assert_conserved(range(10, 30), server.stored_lines())
        assert losses(server) == [RecordedLoss(0, size, "shipped by the plain protocol before")]


def test_a_client_may_change_between_the_protocols_and_repeats_nothing(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", [])
    for round_, ack in enumerate(["auto", "line", "auto", "line", "line", "auto", "auto"]):
        append(log, range(round_ * 10, round_ * 10 + 10))
        with shipping(log, server.port, **{**once(tmp_path, resume=True), "ack": ack}) as run:
            run.result()
    assert sorted(server.stored_lines()) == sorted(numbered_line(number) for number in range(70))


def test_a_proxy_whose_server_is_away_is_not_taken_for_a_server_without_the_extension(
    tmp_path: Path, server: RunningServer
) -> None:
    """It closes every connection, those that ask whether it is alive too (rule E2)."""
    log = append(tmp_path / "app.log", range(10))
    with chaos_proxy(server.port) as proxy:
        proxy.refuse()
        with shipping(log, proxy.port, **once(tmp_path, max_attempts=0)) as run:
            wait_until(lambda: run.counters.reconnects >= 8, "it has said hello many times")
            proxy.refuse(False)
            assert run.result().problems == ()
    assert_conserved(range(10), server.stored_lines())
    checkpoints = Checkpoints(tmp_path / "state", read_only=True)
    assert checkpoints.knows_extension(f"127.0.0.1:{proxy.port}")


def test_nothing_but_the_hello_is_sent_to_a_server_that_does_not_answer_it(tmp_path: Path) -> None:
    """Rule E3."""
    log = append(tmp_path / "app.log", range(10))
    with (
        FakeServer(swallow) as silent,
        shipping(log, silent.port, **once(tmp_path, max_attempts=3, ack_timeout=0.1)) as run,
        pytest.raises(DeliveryAbandoned, match="has not answered the hello"),
    ):
        run.result()
    assert [line.startswith(b'{"logferry": "hello"') for line in silent.lines] == [True] * 3
