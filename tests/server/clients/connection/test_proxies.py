"""Clients behind a proxy that speaks the PROXY protocol: where they are, and who may say so."""

import logging
from pathlib import Path

import pytest

from logferry.config import ServeSettings, load
from logferry.errors import ConfigError
from logferry.server.clients.connection.patience import Patience
from logferry.server.clients.identities.networks import Networks
from tests.support.clients import World
from tests.support.delivery import LINES, batch, hello, opening
from tests.support.running import running_server
from tests.support.shipping import append, assert_conserved, shipping
from tests.support.speaking_proxy import speaking_proxy
from tests.support.strangers import PROXY_V2, request

V1 = b"PROXY TCP4 10.1.2.3 127.0.0.1 40000 9000\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


@pytest.mark.parametrize("header", [V1, PROXY_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("step", [1, 1000])
def test_the_client_is_where_the_header_says(header: bytes, step: int, caplog: pytest.LogCaptureFixture) -> None:
    """Rule M13: in the log and in the folder of a plain client."""
    world = World(proxies=["10.0.0.0/24"])
    client, sent = world.connect("10.0.0.9"), header + LINES[0]
    with caplog.at_level(logging.INFO, "logferry"):
        for start in range(0, len(sent), step):
            client.send(sent[start : start + step])
    assert client.statuses() == ["ok"]
    assert [log.host for log in world.store.records.lines] == ["10.1.2.3"]
    assert caplog.messages == [
        "connected: 10.1.2.3 port 40000 via 10.0.0.9 port 5000 (plain protocol, principal anonymous)"
    ]


def test_the_delivery_extension_follows_a_header() -> None:
    world = World(proxies=["10.0.0.9"])
    client = world.connect("::ffff:10.0.0.9")
    client.send(V1 + hello() + opening() + batch(LINES[:3], start=0))
    assert [answer["message"] for answer in client.answers()] == ["hello", "open", "received"]
    assert world.stored_lines() == LINES[:3]


def test_a_connection_of_the_proxy_itself_keeps_the_address_of_the_proxy() -> None:
    """Rule M13."""
    world = World(proxies=["10.0.0.9"])
    client = world.connect("10.0.0.9")
    client.send(LOCAL + LINES[0])
    assert [log.host for log in world.store.records.lines] == ["10.0.0.9"]
    world.connect("10.0.0.9").send(LOCAL)
    world.connect("10.0.0.9").leave()
    assert world.counters.connections_strange == 0


@pytest.mark.parametrize("proxies", [[], ["10.0.1.0/24"]])
@pytest.mark.parametrize("header", [V1, PROXY_V2], ids=["v1", "v2"])
def test_a_header_from_another_address_is_a_strangers(
    header: bytes, proxies: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Rules M10 and M13."""
    world = World(proxies=proxies)
    client = world.connect("10.0.0.9")
    client.send(header + LINES[0])
    assert (world.stored_lines(), client.received, client.server_has_closed) == ([], b"", True)
    (message,) = caplog.messages
    assert "a header of the PROXY protocol, version" in message
    assert "if 10.0.0.9 is your proxy, start the server with --proxy-protocol 10.0.0.9" in message


@pytest.mark.parametrize("sent", [LINES[0], request(b"POST"), b"PROXY TCP4 x y 1 2\r\n" + LINES[0], V1 + V1 + LINES[0]])
def test_from_a_proxy_only_what_follows_a_header_is_taken(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Rule M13."""
    world = World(proxies=["10.0.0.9"])
    client = world.connect("10.0.0.9")
    client.send(sent)
    assert (world.stored_lines(), client.received, client.server_has_closed) == ([], b"", True)
    (message,) = caplog.messages
    assert message.startswith(("10.0.0.9 port 5000 is not a log client", "10.1.2.3 port 40000 via 10.0.0.9"))


@pytest.mark.parametrize("sent", [b"", b"PROXY TCP4 10.1", PROXY_V2[:20]])
def test_a_header_has_a_time_limit(sent: bytes) -> None:
    """Rule M13."""
    world = World(proxies=["10.0.0.9"], patience=Patience(header_s=5))
    client = world.connect("10.0.0.9")
    client.send(sent)
    world.pass_time(4)
    assert not client.server_has_closed
    client.send(b"")
    world.pass_time(2)
    assert client.server_has_closed
    assert world.budget.partial == 0


@pytest.mark.parametrize(
    ("address", "is_included"),
    [("10.1.2.3", True), ("11.0.0.0", False), ("::ffff:10.0.0.1", True), ("fd00::7%eth0", True), ("unknown", False)],
)
def test_a_list_of_networks(address: str, is_included: bool) -> None:
    assert Networks(["10.0.0.0/8", "fd00::/8"]).include(address) is is_included
    assert not Networks().include(address)


def test_the_option_takes_networks_and_rejects_everything_else() -> None:
    settings = load(ServeSettings, {"proxy_protocol": "10.0.0.7,fd00::/8"}, {})
    assert settings.proxy_protocol == ("10.0.0.7/32", "fd00::/8")
    for wrong in ("10.0.0.1/8", "example.com", "10.0.0.0/33", ""):
        with pytest.raises(ConfigError, match="proxy-protocol"):
            load(ServeSettings, {"proxy_protocol": wrong}, {})


@pytest.mark.parametrize("header", [V1, PROXY_V2], ids=["v1", "v2"])
@pytest.mark.parametrize("ack", ["auto", "line"])
def test_a_client_ships_through_a_proxy(tmp_path: Path, header: bytes, ack: str) -> None:
    log = append(tmp_path / "app.log", range(30))
    with (
        running_server(tmp_path, proxy_protocol=("127.0.0.0/8",)) as server,
        speaking_proxy(server.port, header) as proxy,
        shipping(log, proxy.port, ack=ack) as client,
    ):
        assert client.result().problems == ()
        assert_conserved(range(30), server.stored_lines())
