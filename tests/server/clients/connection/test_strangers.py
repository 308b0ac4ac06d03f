"""A stranger on the port: nothing of it is stored, it is named once, and the connection ends at once."""

import logging

import pytest

from logferry.protocol.plain.server import Limits
from tests.support.clients import World
from tests.support.delivery import LINES
from tests.support.messages import without_duration
from tests.support.strangers import BODY, STRANGERS, first_bytes, request


@pytest.mark.parametrize("step", [1, 7, 1_000_000], ids=["byte by byte", "seven bytes", "all in one"])
@pytest.mark.parametrize("name", STRANGERS)
def test_nothing_of_a_stranger_is_stored(name: str, step: int, caplog: pytest.LogCaptureFixture) -> None:
    """Rules M10 and M12."""
    world = World()
    client, sent = world.connect(), first_bytes(name)
    with caplog.at_level(logging.WARNING, "logferry"):
        for start in range(0, len(sent), step):
            client.send(sent[start : start + step])
    assert world.stored_lines() == []
    assert client.server_has_closed
    shown = [message for message in caplog.messages if "is not a log client: it sent" in message]
    assert len(shown) == 1
    assert STRANGERS[name][0] in shown[0]
    assert world.counters.connections_strange == 1
    assert world.budget.partial == world.budget.unstored == 0


def test_a_person_at_an_http_client_reads_a_sentence() -> None:
    """Rule M12."""
    client = World().connect()
    client.send(request(b"GET"))
    head, _, sentence = client.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Content-Length: %d\r\n" % len(sentence) in head + b"\r\n"
    assert b"This is a Logferry server" in sentence


@pytest.mark.parametrize("before", [b"\n", b"\r\n" * 3, b"rubbish\n", b"x" * 2000 + b"\n"])
@pytest.mark.parametrize("name", ["POST", "PROXY v2"])
def test_a_stranger_is_recognised_behind_lines_that_are_refused(name: str, before: bytes) -> None:
    """Rule M10."""
    world = World(limits=Limits(max_record_bytes=1024))
    client, sent = world.connect(), first_bytes(name)
    if name == "PROXY v2":
        before, sent = sent[:4], sent[4:]
    client.send(before)
    client.send(sent)
    assert world.stored_lines() == []
    assert client.server_has_closed
    assert world.counters.connections_strange == 1


@pytest.mark.parametrize("step", [1000, 100_000, 10_000_000])
def test_a_request_line_without_an_end_is_not_a_way_to_store_the_body(step: int) -> None:
    """Rule M10."""
    world = World(limits=Limits(max_record_bytes=100_000))
    client = world.connect()
    sent = b"POST /" + b"a" * 300_000 + b" HTTP/1.1\r\n\r\n" + BODY
    for start in range(0, len(sent), step):
        client.send(sent[start : start + step])
    assert world.stored_lines() == []


def test_rubbish_is_answered_and_its_connection_goes_on() -> None:
    """Rule M11."""
    world = World()
    client = world.connect()
    client.send(b"GET out of here\n\nPROXY\n" + LINES[0] + b"GET / HTTP/1.1\n" + LINES[1])
    assert client.statuses() == ["error", "error", "error", "ok", "error", "ok"]
    assert world.stored_lines() == LINES[:2]
    assert not client.server_has_closed


def test_a_probe_that_comes_again_and_again_is_logged_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.INFO, "logferry"):
        for port in range(100):
            world.connect(port=port).send(request(b"GET", b"/health"))
        world.log.flush()
    messages = [without_duration(message) for message in caplog.messages if "log client" in message]
    assert messages == [
        "10.0.0.7 port 0 is not a log client: it sent an HTTP request ('GET /health HTTP/1.1'); closed, nothing of it "
        "is stored",
        f"{messages[0]} (repeated 99 times in T s)",
    ]
