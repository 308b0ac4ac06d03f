"""Reports that a connected server stores nothing: why, if the server says it, or that it has acked nothing for a while.

Owns when that begins and ends, and logs each of them once, across reconnections too. Must never end a connection: after
`--ack-timeout` without a sign of life the session does (outputs/session.py).
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from logferry.client.delivery.servers.observer import ConnectionObserver
from logferry.client.delivery.servers.retry import ReconnectGate
from logferry.printable import SHOWN_REASON_CHARS, moment, printable

logger = logging.getLogger(__name__)

# A healthy server acks within a fraction of a second. Users should not have to ask why nothing arrives.
UNACKED_S: Final = 10.0


class StallWatch:
    """Watches the acks of one engine, in its thread. The engine sets `has_acks` when the server answers for lines."""

    def __init__(
        self,
        observer: ConnectionObserver,
        gate: ReconnectGate,
        *,
        describe: Callable[[], str],
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """`describe` returns what is not acked."""
        self._observer = observer
        self._gate = gate
        self._describe = describe
        self._unix_time = unix_time
        self._owed_since: float | None = None  # the last ack, or the first batch without one
        self._reason = ""  # what is reported now
        self._logged = ""  # what was logged, and has not ended since
        self.has_acks = False

    @property
    def reason(self) -> str:
        """Why the server stores nothing, as far as is known; "" while it does."""
        return self._reason

    @property
    def next_timer(self) -> float | None:
        """When to call `check` although nothing has happened."""
        return self._owed_since + UNACKED_S if self._owed_since is not None and not self._reason else None

    def withheld(self, server: str, reason: str, since: float) -> None:
        """Take the server's word that it stores nothing, for `reason`, or that it stores again if that is empty."""
        if not reason:
            self._end(server)
            return
        shown = printable(reason, max_chars=SHOWN_REASON_CHARS)
        since = since or self._unix_time()
        self._report(shown, since, "%s stores nothing since %s: %s; %s", server, moment(since), shown)

    def check(self, server: str, now: float, *, is_owed: bool) -> None:
        """Report that nothing was acked for a while, or the end of that; `is_owed` if acks are due."""
        if self.has_acks:
            self._end(server)
        elif self._reason and not is_owed:  # nothing is waiting any more
            self._show("", 0.0)
        if self.has_acks or not is_owed or self._owed_since is None:
            self._owed_since, self.has_acks = (now if is_owed else None), False
        elif now - self._owed_since >= UNACKED_S and not self._reason:
            reason = f"it has acked nothing for {UNACKED_S:g} s"
            since = self._unix_time() - (now - self._owed_since)
            self._report(reason, since, "%s is connected, but %s; %s", server, reason)

    def disconnected(self) -> None:
        """Forget what this connection owed; what was logged is not logged again on the next one."""
        self._owed_since, self.has_acks = None, False
        if self._reason:
            self._reason = ""
            self._observer.stalled("", 0.0)

    def _report(self, reason: str, since: float, message: str, *values: str) -> None:
        if reason != self._reason:
            self._show(reason, since)
        if reason != self._logged:
            self._logged = reason
            logger.warning(message, *values, self._describe())

    def _end(self, server: str) -> None:
        if self._reason or self._logged:
            self._reason = self._logged = ""
            self._observer.stalled("", 0.0)
            self._gate.stalled("")
            logger.info("%s stores again", server)

    def _show(self, reason: str, since: float) -> None:
        if reason != self._reason:
            self._reason = reason
            self._observer.stalled(reason, since)
            self._gate.stalled(reason)
