"""The states of a connection: every transition, and the events that cannot happen."""

import itertools

import pytest

from logferry.server.clients.connection.lifecycle import Event, Input, Lifecycle, Output


def after(*events: Event) -> Lifecycle:
    life = Lifecycle()
    for event in events:
        life.on(event)
    return life


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ((), (Input.OPEN, Output.OPEN)),
        ((Event.STOP,), (Input.STOPPED, Output.OPEN)),
        ((Event.STOP, Event.CLOSE), (Input.IGNORED, Output.CLOSING)),
        ((Event.END_ARRIVED,), (Input.ENDING, Output.OPEN)),
        ((Event.END_ARRIVED, Event.END_TAKEN), (Input.ENDED, Output.OPEN)),
        ((Event.END_ARRIVED, Event.IGNORE), (Input.ENDED, Output.OPEN)),
        ((Event.END_TAKEN, Event.CLOSE, Event.LOSE), (Input.ENDED, Output.LOST)),
        ((Event.IGNORE, Event.END_TAKEN), (Input.ENDED, Output.OPEN)),
        ((Event.CLOSE, Event.END_TAKEN), (Input.ENDED, Output.CLOSING)),
        ((Event.LOSE,), (Input.IGNORED, Output.LOST)),
    ],
)
def test_events_lead_to_the_expected_states(events: tuple[Event, ...], expected: tuple[Input, Output]) -> None:
    life = after(*events)
    assert (life.input, life.output) == expected


@pytest.mark.parametrize(
    ("events", "impossible"),
    [
        ((Event.CLOSE,), Event.CLOSE),
        ((Event.LOSE,), Event.LOSE),
        ((Event.LOSE,), Event.CLOSE),
        ((Event.END_ARRIVED,), Event.END_ARRIVED),
        ((Event.IGNORE,), Event.END_ARRIVED),
        ((Event.END_TAKEN,), Event.END_ARRIVED),
    ],
)
def test_an_impossible_event_changes_nothing(events: tuple[Event, ...], impossible: Event) -> None:
    life = after(*events)
    before = (life.input, life.output)
    with pytest.raises(KeyError):
        life.on(impossible)
    assert (life.input, life.output) == before


def test_an_end_is_permanent() -> None:
    for events in itertools.product(Event, repeat=4):
        life, has_ended, was_lost, has_closed = Lifecycle(), False, False, False
        for event in events:
            try:
                life.on(event)
            except KeyError:
                continue
            has_ended |= not life.takes_input
            was_lost |= event is Event.LOSE
            has_closed |= event in (Event.END_ARRIVED, Event.END_TAKEN)
            assert life.takes_input == (not has_ended)
            assert life.is_lost == was_lost
            assert life.client_has_closed == has_closed
