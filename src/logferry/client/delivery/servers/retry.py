"""Failures in a row: how long to wait after each failure, and when to give up."""

import logging
import random
from collections.abc import Callable
from typing import Final, Protocol

from logferry.config import ShipSettings
from logferry.errors import DeliveryAbandoned, DeliveryError, NotALogServer, NotAuthorised
from logferry.printable import printable
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

_AUTO_ATTEMPTS: Final = 5

# A connection may end only so that another one goes on. After this many in a row that took no source further, a pause
# precedes the next one: the client must not connect a thousand times a second to a server that stores nothing.
_FREE_CONNECTIONS: Final = 3

# Giving up a line takes its source further, and a file may have a few lines that are too long. After this many in a row
# without a delivered line, the shortest pause precedes each next one.
_FREE_ADVANCES: Final = 100
_FIRST_PAUSE_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.25


# After this many failures in a row, every wait is the longest.
_LONGEST_WAIT: Final = 60


class Backoff:
    """How long to wait after the n-th failure in a row: exponential backoff with a ceiling and jitter.

    The jitter keeps a thousand clients from reconnecting at the same moment (the "equal jitter" scheme: half of the
    delay is fixed, half is random).
    """

    def __init__(self, *, first_s: float = 0.5, ceiling_s: float = 30.0, uniform: Callable[[], float] = random.random):
        self._first_s = first_s
        self._ceiling_s = ceiling_s
        self._uniform = uniform

    def delay_s(self, failures: int) -> float:
        """Return how many seconds to wait after `failures` (at least 1) failures in a row."""
        full = min(self._ceiling_s, self._first_s * 2.0 ** min(failures - 1, 60))
        return full * (0.5 + 0.5 * self._uniform())


class ReconnectGate(Protocol):
    """Holds back the next connection after one has failed. Called in the engine's thread."""

    def connection_failed(self) -> None:
        """A connection, or an attempt to connect, has failed."""

    def stalled(self, reason: str) -> None:
        """The server is connected, but stores nothing for `reason`; "" ends that, and so does `connection_failed`."""

    def may_connect(self) -> bool:
        """Whether to try to connect now; called every poll interval, and whenever something wakes the engine."""


class AlwaysOpen:
    """The gate that never holds anything back: the backoff is enough."""

    def connection_failed(self) -> None:
        """See ReconnectGate."""

    def stalled(self, reason: str) -> None:
        """See ReconnectGate."""

    def may_connect(self) -> bool:
        """See ReconnectGate."""
        return True


class Attempts:
    """Counts the connections that have failed since a line was last answered."""

    def __init__(self, settings: ShipSettings, backoff: Backoff) -> None:
        attempts = settings.max_attempts
        if attempts is None:
            is_patient = settings.resilient or settings.mode == "continuous"
            attempts = 0 if is_patient else _AUTO_ATTEMPTS
        self._max_attempts = attempts  # 0 means unlimited
        self._backoff = backoff
        self._failures = 0
        self._fruitless = 0  # connections in a row that went on from another one and took no source further
        self._has_advanced = False  # since the last connection
        self._advances = 0  # connections in a row that took a source further and delivered no line
        self._pause = Backoff(first_s=_FIRST_PAUSE_S, ceiling_s=_LONGEST_PAUSE_S)
        self.is_strange = False  # the last connection failed because the peer is not a log server
        self._limit = RepeatLimit(logger, first=3)
        self._strange_limit = RepeatLimit(logger)  # for what lasts until somebody mends it
        self._end_of_trouble = ""  # what to log when that is over

    def succeeded(self) -> None:
        """Note that a line was answered; the answer to a hello or an open does not count."""
        self._fruitless = self._advances = 0
        if self._failures:
            self._failures = 0
            self._limit.all_over("the server answers again")
            self.welcomed()

    def advanced(self) -> None:
        """Note that a source has got further, if only because a line that the server refuses was given up."""
        self._has_advanced = True

    def welcomed(self) -> None:
        """Note that the peer has shown that it is a log server, even if nothing is to be delivered."""
        self.is_strange = False
        self._strange_limit.all_over(self._end_of_trouble)

    def started_over(self) -> float:
        """Return how many seconds to wait before a connection that goes on where the last one, unfailing, ended."""
        if self._has_advanced:
            self._has_advanced = False
            self._advances += 1
            self._fruitless = 0 if self._advances <= _FREE_ADVANCES else min(self._fruitless, _FREE_CONNECTIONS)
        self._fruitless += 1
        return self._pause.delay_s(self._fruitless - _FREE_CONNECTIONS) if self._fruitless > _FREE_CONNECTIONS else 0.0

    def flush(self) -> None:
        """Log the pending counts of failures, at the end of a run."""
        self._limit.flush()
        self._strange_limit.flush()

    def failed(self, error: DeliveryError, unacked: str) -> float:
        """Count a failure; return how many seconds to wait.

        Raises DeliveryAbandoned after the last attempt; the message includes `unacked`.
        """
        self._failures += 1
        if isinstance(error, NotAuthorised) and self._max_attempts:  # another attempt changes nothing
            raise DeliveryAbandoned(f"{error}; {unacked}") from error
        if self._max_attempts and self._failures >= self._max_attempts:
            attempts = f"{self._failures} failures in a row" if self._failures > 1 else "one failure"
            raise DeliveryAbandoned(f"{error}; gave up after {attempts}, {unacked}") from error
        delay_s = self._backoff.delay_s(_LONGEST_WAIT if isinstance(error, NotAuthorised) else self._failures)
        reason = printable(str(error))
        self.is_strange = isinstance(error, NotALogServer | NotAuthorised)
        if isinstance(error, NotAuthorised):
            self._end_of_trouble = "the server admits this client now"
        elif self.is_strange:
            self._end_of_trouble = "the server answers as a log server now"
        limit = self._strange_limit if self.is_strange else self._limit
        limit.log(
            *(logging.WARNING, reason, "%s; failure %d in a row, retrying in %.1f s"),
            *(reason, self._failures, delay_s),
        )
        return delay_s
