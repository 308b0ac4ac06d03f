"""A thousand connections of one identity weigh as one connection of another: in memory, in turns, and in the store."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from logferry.server.clients.identities.authenticator import Principal
from logferry.server.clients.memory import flow_control, pressure
from logferry.server.clients.memory.flow_control import MAX_UNSTORED_BYTES, MemoryAccount, MemoryBudget
from logferry.server.clients.memory.parties import Parties, Party
from logferry.server.clients.scheduling.turns import Turns
from tests.support.authenticators import ByHost
from tests.support.clients import FakeClient, World
from tests.support.delivery import batch, hello, opening
from tests.support.running import numbered_line

MIB = 1024 * 1024
LARGE = Principal("large")
SMALL = Principal("small")


def connected(world: World, host: str, number: int) -> FakeClient:
    client = world.connect(port=number)
    client.send(hello(host=host))
    client.send(opening(f"{host}{number}"))
    client.answers()
    return client


def line(size: int) -> bytes:
    return b'{"level": "INFO", "message": "%s"}\n' % (b"x" * size)


def party_of(client: FakeClient) -> Party:
    party = client.connection.memory.party
    assert party is not None
    return party


def test_the_connections_of_an_identity_are_one_party_and_those_of_nobody_are_not() -> None:
    world = World(authenticator=ByHost())
    large = [connected(world, "large", number) for number in range(10)]
    small, free = connected(world, "small", 20), [connected(world, "free", number) for number in range(30, 35)]
    assert len({id(party_of(client)) for client in large}) == 1
    assert all(client.connection.memory.party is None for client in free)
    assert (world.budget.clients, world.budget.parties) == (16, 7)
    for client in [*large[1:], small]:
        client.leave()
    assert (world.budget.clients, world.budget.parties, world.budget.surplus) == (6, 6, 0)
    assert connected(world, "large", 40).connection.memory.party is party_of(large[0])


def test_what_an_identity_holds_is_what_its_connections_hold_until_the_last_delivery_has_come_back() -> None:
    world = World(authenticator=ByHost())
    clients = [connected(world, "large", number) for number in range(3)]
    party = party_of(clients[0])
    world.store.stall("No space left on device")
    lines = [numbered_line(number) for number in range(100)]
    for number, client in enumerate(clients):
        client.send(batch(lines, start=0, source=f"large{number}"))
        client.send(b'{"logferry": "ba')
        assert party.held == sum(client.connection.memory.held for client in clients)
        assert party.unstored == sum(client.connection.memory.unstored for client in clients)
    for client in clients:
        client.leave()
    assert party.unstored > 0
    world.resume_store()
    assert (party.held, party.unstored, party.connections, world.budget.surplus) == (0, 0, 0, 0)


def test_an_identity_that_connects_again_still_has_what_it_has_in_the_store() -> None:
    world = World(authenticator=ByHost())
    parties = set()
    world.store.stall("No space left on device")
    for number in range(5):
        client = connected(world, "large", number)
        parties.add(party_of(client))
        client.send(batch([numbered_line(number)], start=0, source=f"large{number}"))
        client.leave()
    assert len(parties) == 1
    assert parties.pop().unstored == world.budget.unstored > 0
    world.resume_store()
    client = connected(world, "large", 9)
    assert (party_of(client).connections, party_of(client).held) == (1, 0)
    client.leave()
    assert world.roster._parties._parties == {}


def test_under_pressure_an_identity_has_one_share_however_many_connections_it_has() -> None:
    budget = MemoryBudget(MIB)
    parties = Parties(lambda callback: None)
    large, small = [MemoryAccount(budget) for _ in range(100)], MemoryAccount(budget)
    for account in large:
        party = parties.enter(LARGE)
        assert party
        account.join(party)
    party = parties.enter(SMALL)
    assert party
    small.join(party)
    budget.clients = 101
    for account in large:
        account.hold(12_000, 0, 0)
    small.hold(budget.share, 0, 0)
    assert budget.update()
    assert budget.share == MIB // 8
    assert [account.must_pause for account in large] == [True] * 100
    assert not small.must_pause
    large[0].hold(1000, 0, 0)  # a hundredth of the share, so that none of its own keeps it from sending
    assert not large[0].must_pause


def test_what_waits_for_the_store_is_limited_by_identity_and_all_go_on_when_it_is_stored() -> None:
    world = World(authenticator=ByHost())
    large = [connected(world, "large", number) for number in range(40)]
    small = connected(world, "small", 50)
    world.store.stall("No space left on device")
    lines = [line(250_000) for _ in range(2)]
    for number, client in enumerate(large):
        if client.is_read_from:
            client.send(batch(lines, start=0, source=f"large{number}"))
    party = party_of(large[0])
    assert MAX_UNSTORED_BYTES < party.unstored < MAX_UNSTORED_BYTES + MIB
    last = large[-1]
    last.send(b"{")  # the one read that asyncio has already made
    assert not last.is_read_from
    small.send(batch(lines, start=0, source="small50"))
    assert small.is_read_from
    world.resume_store()
    assert all(client.is_read_from for client in [*large, small])
    assert world.budget.total == 1


def test_a_store_that_is_behind_because_of_one_identity_does_not_stop_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_control, "_MAX_UNSTORED_BYTES", MIB)
    world = World(authenticator=ByHost())
    large = [connected(world, "large", number) for number in range(5)]
    small, free = connected(world, "small", 50), connected(world, "free", 60)
    world.store.stall("No space left on device")
    lines = [line(100_000) for _ in range(2)]
    for number, client in enumerate(large):
        client.send(batch(lines, start=0, source=f"large{number}"))
    large[0].send(batch(lines, start=0, source="large0"))
    assert world.budget.is_store_alone
    for client in (small, free):
        client.connection.memory.was_read(256 * 1024)
        client.connection.reading.regulate()
    assert (small.is_read_from, free.is_read_from) == (True, False)


def test_turns_of_connections_of_an_identity_alternate_with_those_of_another() -> None:
    async def run() -> Counter[str]:
        turns, done = Turns(asyncio.get_running_loop()), Counter[str]()
        large, small = (Party(principal, lambda callback: None) for principal in (LARGE, SMALL))

        def again(name: str, party: Party | None) -> None:
            done[name] += 1
            turns.call_soon(lambda: again(name, party), party)

        for _ in range(50):
            turns.call_soon(lambda: again("large", large), large)
        turns.call_soon(lambda: again("small", small), small)
        turns.call_soon(lambda: again("free", None), None)
        for _ in range(30):
            await asyncio.sleep(0)
        return done

    done = asyncio.run(run())
    assert max(done.values()) - min(done.values()) <= 1


def test_reads_of_an_identity_wait_for_a_turn_after_a_full_one_while_others_have_something_to_do() -> None:
    async def run() -> Sequence[bool]:
        turns = Turns(asyncio.get_running_loop())
        large, small = (Party(principal, lambda callback: None) for principal in (LARGE, SMALL))
        for _ in range(20):
            turns.work(1.0, large)
            await asyncio.sleep(0)
        turns.work(1.0, large)
        alone = turns.is_pass_full(large)
        turns.work(0.1, small)
        beside = turns.is_pass_full(large), turns.is_pass_full(small), turns.is_pass_full(None)
        await asyncio.sleep(0)
        return alone, *beside, turns.is_pass_full(large)

    assert asyncio.run(run()) == (False, True, False, False, False)


def test_the_next_turn_to_complete_a_message_is_that_of_the_identity_with_fewest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pressure, "_TURNS", 3)
    monkeypatch.setattr(pressure, "_OLDEST_IN", 1000)
    world = World(authenticator=ByHost(), memory_limit_bytes=MIB)
    large = [connected(world, "large", number) for number in range(12)]
    small = connected(world, "small", 50)
    messages = {client: batch([line(120_000)], start=0, source=f"large{n}") for n, client in enumerate(large)}
    messages[small] = batch([line(160_000)], start=0, source="small50")
    for client, message in messages.items():
        monkeypatch.setattr(client.connection.answering, "unread_bytes", lambda: 50_000)
        client.send(message[:-10_000])
    turns = [client for client in large if client.connection.memory.has_turn]
    assert len(turns) == 3
    assert not small.connection.memory.has_turn
    turns[0].send(messages[turns[0]][-10_000:])
    assert turns[0].statuses() == ["ok"]
    assert small.connection.memory.has_turn
