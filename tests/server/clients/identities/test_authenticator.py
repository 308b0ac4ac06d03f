"""The contract of authenticators, and the server's use of them for every client."""

import dataclasses
from collections.abc import Callable

import pytest

from logferry.server.clients.identities.authenticator import (
    ANONYMOUS,
    Authenticator,
    Credentials,
    Denied,
    Everybody,
    PeerInfo,
    Principal,
)
from tests.support.clients import World
from tests.support.delivery import LINES, batch, hello, opening

HERE = PeerInfo("10.0.0.7", 5000)
WEB = Credentials("test", "web-1")
DENIED = b'{"status": "denied", "message": "not authorised: '


class OnlyHosts(Everybody):
    """Admits clients that claim to be one of these hosts, each as its own principal. Records every check."""

    def __init__(self, *hosts: str) -> None:
        self._hosts = hosts
        self.checked: list[tuple[Credentials | None, PeerInfo]] = []

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal | Denied:
        """See Authenticator."""
        self.checked.append((credentials, peer_info))
        if credentials is None:
            return Denied("a client must say who it is")
        return Principal(credentials.host) if credentials.host in self._hosts else Denied("not one of ours")


every_authenticator = pytest.mark.parametrize(
    "new", [Everybody, lambda: OnlyHosts("web-1")], ids=["everybody", "only some hosts"]
)


@every_authenticator
@pytest.mark.parametrize("credentials", [None, WEB, Credentials("", ""), Credentials("\x1b[2J", "\u202e" * 300)])
@pytest.mark.parametrize("peer", [HERE, PeerInfo("unknown", 0), PeerInfo("fe80::1%eth0", 65535)])
def test_every_client_is_a_principal_or_denied(
    new: Callable[[], Authenticator], credentials: Credentials | None, peer: PeerInfo
) -> None:
    answer = new().check(credentials, peer)
    assert isinstance(answer, Principal | Denied)
    assert answer.name if isinstance(answer, Principal) else answer.reason


@every_authenticator
@pytest.mark.parametrize("credentials", [None, WEB])
def test_the_same_client_gets_the_same_answer(
    new: Callable[[], Authenticator], credentials: Credentials | None
) -> None:
    authenticator = new()
    assert authenticator.check(credentials, HERE) == authenticator.check(credentials, HERE)


def test_everybody_admits_every_client_as_one_principal() -> None:
    assert Everybody().check(None, HERE) == Everybody().check(WEB, HERE) == ANONYMOUS


@pytest.mark.parametrize("value", [HERE, WEB, ANONYMOUS, Denied("no")])
def test_identities_are_immutable(value: object) -> None:
    field = dataclasses.fields(value)[0].name  # type: ignore[arg-type]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, "someone else")


def test_a_client_is_identified_by_its_hello() -> None:
    only = OnlyHosts("web-1")
    world = World(authenticator=only)
    client = world.connect()
    assert only.checked == []
    client.send(hello() + opening() + batch(LINES[:3], start=0))
    assert only.checked == [(WEB, HERE)]
    assert client.statuses() == ["ok"] * 3
    assert world.counters.connections_by_principal == {"web-1": 1}
    client.leave()
    assert world.counters.connections_by_principal == {}


def test_a_plain_client_is_checked_without_credentials() -> None:
    only = OnlyHosts()
    world = World(authenticator=only)
    world.connect().send(LINES[0])
    assert only.checked == [(None, HERE)]


@pytest.mark.parametrize("sent", [LINES[0], hello(host="db-1") + opening() + batch(LINES[:1], start=0)])
@pytest.mark.parametrize("step", [1, 10_000], ids=["byte by byte", "all in one"])
def test_a_client_that_is_denied_stores_nothing_and_is_closed(sent: bytes, step: int) -> None:
    """Rule A7: an error would refuse the line for good."""
    world = World(authenticator=OnlyHosts("web-1"))
    client = world.connect()
    for start in range(0, len(sent), step):
        client.send(sent[start : start + step])
    assert (client.received.startswith(DENIED), client.server_has_closed, world.stored_lines()) == (True, True, [])
    assert (world.counters.connections_denied, world.counters.connections_by_principal) == (1, {})
    assert world.budget.partial == world.budget.unstored == 0


def test_a_client_that_sends_only_an_incomplete_line_is_checked_too() -> None:
    world = World(authenticator=OnlyHosts())
    client = world.connect()
    client.send(b"{")  # could still become a hello
    client.finish_sending()
    assert (client.received.startswith(DENIED), client.server_has_closed) == (True, True)
    assert world.counters.connections_denied == 1


def test_a_connection_that_sends_nothing_is_not_checked() -> None:
    only = OnlyHosts()
    world = World(authenticator=only)
    world.connect().leave()
    assert (only.checked, world.counters.connections_silent) == ([], 1)
