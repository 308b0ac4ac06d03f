"""Which of several servers a client uses: the first that works, and back to an earlier one that has worked for a while.

Owns what is known of each server: when it failed last, and since when a probe has found it well. Pure: no socket, and
time is an argument. Must never let a server that does not answer be tried more often than the backoff allows.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from logferry.client.delivery.servers.retry import Backoff
from logferry.errors import (
    DeliveryError,
    NotAuthorised,
    PeerClosed,
    PeerTimeout,
    ServerFull,
    Unreachable,
)
from logferry.printable import SHOWN_REASON_CHARS, printable
from logferry.telemetry.log_limits import RepeatLimit

logger = logging.getLogger(__name__)

# A connection that has lasted this long proves its server, even if nothing was to be delivered.
_PROVEN_S: Final = 60.0

# A server that is well is probed four times before the client goes back to it, but not more often than this, nor less.
_PROBES: Final = 4
_SHORTEST_PROBE_S: Final = 0.25
_LONGEST_PROBE_S: Final = 30.0

# How often the client asks a later server whether it still has what it acked, because nothing else takes the client
# there; and when again, after the client has been there because something was missing.
CHECK_INTERVAL_S: Final = 300.0
_AFTER_VISIT_S: Final = 3600.0


class Reason(Enum):
    """Why a client has gone on to another server; the values are labels of a metric."""

    UNREACHABLE = "unreachable"
    TLS = "tls"
    DENIED = "denied"
    CLOSED = "closed"
    SILENT = "silent"
    FULL = "full"
    PROTOCOL = "protocol"
    RETURNED = "returned"
    REPAIR = "repair"


def reason_of(error: DeliveryError) -> Reason:
    """Return the kind of a failure."""
    match error:
        case Unreachable():
            return Reason.TLS if error.is_insecure else Reason.UNREACHABLE
        case NotAuthorised():
            return Reason.DENIED
        case ServerFull():
            return Reason.FULL
        case PeerClosed():
            return Reason.CLOSED
        case PeerTimeout():
            return Reason.SILENT
        case _:
            return Reason.PROTOCOL


@dataclass(slots=True)
class _Server:
    """What is known of one server; times are those of the caller's clock."""

    name: str
    failures: int = 0  # in a row
    retry_at: float = -math.inf
    error: str = ""  # the last failure, since it was used last
    well_since: float | None = None  # as probes have found
    probe_failures: int = 0
    probe_at: float = math.inf
    check_at: float = math.inf


class ServerChoice:
    """The choice of one client, in the engine's thread. Other threads may read `current` and `why_not_first`."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        failback_after_s: float = 0.0,
        backoff: Backoff | None = None,
        on_use: Callable[[str, Reason | None], object] = lambda name, reason: None,
    ) -> None:
        """`names` are the servers, the preferred one first; `on_use` is called when another one is to be used."""
        self.names = tuple(names)
        self._servers = [_Server(name) for name in names]
        self._failback_after_s = failback_after_s
        self._backoff = backoff or Backoff()
        self._on_use = on_use
        self._tried: set[int] = set()  # since a server was proven, or since all had failed
        self._connected_at: float | None = None
        self._log = RepeatLimit(logger, first=3)
        self._hopeful: DeliveryError | None = None  # of the servers tried, the failure that may pass by itself
        self.current = 0

    @property
    def why_not_first(self) -> str:
        """Why the preferred server is not in use; "" if it is, or if nothing is known."""
        return self._servers[0].error if self.current else ""

    # --- failures -------------------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """Note a connection to the current server, which proves nothing yet."""
        self._connected_at = now
        for server in self._servers[: self.current]:
            server.well_since, server.probe_failures, server.probe_at = None, 0, now + self._probe_interval_s
        for server in self._servers[self.current + 1 :]:
            if not now <= server.check_at < math.inf:
                server.check_at = now + self._probe_interval_s

    def delivered(self) -> None:
        """Note that the current server has stored something."""
        if self._tried or (self._servers and self._servers[self.current].failures):
            self._servers[self.current].failures = 0
            self._servers[self.current].error = ""
            self._tried.clear()
            self._hopeful = None
            self._log.all_over("%s stores what is sent", self.names[self.current])

    def failed(self, error: DeliveryError, now: float) -> DeliveryError | None:
        """Note that the current server has failed; return None if another one may be tried at once.

        If all have failed, return the most hopeful of their failures; the caller waits before the next attempt.
        """
        if self._connected_at is not None and now - self._connected_at >= _PROVEN_S:
            self.delivered()
        self._connected_at = None
        if len(self._servers) < 2:
            return error
        server = self._servers[self.current]
        server.failures += 1
        server.retry_at = now + self._backoff.delay_s(server.failures)
        server.error = printable(str(error), max_chars=SHOWN_REASON_CHARS)
        server.well_since = None
        self._tried.add(self.current)
        if self._hopeful is None or isinstance(self._hopeful, NotAuthorised):
            self._hopeful = error
        following = self._following(now)
        if following is not None:
            self._log.log(
                *(logging.WARNING, (server.name, reason_of(error)), "%s: %s; going on with %s"),
                *(server.name, server.error, self.names[following]),
            )
            self._use(following, reason_of(error))
            return None
        return self._all_have_failed()

    def _following(self, now: float) -> int | None:
        for index, server in enumerate(self._servers):
            if index not in self._tried and server.retry_at <= now:
                return index
        return None

    def _all_have_failed(self) -> DeliveryError:
        assert self._hopeful is not None
        error, self._hopeful = self._hopeful, None
        least = min(server.failures for server in self._servers)
        for server in self._servers:  # the caller's pause is long enough for all but those that have failed for longer
            if server.failures <= least + 1:
                server.retry_at = -math.inf
        first = min(range(len(self._servers)), key=lambda index: (self._servers[index].retry_at, index))
        self._tried.clear()
        if first != self.current:
            self._use(first, Reason.UNREACHABLE if isinstance(error, Unreachable) else reason_of(error))
        return error

    def _use(self, index: int, reason: Reason) -> None:
        self.current = index
        self._on_use(self.names[index], reason)

    # --- going back -----------------------------------------------------------------------------------------------

    @property
    def next_timer(self) -> float | None:
        """When to call `probe_due` or `check_due`; None if never."""
        probes = [server.probe_at for server in self._servers[: self.current]]
        checks = [server.check_at for server in self._servers[self.current + 1 :]]
        due = min((*probes, *checks), default=math.inf)
        return due if due < math.inf else None

    def probe_due(self, now: float) -> int | None:
        """Return an earlier server that is to be probed now; `probed` must follow."""
        for index, server in enumerate(self._servers[: self.current]):
            if server.probe_at <= now:
                server.probe_at = math.inf
                return index
        return None

    def probed(self, index: int, problem: str, now: float) -> None:
        """Note what a probe has found: "" if the server is well."""
        server = self._servers[index]
        if problem:
            server.well_since = None
            server.probe_failures += 1
            server.error = printable(problem, max_chars=SHOWN_REASON_CHARS)
            pause_s = max(self._probe_interval_s, self._backoff.delay_s(server.probe_failures))
        else:
            server.probe_failures = 0
            if server.well_since is None:
                server.well_since = now
                logger.info("%s answers again; going back to it in %.0f s", server.name, self._failback_after_s)
            pause_s = self._probe_interval_s
        server.probe_at = now + pause_s

    def to_return_to(self, now: float) -> int | None:
        """Return the first earlier server that has been well for long enough."""
        for index, server in enumerate(self._servers[: self.current]):
            if server.well_since is not None and now - server.well_since >= self._failback_after_s:
                return index
        return None

    def go_back(self, index: int) -> None:
        """Use an earlier server again."""
        server = self._servers[index]
        server.failures, server.retry_at = 0, -math.inf
        self._connected_at = None
        self._tried.clear()
        logger.info("going back to %s, which has answered for %.0f s", server.name, self._failback_after_s)
        self._use(index, Reason.RETURNED)

    def check_due(self, now: float) -> int | None:
        """Return a later server that is to be asked now whether it still has what it acked."""
        for index, server in enumerate(self._servers[self.current + 1 :], self.current + 1):
            if server.check_at <= now:
                server.check_at = now + CHECK_INTERVAL_S
                return index
        return None

    def visit(self, index: int, lacking: int, now: float) -> None:
        """Use a later server, until an earlier one has been well for a while, because it lacks what it acked."""
        server = self._servers[index]
        server.check_at = now + _AFTER_VISIT_S
        self._connected_at = None
        self._tried.clear()
        message = "%s lacks bytes of %d files that it has acked; going there to send them again"
        logger.warning(message, server.name, lacking)
        self._use(index, Reason.REPAIR)

    @property
    def _probe_interval_s(self) -> float:
        return min(_LONGEST_PROBE_S, max(_SHORTEST_PROBE_S, self._failback_after_s / _PROBES))

    def flush(self) -> None:
        """Log what was suppressed, at the end of a run."""
        self._log.flush()


def in_order(names: Sequence[str], client_id: str, policy: str) -> list[int]:
    """Return the places of servers in the order in which a client prefers them.

    With `spread`, that is the order of hashes of client and server (rendezvous hashing): each server is the first one
    of an equal share of the clients, and another server takes only its own share from the others.
    """
    places = list(range(len(names)))
    if policy == "spread":
        from hashlib import blake2b  # late: a client with one server starts without it

        def score(place: int) -> bytes:
            return blake2b(f"{names[place]}\n{client_id}".encode("utf-8", "surrogateescape"), digest_size=8).digest()

        places.sort(key=score)
    return places
