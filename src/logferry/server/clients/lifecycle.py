"""The states of a connection, as a table: what the client may still send, and what the server may still answer.

The two directions of a TCP connection end independently of each other, so each has a state of its own. This module owns
which state follows which; what a connection does in a state is up to the connection.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Input(Enum):
    """The direction from the client."""

    OPEN = auto()  # messages are taken
    STOPPED = auto()  # the server stops and reads no more; what has arrived is still taken
    ENDING = auto()  # the client has closed its half; a large frame must be judged before the end is taken
    ENDED = auto()  # the client has closed its half, and all it sent has been taken
    IGNORED = auto()  # the server discards whatever the client still sends


class Output(Enum):
    """The direction to the client."""

    OPEN = auto()
    CLOSING = auto()  # the server has sent everything and closed its half; the client has yet to close
    LOST = auto()  # the connection is gone


class Event(Enum):
    """What changes a state."""

    STOP = auto()  # the server stops
    END_ARRIVED = auto()  # the client has closed its half, but a large frame is still being judged
    END_TAKEN = auto()  # the client has closed its half, and nothing is left to judge
    IGNORE = auto()  # the server takes nothing more from this client
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
    """Where one connection stands. Both states are only ever changed by `on`."""

    __slots__ = ("input", "output", "takes_input")

    def __init__(self) -> None:
        self.input = Input.OPEN
        self.output = Output.OPEN
        self.takes_input = True  # kept at hand: every read asks

    def on(self, event: Event) -> None:
        """Go to the state that follows. Raises KeyError for an event that cannot happen in this state."""
        output = _OUTPUT[self.output][event] if event in _OF_OUTPUT else self.output
        self.input, self.output = _INPUT[self.input][event], output
        self.takes_input = self.input not in (Input.ENDED, Input.IGNORED)

    @property
    def client_has_closed(self) -> bool:
        """Whether the client has closed its half."""
        return self.input in (Input.ENDING, Input.ENDED)

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone."""
        return self.output is Output.LOST
