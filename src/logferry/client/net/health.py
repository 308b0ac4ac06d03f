"""Whether the server takes connections: a TCP connect probe, repeated in a thread, and its last result.

Holds back reconnecting while the server is unhealthy. It knows the address only: a server that takes connections may
still refuse every line.
"""

import logging
import socket
import threading
from collections.abc import Callable
from enum import Enum
from typing import Final

from logferry.errors import cause_of
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# An unhealthy server is probed more often: the sooner the monitor sees it again, the sooner lines flow.
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
    """Probes the server from a thread of its own and reports each change of its state once.

    The monitor's thread and `suspect`, called by the engine's, write `state`; any thread may read it.
    """

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
        self._judging = threading.Lock()  # an answer is judged, or the server is suspected, never both at once
        self._logged = Health.UNKNOWN
        self._worker = Worker(self._run, name="health-monitor")
        self.state = Health.UNKNOWN

    def start(self) -> None:
        """Begin to probe."""
        self._worker.start()

    def stop(self) -> None:
        """End the thread, without waiting for a probe that is under way."""
        with self._judging:
            self._worker.ask_to_stop()

    def suspect(self) -> None:
        """Probe again now: a connection failed, so the last result means nothing any more."""
        with self._judging:
            self.state = Health.UNKNOWN
            self._worker.wake()

    def _run(self, worker: Worker) -> None:
        while not worker.is_stopping:
            reason = self._probe_server()
            with self._judging:
                if worker.is_stopping:
                    return
                if not worker.is_woken:  # else the answer may be older than the failure
                    self._judge(reason)
            worker.wait(self._pause_s())

    def _pause_s(self) -> float:
        is_unhealthy = self.state is Health.UNHEALTHY
        return min(self._interval_s, _UNHEALTHY_INTERVAL_S) if is_unhealthy else self._interval_s

    def _judge(self, reason: str | None) -> None:
        state = Health.HEALTHY if reason is None else Health.UNHEALTHY
        has_changed = state is not self.state
        self.state = state
        if state is not self._logged:
            self._log(state, reason)
        if has_changed:
            self._on_transition(state)

    def _log(self, state: Health, reason: str | None) -> None:
        if state is Health.UNHEALTHY:
            logger.warning("health: the server is unhealthy: %s", reason)
        elif self._logged is Health.UNHEALTHY:
            logger.info("health: the server is healthy again")
        else:
            logger.info("health: the server is healthy")
        self._logged = state
