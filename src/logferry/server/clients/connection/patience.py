"""Time limits for clients: how long a client may keep the server waiting, and which connection exceeds a limit.

`Patience` holds the limits and `Watch` the times of one connection. Time is an argument: neither reads a clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may keep the server waiting, in seconds."""

    # A healthy client reads its acks within milliseconds; a client behind a bad network, within a few retransmissions.
    ack_stall_s: float = 30.0
    # A peer that sees the server close its half closes immediately, unless it has gone or is misbehaving.
    linger_s: float = 2.0
    # A sixth of our client's default ack timeout, so that one sign of life may be late.
    alive_s: float = 5.0
    # A proxy sends its header with the first packet, which may have to be sent again (the PROXY protocol asks for 3 s).
    header_s: float = 5.0
    # A handshake takes three round trips and a few milliseconds of work; under a flood of them, seconds.
    handshake_s: float = 10.0
    # How long an idle client may be silent; set from IDLE_TIMEOUT.
    idle_s: float = 600.0

    @property
    def shortest_s(self) -> float:
        """The shortest limit: connections must be checked several times within it."""
        return min(self.ack_stall_s, self.linger_s, self.alive_s, self.header_s, self.handshake_s, self.idle_s)


class Overdue(Enum):
    """A time limit that a connection has exceeded."""

    CLOSE = auto()  # the server has closed its half, the client has not
    ACKS_NOT_TAKEN = auto()
    SILENCE = auto()
    SIGN_OF_LIFE = auto()  # the client is waiting, and the server has sent nothing for a while


class Watch:
    """When a connection last received and sent data, became blocked, and began to close."""

    __slots__ = (
        "_blocked_at",
        "_blocked_since",
        "_closing_since",
        "_untaken_at_first",
        "_untaken_before",
        "answered",
        "heard",
        "is_blocked",
        "patience",
    )

    def __init__(self, patience: Patience, now: float) -> None:
        self.patience = patience
        self.heard = now  # when the client last sent data; set by every read
        self.answered = now  # when the server last sent data
        self.is_blocked = False  # the client is not reading its acks at present
        self._blocked_since = self._blocked_at = now
        self._untaken_before = self._untaken_at_first = 0
        self._closing_since: float | None = None

    def blocked(self, now: float, untaken_bytes: int) -> None:
        """Note that the client is not reading its acks, and that `untaken_bytes` of them are waiting."""
        self.is_blocked = True
        self._blocked_since = self._blocked_at = now
        self._untaken_before = self._untaken_at_first = untaken_bytes

    def unblocked(self) -> None:
        """Note that the client is reading its acks again."""
        self.is_blocked = False

    def blocked_s(self, now: float, untaken_bytes: int, *, least_per_s: int) -> float:
        """Return for how long a blocked client has read fewer acks than `least_per_s` bytes per second."""
        return now - self._blocked_at - (self._untaken_at_first - untaken_bytes) / least_per_s

    def closing(self, now: float) -> None:
        """Note that the server has closed its half."""
        self._closing_since = now

    def overdue(
        self, now: float, *, is_idle: bool, client_waits: bool, untaken_bytes: Callable[[], int]
    ) -> Overdue | None:
        """Return the limit that the connection exceeds, if any.

        A slow client is not a dead client: the server writes nothing while acks are waiting, so `untaken_bytes` falls
        if the client reads any. On an idle connection neither side owes the other anything; `client_waits` means that
        the client expects an answer.
        """
        if self._closing_since is not None:
            return Overdue.CLOSE if now - self._closing_since > self.patience.linger_s else None
        if self.is_blocked:
            return self._stalled(now, untaken_bytes())
        if is_idle and now - self.heard > self.patience.idle_s:
            return Overdue.SILENCE
        is_due = client_waits and now - self.answered > self.patience.alive_s
        return Overdue.SIGN_OF_LIFE if is_due else None

    def _stalled(self, now: float, untaken: int) -> Overdue | None:
        if untaken < self._untaken_before:
            self._blocked_since = now
        self._untaken_before = untaken
        return Overdue.ACKS_NOT_TAKEN if now - self._blocked_since > self.patience.ack_stall_s else None
