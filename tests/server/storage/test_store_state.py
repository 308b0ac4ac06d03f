"""The state of a store changes only as the table says."""

import itertools

import pytest

from logferry.server.storage.store import StoreState
from logferry.server.storage.store_state import STATE_CHANGES, StateTracker


def reached(state: StoreState) -> StateTracker:
    """Return a tracker in `state`, by a shortest way through the table."""
    ways = [[StoreState.NEW]]
    while ways[0][-1] is not state:
        way = ways.pop(0)
        ways += [[*way, following] for following in STATE_CHANGES[way[-1]]]
    tracker = StateTracker()
    assert all(tracker.change(each) for each in ways[0][1:])
    return tracker


@pytest.mark.parametrize(("before", "after"), list(itertools.product(StoreState, StoreState)))
def test_a_change_is_made_if_and_only_if_the_table_has_it(before: StoreState, after: StoreState) -> None:
    tracker = reached(before)
    is_allowed = after in STATE_CHANGES[before]
    assert tracker.change(after, "why") == is_allowed
    assert tracker.now[:2] == ((after, "why") if is_allowed else (before, ""))


def test_a_store_that_is_closing_never_stores_again() -> None:
    tracker = reached(StoreState.CLOSING)
    assert not tracker.change(StoreState.STALLED)
    assert not tracker.change(StoreState.STORING)


def test_a_stalled_store_may_get_another_reason_and_is_stalled_since_the_first() -> None:
    tracker = reached(StoreState.STALLED)
    since = tracker.now[2]
    assert tracker.explain("Input/output error")
    assert not tracker.explain("Input/output error")
    assert tracker.now == (StoreState.STALLED, "Input/output error", since)
    tracker.change(StoreState.STORING)
    assert not tracker.explain("Input/output error")
    assert tracker.now[:2] == (StoreState.STORING, "")
