"""The memory budget of all clients, and one client's account of it."""

import pytest

from logferry.server.clients.memory.flow_control import (
    MAX_OWED_BYTES,
    MAX_UNSTORED_BYTES,
    READ_BYTES,
    REST_BYTES,
    SOURCE_BYTES,
    MemoryAccount,
    MemoryBudget,
)

MIB = 1024 * 1024


def test_pressure_begins_over_the_limit_and_ends_well_below_it() -> None:
    budget = MemoryBudget(MIB)
    states = []
    for unstored in (MIB, MIB + 1, MIB, MIB * 3 // 4, MIB * 3 // 4 - 1):
        budget.unstored = unstored
        states.append((budget.update(), budget.is_tight))
    assert states == [(False, False), (True, True), (False, True), (False, True), (True, False)]


def test_pressure_ends_when_nothing_waits_for_the_store_or_for_clients_that_read() -> None:
    budget = MemoryBudget(MIB)
    budget.partial, budget.unstored = MIB - 10, 100
    assert budget.update()
    budget.unstored = 0
    assert budget.update()
    assert not budget.is_tight


def test_the_server_waits_for_clients_only_if_the_store_cannot_help() -> None:
    budget = MemoryBudget(MIB)
    budget.unstored = 10 * MIB
    budget.update()
    assert not budget.waits_for_clients
    budget.partial = MIB
    assert (budget.waits_for_clients, budget.has_turns) == (True, False)
    budget.unstored = MIB // 8
    assert budget.has_turns


def test_one_client_stops_at_its_limit_and_resumes_at_half_of_it() -> None:
    account = MemoryAccount(MemoryBudget(1024 * MIB))
    account.submitted(MAX_UNSTORED_BYTES)
    assert account.has_room(is_reading=True)
    assert not account.is_exhausted
    account.submitted(1)
    assert not account.has_room(is_reading=True)
    assert account.is_exhausted
    account.stored(MAX_UNSTORED_BYTES // 2)
    assert not account.has_room(is_reading=False)
    account.stored(1)
    assert account.has_room(is_reading=False)


def test_a_client_that_does_not_take_its_answers_stops() -> None:
    account = MemoryAccount(MemoryBudget(1024 * MIB))
    account.owe(MAX_OWED_BYTES + 1)
    assert account.is_exhausted
    assert not account.has_room(is_reading=True)
    account.owe(-1)
    assert account.has_room(is_reading=False)


def test_under_pressure_only_those_wait_that_hold_more_than_their_share() -> None:
    budget = MemoryBudget(MIB)
    budget.clients = 2
    large, small = MemoryAccount(budget), MemoryAccount(budget)
    large.hold(MIB + 1, 0, 0)
    small.hold(budget.share, 0, 0)
    budget.limit = large.partial + small.partial - 1
    assert budget.update()
    assert (large.has_room(is_reading=True), small.has_room(is_reading=True)) == (False, True)
    large.has_turn = True
    assert large.has_room(is_reading=False)


def test_under_pressure_a_message_inflates_in_a_turn_or_if_all_of_it_fits_into_the_share() -> None:
    """A thousand clients with a message of 8 KiB each were let go on for a step, which is 256 KiB."""
    budget = MemoryBudget(64 * MIB)
    budget.clients = 1000
    account = MemoryAccount(budget)
    account.hold(0, 8 * 1024, 0)
    assert account.may_grow(8 * MIB)
    budget.unjudged += 64 * MIB
    budget.update()
    assert not account.must_pause
    assert account.may_grow(budget.share - 8 * 1024)
    assert not account.may_grow(budget.share - 8 * 1024 + 1)
    account.has_turn = True
    assert account.may_grow(8 * MIB)


def test_under_pressure_reads_are_small_unless_a_client_has_the_turn() -> None:
    budget = MemoryBudget(MIB)
    account, other = MemoryAccount(budget), MemoryAccount(budget)
    assert account.read_bytes == READ_BYTES
    other.hold(2 * MIB, 0, 0)
    budget.update()
    assert account.has_room(is_reading=True)
    assert account.read_bytes < READ_BYTES // 10
    account.has_turn = True
    assert account.read_bytes == READ_BYTES


@pytest.mark.parametrize(("read", "goes_on"), [(READ_BYTES, False), (REST_BYTES, False), (REST_BYTES - 1, True)])
def test_a_client_that_sends_much_waits_for_a_store_that_is_behind(read: int, *, goes_on: bool) -> None:
    budget = MemoryBudget(64 * MIB)
    account, other = MemoryAccount(budget), MemoryAccount(budget)
    account.was_read(read)
    other.submitted(17 * MIB)
    assert budget.update()
    assert account.must_pause is not goes_on
    account.was_read(4096)  # all that is read at a time now
    assert account.must_pause
    other.hold(50 * MIB, 0, 0)  # now it is not the store alone
    assert budget.update()
    assert not account.must_pause


def test_a_store_that_is_behind_ends_even_turns() -> None:
    budget = MemoryBudget(MIB)
    account = MemoryAccount(budget)
    account.hold(2 * MIB, 0, 0)
    account.has_turn = True
    account.submitted(MIB // 2)
    budget.update()
    assert not account.has_room(is_reading=True)


@pytest.mark.parametrize(("held", "may_open"), [(0, True), (50_000, False)])
def test_over_the_limit_of_sources_only_a_client_with_few_may_open_more(held: int, may_open: bool) -> None:
    budget = MemoryBudget(MIB)
    budget.clients = 2
    account, other = MemoryAccount(budget), MemoryAccount(budget)
    other.hold(0, 0, budget.source_limit // SOURCE_BYTES + 1 - held)
    account.hold(0, 0, held)
    assert account.has_room_for_source == may_open
