"""What the server logs about its clients: who connected, who left and why, and what went wrong.

A client can cause any message here, thousands of times a second if it is hostile, so each kind of message is limited
per second and suppressed messages are counted. At debug level nothing is suppressed.
"""

import functools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from logferry.addresses import network_of
from logferry.printable import SHOWN_REASON_CHARS, printable, quoted
from logferry.protocol.strangers import Stranger
from logferry.server.clients.identities.authenticator import PeerInfo, Principal
from logferry.server.clients.tls.failures import HandshakeFailure
from logferry.telemetry.log_limits import RateLimit, RepeatLimit

logger = logging.getLogger(__name__)

# To find out takes ten microseconds, for each connection of a flood.
_NETWORKS_REMEMBERED: Final = 1024

# For each kind of message. A few clients are logged one by one; for a thousand simultaneous clients a count is enough.
_MESSAGES_PER_SECOND: Final = 3

# Each loss is a reason to look at that file, so more losses are logged.
_LOSSES_PER_SECOND: Final = 20

_MAX_PATH_CHARS: Final = 1000
_MAX_NAME_CHARS: Final = 100


@dataclass(frozen=True, slots=True)
class ClientLabel:
    """Identifies a client in the log. What is not known yet is empty or None."""

    peer: PeerInfo
    host: str = ""
    protocol: str = ""
    principal: Principal | None = None

    def __str__(self) -> str:
        host = f"{printable(self.host, max_chars=_MAX_NAME_CHARS)} at " if self.host else ""
        if self.principal is None:
            return f"{host}{self.peer}"
        principal = printable(self.principal.name, max_chars=_MAX_NAME_CHARS)
        return f"{host}{self.peer} ({self.protocol} protocol{_security(self.peer)}, principal {principal})"


def _security(peer: PeerInfo) -> str:
    """Return how a connection is encrypted, as a part of its label."""
    if not peer.is_encrypted:
        return ""
    of = f", certificate of {printable(peer.certificate[0], max_chars=_MAX_NAME_CHARS)}" if peer.certificate else ""
    return f" over TLS{of}"


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
        self._strangers = RepeatLimit(logger, clock=clock)
        self._handshakes = RepeatLimit(logger, clock=clock)
        self._failures = RepeatLimit(logger, clock=clock)
        self.tls_ports: Sequence[int] = ()  # where the server takes connections with TLS
        self._limits = (self._connects, self._disconnects, self._problems, self._losses, self._repeats)

    def connected(self, client: ClientLabel) -> None:
        """Log that a client has identified itself and is admitted."""
        _log(self._connects, logging.INFO, "connected: %s", client)

    def disconnected(
        self, client: ClientLabel, why: str, *, lines_acked: int, lines_rejected: int, was_dropped: bool
    ) -> None:
        """Log that an admitted client's connection has ended; as a warning if it was dropped or had several rejects."""
        rejected = f", {_lines(lines_rejected)} rejected in total" if lines_rejected else ""
        values = (client, printable(why, max_chars=SHOWN_REASON_CHARS), _lines(lines_acked), rejected)
        is_problem = was_dropped or lines_rejected > 1
        limit, level = (self._problems, logging.WARNING) if is_problem else (self._disconnects, logging.INFO)
        _log(limit, level, "disconnected: %s: %s; %s acked%s", *values)

    def left_unknown(self, client: ClientLabel, why: str) -> None:
        """Log the end of a connection that was never a client's: a health probe, or a client that was not admitted."""
        logger.debug("disconnected: %s: %s", client, printable(why, max_chars=SHOWN_REASON_CHARS))

    def rejected(self, client: ClientLabel, reason: str) -> None:
        """Log the first line of a client that the server rejects."""
        message = "%s: rejected: %s (further rejects from this client are only counted)"
        _log(self._problems, logging.WARNING, message, client, printable(reason, max_chars=SHOWN_REASON_CHARS))

    def stranger(self, client: ClientLabel, stranger: Stranger) -> None:
        """Log that a connection was closed because its peer is not a log client; once for each kind and network."""
        tls = f"; TLS is at port {self.tls_ports[0]}" if self.tls_ports else ""
        advice = stranger.advice.format(address=client.peer.address, tls=tls)
        advice = f" ({advice})" if advice else ""
        message, values = "%s is not a log client: %s; closed, nothing of it is stored%s", (client, stranger, advice)
        if logger.isEnabledFor(logging.DEBUG):
            logger.warning(message, *values)
        else:
            self._strangers.log(logging.WARNING, (stranger.name, network_of(client.peer.address)), message, *values)

    def handshake_failed(self, client: ClientLabel, failure: HandshakeFailure) -> None:
        """Log that a connection with TLS did not come about; once for each reason and network."""
        advice = f" ({failure.advice})" if failure.advice else ""
        message, values = "%s: TLS handshake failed: %s%s", (client, failure.reason, advice)
        if logger.isEnabledFor(logging.DEBUG):
            logger.warning(message, *values)
        else:
            key = (failure.kind, network_of(client.peer.address))
            self._handshakes.log(logging.WARNING, key, message, *values)

    def denied(self, client: ClientLabel, reason: str) -> None:
        """Log that a client is denied."""
        _log(self._problems, logging.WARNING, "denied: %s: %s", client, printable(reason, max_chars=SHOWN_REASON_CHARS))

    def refused(self, connections: int) -> None:
        """Log that a new connection was closed immediately because the server has reached its limit."""
        _log(self._problems, logging.WARNING, "full: %d connections; refusing more", connections)

    def failed(self, client: ClientLabel, error: Exception) -> None:
        """Log an error of the server itself while it served a client; the first of each kind with its traceback."""
        message = "unexpected error while serving %s: %r; the connection is cut"
        if self._failures.log(logging.ERROR, type(error).__name__, message, client, error):
            logger.error("its traceback:", exc_info=error)

    def lost(self, client: ClientLabel, path: str, start: int, end: int, reason: str) -> None:
        """Log that a client has reported bytes of a file that it cannot deliver unchanged."""
        message = "%s: lost: bytes %d to %d of %s: %s"
        values = (start, end, quoted(path, max_chars=_MAX_PATH_CHARS), printable(reason, max_chars=SHOWN_REASON_CHARS))
        _log(self._losses, logging.WARNING, message, client, *values)

    def unknown_window(self, client: ClientLabel, path: str, start: int, reason: str) -> None:
        """Log that bytes of a file may be lost that its client never saw."""
        message = "%s: may be lost: what was written to %s at byte %d and later, which nobody saw: %s"
        values = (quoted(path, max_chars=_MAX_PATH_CHARS), start, printable(reason, max_chars=SHOWN_REASON_CHARS))
        _log(self._losses, logging.WARNING, message, client, *values)

    def repeats(self, client: ClientLabel, path: str, start: int, end: int) -> None:
        """Log that a part of a file is already stored and the client does not know it."""
        message = "%s: bytes %d to %d of %s are already stored and will not be stored again if the client resends them"
        _log(self._repeats, logging.INFO, message, client, start, end, quoted(path, max_chars=_MAX_PATH_CHARS))

    def flush_if_due(self) -> None:
        """Log the counts of past seconds. Call this regularly."""
        for limit in self._limits:
            limit.flush_if_due()

    def flush(self) -> None:
        """Log all pending counts, at the end of a run."""
        self._strangers.flush()
        self._handshakes.flush()
        self._failures.flush()
        for limit in self._limits:
            limit.flush()


@functools.lru_cache(_NETWORKS_REMEMBERED)
def _lines(count: int) -> str:
    return f"{count} line{'s' * (count != 1)}"


def _log(limit: RateLimit, level: int, message: str, *values: object) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.log(level, message, *values)
    else:
        limit.log(level, message, *values)
