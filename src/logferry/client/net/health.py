"""Is the server there? A TCP connect probe, repeated, and what changed since the last one."""

import logging
import socket
import threading
from collections.abc import Callable
from enum import Enum
from typing import Final

from logferry.errors import cause_of

logger = logging.getLogger(__name__)

# While the server is away it is asked more often: the sooner it is seen again, the sooner lines flow.
_UNHEALTHY_INTERVAL_S: Final = 1.0


class Health(Enum):
    """What is known of the server."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


def probe(host: str, port: int, *, timeout_s: float) -> str | None:
    """Connect and close at once. Return None when that worked, else the reason why not."""
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError as error:
        return cause_of(error)
    except UnicodeError:  # of the name's encoding: `a..b`
        return "not a host name"
    return None


class HealthMonitor:
    """Probes the server from a thread of its own and tells when its state changes, once for each change."""

    def __init__(
        self,
        probe_server: Callable[[], str | None],
        *,
        interval_s: float,
        on_transition: Callable[[Health], None],
    ) -> None:
        """`probe_server` returns None or a reason; `on_transition` is called from the monitor's thread."""
        self._probe_server = probe_server
        self._interval_s = interval_s
        self._on_transition = on_transition
        self._wake = threading.Condition()
        self._stopping = False
        self._suspicion = False
        self._announced = Health.UNKNOWN
        self.state = Health.UNKNOWN
        self._thread = threading.Thread(target=self._run, name="health-monitor", daemon=True)

    def start(self) -> None:
        """Begin to probe."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a probe that is under way is not waited for."""
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def suspect(self) -> None:
        """A connection failed: the last probe says nothing any more, probe again now."""
        with self._wake:
            self.state = Health.UNKNOWN
            self._suspicion = True
            self._wake.notify()

    def _run(self) -> None:
        while not self._stopping:
            reason = self._probe_server()
            with self._wake:
                if self._stopping:
                    return  # nobody wants to hear of it
                if not self._suspicion:  # else the answer may be older than the failure
                    self._judge(reason)
                interval_s = self._interval_s
                if self.state is Health.UNHEALTHY:
                    interval_s = min(interval_s, _UNHEALTHY_INTERVAL_S)
                self._wake.wait_for(lambda: self._stopping or self._suspicion, interval_s)
                self._suspicion = False

    def _judge(self, reason: str | None) -> None:
        state = Health.HEALTHY if reason is None else Health.UNHEALTHY
        is_news = state is not self.state
        self.state = state
        if state is not self._announced:
            self._announce(state, reason)
        if is_news:
            self._on_transition(state)

    def _announce(self, state: Health, reason: str | None) -> None:
        if state is Health.UNHEALTHY:
            logger.warning("health: the server is unhealthy: %s", reason)
        elif self._announced is Health.UNHEALTHY:
            logger.info("health: the server is healthy again")
        else:
            logger.info("health: the server is healthy")
        self._announced = state
