"""The memory budget of all clients, and one client's share of it."""

import random

import pytest

from logferry.server.clients.flow_control import MAX_UNSTORED_BYTES, MemoryBudget, MemoryShare

MIB = 1024 * 1024


def test_the_gate_closes_over_the_limit_and_opens_well_below_it() -> None:
    budget = MemoryBudget(MIB)
    states = []
    for unstored in (MIB, MIB + 1, MIB, MIB * 3 // 4, MIB * 3 // 4 - 1):
        budget.unstored = unstored
        states.append((budget.update_gate(), budget.gate_is_closed))
    assert states == [(False, False), (True, True), (False, True), (False, True), (True, False)]


def test_the_gate_opens_when_nothing_is_waiting_for_the_store() -> None:
    budget = MemoryBudget(MIB)
    budget.partial, budget.unstored = MIB - 10, 100
    assert budget.update_gate()
    budget.unstored = 0
    assert budget.update_gate()
    assert not budget.must_drop


def test_only_incomplete_messages_make_waiting_useless() -> None:
    budget = MemoryBudget(MIB)
    budget.unstored = 10 * MIB
    assert not budget.must_drop
    budget.partial = MIB + 1
    assert budget.must_drop


def test_one_client_stops_at_its_limit_and_resumes_at_half_of_it() -> None:
    share = MemoryShare(MemoryBudget(1024 * MIB))
    share.submitted(MAX_UNSTORED_BYTES)
    assert share.has_room(is_reading=True)
    assert not share.is_exhausted
    share.submitted(1)
    assert not share.has_room(is_reading=True)
    assert share.is_exhausted
    share.stored(MAX_UNSTORED_BYTES // 2)
    assert not share.has_room(is_reading=False)
    share.stored(1)
    assert share.has_room(is_reading=False)


def test_no_client_has_room_behind_a_closed_gate() -> None:
    budget = MemoryBudget(MIB)
    share = MemoryShare(budget)
    budget.gate_is_closed = True
    assert not share.has_room(is_reading=True)


@pytest.mark.parametrize("seed", range(5))
def test_the_budget_is_the_sum_of_all_shares(seed: int) -> None:
    rng = random.Random(seed)
    budget = MemoryBudget(MIB)
    shares = [MemoryShare(budget) for _ in range(5)]
    unjudged = dict.fromkeys(shares, 0)
    for _ in range(500):
        share = rng.choice(shares)
        match rng.randrange(3):
            case 0:
                unjudged[share] = rng.randrange(1000)
                share.hold(rng.randrange(1000), unjudged[share])
            case 1:
                share.submitted(rng.randrange(1000))
            case _:
                share.stored(rng.randint(0, share.unstored))
        assert budget.partial == sum(share.partial for share in shares)
        assert budget.unstored == sum(share.unstored for share in shares) + sum(unjudged.values())
