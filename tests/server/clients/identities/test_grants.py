"""What an identity is granted holds for all its connections together, and costs no line."""

from logferry.protocol.messages.writing import control_line
from logferry.server.clients.identities.authenticator import ANONYMOUS, Credentials, Everybody, PeerInfo, Principal
from logferry.server.clients.identities.grants import Grant, Grants
from tests.support.clients import FakeClient, World
from tests.support.delivery import LINES, batch, hello, opening, size_of

LIMITED = Principal("web", folder="web", max_bytes_per_second=10_000, max_sources=3)


class AllAre(Everybody):
    """Every client is this principal; those of the host `free` have no limit."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def check(self, credentials: Credentials | None, peer_info: PeerInfo) -> Principal:
        """See Authenticator; likewise below."""
        return ANONYMOUS if credentials and credentials.host == "free" else self._principal


def connected(world: World, host: str = "web-1") -> FakeClient:
    client = world.connect()
    client.send(hello(host=host))
    client.answers()
    return client


def test_an_identity_that_sends_too_much_is_read_from_later_and_loses_nothing() -> None:
    world = World(authenticator=AllAre(LIMITED))
    client, other, free = connected(world), connected(world, "web-2"), connected(world, "free")
    lines = LINES[:400]
    assert size_of(lines) > 2 * LIMITED.max_bytes_per_second
    client.send(opening() + batch(lines, start=0))
    assert not client.is_read_from
    assert world.stored_lines() == lines
    other.send(opening("s2"))
    assert not other.is_read_from
    free.send(opening("s3"))
    assert free.is_read_from
    world.scheduler.now += 0.5
    world.scheduler.run_what_is_due()
    assert not client.is_read_from
    world.scheduler.now += 10
    world.scheduler.run_what_is_due()
    assert client.is_read_from
    assert other.is_read_from
    assert {answer["status"] for answer in client.answers()} == {"ok"}


def test_a_client_that_waits_until_it_may_send_gets_signs_of_life_and_is_not_silent() -> None:
    world = World(authenticator=AllAre(LIMITED))
    client = connected(world)
    client.send(opening() + batch(LINES[:400], start=0) + b'{"logferry": "ba')
    client.answers()
    world.scheduler.now += 6
    world.roster.sweep()
    world.run()
    assert client.answers()[-1]["message"] == "alive"
    assert not client.was_cut


def test_a_connection_that_ended_meanwhile_is_not_read_from() -> None:
    world = World(authenticator=AllAre(LIMITED))
    client = connected(world)
    client.send(opening() + batch(LINES[:400], start=0))
    client.leave()
    world.scheduler.now += 10
    world.scheduler.run_what_is_due()
    assert not client.is_read_from


def test_the_sources_of_an_identity_are_counted_over_its_connections() -> None:
    world = World(authenticator=AllAre(LIMITED))
    first, second = connected(world), connected(world)
    first.send(opening("s1") + opening("s2"))
    second.send(opening("s3") + opening("s3"))
    assert [answer["status"] for answer in first.answers() + second.answers()] == ["ok"] * 4
    second.send(opening("s4"))
    assert second.answers()[-1]["message"] == "client web may have 3 sources open at a time (max_sources)"
    assert second.server_has_closed
    first.send(batch(LINES[:3], start=0, source="s1"))
    assert first.statuses() == ["ok"]
    second.leave()
    third = connected(world)
    third.send(opening("s4"))
    assert third.statuses() == ["ok"]


def test_the_welcome_says_how_many_sources_a_client_may_open() -> None:
    """So a client with more files goes on with another connection, and needs no refusal."""
    world = World(authenticator=AllAre(LIMITED))
    client = world.connect()
    client.send(hello())
    assert client.answers()[0]["max_sources"] == 3


def test_who_comes_again_at_once_has_nothing_back_of_what_it_has_spent() -> None:
    now = [0.0]
    grants = Grants(lambda: now[0])
    grant = grants.enter(LIMITED)
    assert grant
    grant.spend(30_000)
    assert grant.wait_s == 2.0
    grants.leave(grant, sources=0)
    assert grants.enter(LIMITED) is grant
    now[0] = 2.0
    assert grant.wait_s == 0.0
    grants.leave(grant, sources=0)
    assert grants.enter(LIMITED) is not grant
    assert grants.enter(ANONYMOUS) is None


def test_a_quiet_identity_saves_up_for_one_second_at_most() -> None:
    now = [0.0]
    grant = Grant(LIMITED, lambda: now[0])
    now[0] = 1000.0
    grant.spend(10_000)
    assert grant.wait_s == 0.0
    grant.spend(5_000)
    assert grant.wait_s == 0.5


def test_a_ping_is_answered_whatever_was_spent() -> None:
    world = World(authenticator=AllAre(LIMITED))
    client = connected(world)
    client.send(control_line("ping"))
    assert client.answers()[-1]["message"] == "alive"
