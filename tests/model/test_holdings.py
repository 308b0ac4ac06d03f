"""Which store holds which bytes of a source: what a store that takes it over needs."""

from logferry.model.holdings import Held, Holdings, Part
from logferry.model.source import Source

A, B, C = "store-a", "store-b", "store-c"


def moved(*steps: tuple[str, int]) -> Source:
    """Return a source that went to one store after the other, up to these offsets; each byte is a line."""
    source = Source("app.log")
    for store, committed in steps:
        if source.store != store:
            source.move_to(store)
        source.lines += committed - source.committed
        source.committed = committed
    return source


def needed(source: Source, offset: int, store: str, *others: str) -> int:
    if source.store != store:
        source.move_to(store)
    return source.holdings.next_needed(offset, store, others)


def test_a_store_that_never_had_a_source_begins_where_the_other_one_ends() -> None:
    assert needed(moved((A, 100)), 0, B, A) == 100


def test_a_store_whose_server_is_not_one_of_the_servers_has_nothing() -> None:
    assert needed(moved((A, 100)), 0, B) == 0
    assert needed(moved((A, 100), (B, 150)), 0, C, B) == 0
    assert needed(moved((A, 100), (B, 150)), 100, C, B) == 150


def test_a_store_that_returns_goes_on_behind_what_the_other_one_has() -> None:
    source = moved((A, 100), (B, 150))
    assert source.move_to(A)[:2] == (100, 0)
    assert (source.committed, source.lines) == (150, 100)
    assert list(source.holdings.elsewhere(100, A, (B,))) == [(100, 150, B)]
    assert source.holdings == Holdings((Part(100, A), Part(150, B)), (Held(B, 150, 50, 0),))


def test_a_store_that_was_set_back_needs_its_own_part_again_and_not_that_of_others() -> None:
    source = moved((A, 100), (B, 150), (A, 180))
    assert needed(source, 40, A, B) == 40
    source.holdings = source.holdings.sent_again(40, A, (B,))
    assert source.holdings.parts == (Part(100, A), Part(150, B))
    assert source.holdings.next_needed(100, A, (B,)) == 150
    assert source.holdings.next_needed(160, A, (B,)) == 160


def test_what_another_store_has_lost_belongs_to_the_one_that_gets_it_again() -> None:
    holdings = Holdings((Part(100, A), Part(150, B), Part(180, A)), (Held(B, 120, 20, 0),))
    assert holdings.sent_again(40, A, (B,)).parts == (Part(100, A), Part(120, B), Part(180, A))
    assert holdings.sent_again(130, A, (B,)).parts == (Part(100, A), Part(130, B), Part(180, A))


def test_a_store_counts_what_no_other_has_acked_first() -> None:
    holdings = Holdings((Part(100, A), Part(150, B), Part(180, A)), (Held(B, 120, 20, 0),))
    assert list(holdings.counted_by(A, 0, 200)) == [(0, 100), (150, 180), (180, 200)]
    assert list(holdings.counted_by(A, 110, 140)) == []
    assert list(holdings.counted_by(B, 90, 160)) == [(100, 150)]


def test_no_store_counts_what_is_nobodys_and_each_store_needs_it() -> None:
    """Nobody knows which store has it: the content decides what a store has, and what it lacks is sent."""
    holdings = Holdings((Part(100, ""), Part(150, B)))
    assert list(holdings.counted_by(A, 0, 200)) == [(150, 200)]
    assert list(holdings.counted_by(B, 0, 200)) == [(100, 150), (150, 200)]
    assert holdings.next_needed(0, A, (B,)) == 0
    assert list(holdings.all_elsewhere(A, (B,))) == []


def test_what_a_lost_store_had_is_sent_to_the_one_that_takes_its_place() -> None:
    source = moved((A, 100), (B, 150))
    assert needed(source, 0, C, B) == 0
    source.holdings = source.holdings.sent_again(0, C, (B,))
    assert source.holdings.parts == (Part(100, C), Part(150, B))
    source.go_to(60, 60, 0)
    source.move_to(B)  # before all of it was sent
    assert source.holdings.next_needed(0, B, (C,)) == 60


def test_of_a_range_of_a_lost_store_only_what_is_behind_the_position_is_sent_again() -> None:
    source = moved((A, 100), (B, 150))
    source.move_to(C)
    assert source.holdings.sent_again(30, C, (B,)).parts == (Part(30, A), Part(100, C), Part(150, B))


def test_the_number_of_parts_is_bounded_and_what_is_forgotten_is_nobodys() -> None:
    source = moved(*((A if number % 2 else B, 10 * number) for number in range(1, 1000)))
    source.move_to(C)
    parts = source.holdings.parts
    assert len(parts) == 64
    assert parts[0].store == ""
    assert source.holdings.next_needed(0, C, (A, B)) == 0
    assert source.holdings.next_needed(parts[0].end, C, (A, B)) == 9990


def test_neighbours_of_one_store_are_one_part() -> None:
    source = moved((A, 100), (B, 100), (A, 200), (B, 250))
    assert source.holdings.parts == (Part(200, A),)
