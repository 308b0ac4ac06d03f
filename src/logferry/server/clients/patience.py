"""How long a client may keep the server waiting, and which connection has used that up.

`Patience` holds the limits, `Watch` what one connection did when. Time is an argument: neither reads a clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may keep the server waiting, in seconds; silence is IDLE_TIMEOUT."""

    # A client that works takes its acks within milliseconds; one behind a bad line within a few retransmissions.
    ack_stall_s: float = 30.0
    # A peer that sees the server close its half closes at once; longer only if it is gone or does not care.
    linger_s: float = 2.0
    # A sixth of the ack timeout that our client has by default: it sees the server alive however late one sign is.
    alive_s: float = 5.0
    # Set from IDLE_TIMEOUT.
    idle_s: float = 600.0

    @property
    def shortest_s(self) -> float:
        """The shortest limit: connections must be looked at several times in it."""
        return min(self.ack_stall_s, self.linger_s, self.alive_s, self.idle_s)


class Overdue(Enum):
    """What has gone on for too long."""

    CLOSE = auto()  # the client does not close, although the server has
    ACKS_NOT_TAKEN = auto()
    SILENCE = auto()
    SIGN_OF_LIFE = auto()  # the client waits, and the server has not said anything for long


class Watch:
    """When a connection last heard, answered, got stuck and began to close."""

    __slots__ = ("_blocked_since", "_closing_since", "_patience", "_untaken_before", "answered", "heard", "is_blocked")

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self.heard = now  # when the client last sent something; every read sets it
        self.answered = now  # when the server last sent something
        self.is_blocked = False  # the client does not take its acks at present
        self._blocked_since = now
        self._untaken_before = 0
        self._closing_since: float | None = None

    def blocked(self, now: float, untaken_bytes: int) -> None:
        """The client does not take its acks; so many bytes of them wait for it."""
        self.is_blocked = True
        self._blocked_since = now
        self._untaken_before = untaken_bytes

    def unblocked(self) -> None:
        """The client takes its acks again."""
        self.is_blocked = False

    def closing(self, now: float) -> None:
        """The server has closed its half."""
        self._closing_since = now

    def overdue(
        self, now: float, *, is_idle: bool, is_waited_for: bool, untaken_bytes: Callable[[], int]
    ) -> Overdue | None:
        """Return what has gone on for too long, if anything.

        A slow client is not a dead one: while acks wait nothing is written, so `untaken_bytes` falls if the client
        takes any. An idle connection owes nothing to anybody; a client is waited for when it expects something.
        """
        if self._closing_since is not None:
            return Overdue.CLOSE if now - self._closing_since > self._patience.linger_s else None
        if self.is_blocked:
            return self._stalled(now, untaken_bytes())
        if is_idle and now - self.heard > self._patience.idle_s:
            return Overdue.SILENCE
        is_due = is_waited_for and now - self.answered > self._patience.alive_s
        return Overdue.SIGN_OF_LIFE if is_due else None

    def _stalled(self, now: float, untaken: int) -> Overdue | None:
        if untaken < self._untaken_before:
            self._blocked_since = now
        self._untaken_before = untaken
        return Overdue.ACKS_NOT_TAKEN if now - self._blocked_since > self._patience.ack_stall_s else None
