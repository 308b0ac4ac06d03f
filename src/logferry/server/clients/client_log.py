"""What the server logs about its clients: who came, who left and why, and what was wrong with them.

Every message here can be caused by a client, ten thousand times a second if it likes, so each kind has a limit a second
and a count of what was left out. At debug level nothing is left out.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from logferry.printable import printable, quoted
from logferry.server.clients.authenticator import PeerInfo, Principal
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)

# Of each kind of message. A few clients are seen one by one; of a thousand that come at once the count says enough.
_MESSAGES_PER_SECOND: Final = 3

# Of losses: each is a reason to look at that file, so more of them are logged.
_LOSSES_PER_SECOND: Final = 20

_MAX_PATH_CHARS: Final = 1000
_MAX_NAME_CHARS: Final = 100


@dataclass(frozen=True, slots=True)
class ClientLabel:
    """Who a client is, for the log: what is not known yet is empty or None."""

    peer: PeerInfo
    host: str = ""
    protocol: str = ""
    principal: Principal | None = None

    def __str__(self) -> str:
        host = f"{printable(self.host, max_chars=_MAX_NAME_CHARS)} at " if self.host else ""
        if self.principal is None:
            return f"{host}{self.peer}"
        principal = printable(self.principal.name, max_chars=_MAX_NAME_CHARS)
        return f"{host}{self.peer} ({self.protocol} protocol, principal {principal})"


class ClientLog:
    """Logs the life of connections, within limits. Belongs to the event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        def limit(what: str, per_second: int = _MESSAGES_PER_SECOND) -> RateLimit:
            return RateLimit(logger, per_second=per_second, what=what, clock=clock)

        self._connects = limit("connects")
        self._disconnects = limit("disconnects")
        self._problems = limit("problems with clients")
        self._losses = limit("losses", _LOSSES_PER_SECOND)
        self._repeats = limit("repeats")
        self._limits = (self._connects, self._disconnects, self._problems, self._losses, self._repeats)

    def connected(self, client: ClientLabel) -> None:
        """The client has sent enough to be known, and is let in."""
        _log(self._connects, logging.INFO, "connected: %s", client)

    def disconnected(
        self, client: ClientLabel, why: str, *, lines_acked: int, lines_rejected: int, was_dropped: bool
    ) -> None:
        """The connection of a client that was let in has ended; `was_dropped` is a warning, and so are many rejects."""
        rejected = f", {_lines(lines_rejected)} rejected in total" if lines_rejected else ""
        values = (client, printable(why), _lines(lines_acked), rejected)
        is_problem = was_dropped or lines_rejected > 1
        limit, level = (self._problems, logging.WARNING) if is_problem else (self._disconnects, logging.INFO)
        _log(limit, level, "disconnected: %s: %s; %s acked%s", *values)

    def left_unknown(self, client: ClientLabel, why: str) -> None:
        """A connection has ended that never was a client's: a health probe, or one that was not let in."""
        logger.debug("disconnected: %s: %s", client, why)

    def rejected(self, client: ClientLabel, reason: str) -> None:
        """The first line of a client that is not taken."""
        message = "%s: rejected: %s (more of this client are only counted)"
        _log(self._problems, logging.WARNING, message, client, printable(reason))

    def denied(self, client: ClientLabel, reason: str) -> None:
        """A client is not let in."""
        _log(self._problems, logging.WARNING, "denied: %s: %s", client, printable(reason))

    def refused(self, connections: int) -> None:
        """A connection is closed at once, because the server has as many as it may have."""
        _log(self._problems, logging.WARNING, "full: %d connections; more are refused", connections)

    def lost(self, client: ClientLabel, path: str, start: int, end: int, reason: str) -> None:
        """A client has reported bytes of a file that it cannot deliver as they were."""
        message = "%s: lost: bytes %d to %d of %s: %s"
        values = (start, end, quoted(path, max_chars=_MAX_PATH_CHARS), printable(reason))
        _log(self._losses, logging.WARNING, message, client, *values)

    def repeats(self, client: ClientLabel, path: str, start: int, end: int) -> None:
        """A client does not know that a part of a file is stored already."""
        message = "%s: bytes %d to %d of %s are stored already; if they are resent, they are not stored again"
        _log(self._repeats, logging.INFO, message, client, start, end, quoted(path, max_chars=_MAX_PATH_CHARS))

    def flush_if_due(self) -> None:
        """Log the counts of seconds that are over; to be called now and then."""
        for limit in self._limits:
            limit.flush_if_due()

    def flush(self) -> None:
        """Log all counts, at the end."""
        for limit in self._limits:
            limit.flush()


def _lines(count: int) -> str:
    return f"{count} line{'s' * (count != 1)}"


def _log(limit: RateLimit, level: int, message: str, *values: object) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.log(level, message, *values)
    else:
        limit.log(level, message, *values)
