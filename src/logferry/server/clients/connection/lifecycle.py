"""The states of a connection, as tables: what the client may still send, and what the server may still answer.

The two directions of a TCP connection end independently, so each has its own state. This module owns the transitions;
what a connection does in a state is up to the connection.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Input(Enum):
    """The direction from the client."""

    OPEN = auto()  # the server takes messages
    STOPPED = auto()  # the server is stopping and reads no more; it still takes what has arrived
    ENDING = auto()  # the client has closed its half; a large frame must be judged before the server takes the end
    ENDED = auto()  # the client has closed its half, and the server has taken everything it sent
    IGNORED = auto()  # the server discards everything the client still sends


class Output(Enum):
    """The direction to the client."""

    OPEN = auto()
    CLOSING = auto()  # the server has sent everything and closed its half; the client has yet to close
    LOST = auto()  # the connection is gone


class Event(Enum):
    """What changes a state."""

    STOP = auto()  # the server is stopping
    END_ARRIVED = auto()  # the client has closed its half, but a large frame is still being judged
    END_TAKEN = auto()  # the client has closed its half, and nothing is left to judge
    IGNORE = auto()  # the server stops taking messages from this client
    CLOSE = auto()  # the server has nothing more to send
    LOSE = auto()  # the connection is gone


_INPUT: Final[Mapping[Input, Mapping[Event, Input]]] = {
    Input.OPEN: {
        Event.STOP: Input.STOPPED,
        Event.END_ARRIVED: Input.ENDING,
        Event.END_TAKEN: Input.ENDED,
        Event.IGNORE: Input.IGNORED,
        Event.CLOSE: Input.IGNORED,
        Event.LOSE: Input.IGNORED,
    },
    Input.STOPPED: {
        Event.STOP: Input.STOPPED,
        Event.END_ARRIVED: Input.ENDING,
        Event.END_TAKEN: Input.ENDED,
        Event.IGNORE: Input.IGNORED,
        Event.CLOSE: Input.IGNORED,
        Event.LOSE: Input.IGNORED,
    },
    Input.ENDING: {
        Event.STOP: Input.ENDING,
        Event.END_TAKEN: Input.ENDED,
        Event.IGNORE: Input.ENDED,
        Event.CLOSE: Input.ENDED,
        Event.LOSE: Input.ENDED,
    },
    Input.ENDED: {
        Event.STOP: Input.ENDED,
        Event.END_TAKEN: Input.ENDED,
        Event.IGNORE: Input.ENDED,
        Event.CLOSE: Input.ENDED,
        Event.LOSE: Input.ENDED,
    },
    Input.IGNORED: {
        Event.STOP: Input.IGNORED,
        Event.END_TAKEN: Input.ENDED,
        Event.IGNORE: Input.IGNORED,
        Event.CLOSE: Input.IGNORED,
        Event.LOSE: Input.IGNORED,
    },
}

_OUTPUT: Final[Mapping[Output, Mapping[Event, Output]]] = {
    Output.OPEN: {Event.CLOSE: Output.CLOSING, Event.LOSE: Output.LOST},
    Output.CLOSING: {Event.LOSE: Output.LOST},
    Output.LOST: {},
}

_OF_OUTPUT: Final = frozenset({Event.CLOSE, Event.LOSE})


class Lifecycle:
    """The state of one connection. Only `on` changes it.

    The booleans are for the read path: looking up an enum member costs more than the rest of the check.
    """

    __slots__ = (
        "can_answer",
        "client_has_closed",
        "input",
        "is_ending",
        "is_ignoring",
        "is_lost",
        "is_open",
        "output",
        "takes_input",
    )

    def __init__(self) -> None:
        self.output = Output.OPEN
        self._enter(Input.OPEN)

    def on(self, event: Event) -> None:
        """Move to the next state. Raises KeyError for an event that cannot happen in this state."""
        output = _OUTPUT[self.output][event] if event in _OF_OUTPUT else self.output
        following = _INPUT[self.input][event]
        self.output = output
        self._enter(following)

    def _enter(self, state: Input) -> None:
        self.input = state
        self.is_open = state is Input.OPEN
        self.is_ending = state is Input.ENDING
        self.is_ignoring = state is Input.IGNORED
        self.takes_input = state in (Input.OPEN, Input.STOPPED, Input.ENDING)
        self.client_has_closed = state in (Input.ENDING, Input.ENDED)
        self.is_lost = self.output is Output.LOST
        self.can_answer = self.output is Output.OPEN
