"""Whether the server accepts connections: a thread probes it with a connection and keeps the last result.

The client does not reconnect while the server is unhealthy. A server that accepts connections but stores nothing is
unhealthy too; the engine reports that.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from logferry.client.net.connecting.connect import dial
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.waiting.readiness import poll
from logferry.client.net.waiting.steps import run
from logferry.errors import Unreachable
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# An unhealthy server is probed more often: the sooner the monitor notices its return, the sooner lines flow.
_UNHEALTHY_INTERVAL_S: Final = 1.0


class Health(Enum):
    """What the monitor knows about the server."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


def probe(endpoint: Endpoint, *, timeout_s: float) -> str | None:
    """Connect, then close immediately. Return None if that worked, otherwise the reason why it failed."""
    try:
        run(dial(endpoint, timeout_s=timeout_s, warns=False), wait=poll, clock=time.monotonic).close()
    except Unreachable as error:
        return error.reason
    return None


def probe_any(endpoints: Sequence[Endpoint], *, timeout_s: float) -> str | None:
    """Probe servers in turn. Return None as soon as one of them accepts a connection, otherwise why all refused."""
    reasons: list[str] = []
    for endpoint in endpoints:
        reason = probe(endpoint, timeout_s=timeout_s)
        if reason is None:
            return None
        reasons.append(f"{endpoint}: {reason}" if len(endpoints) > 1 else reason)
    return "; ".join(reasons)


class HealthMonitor:
    """Probes the server in a thread of its own, and reports each change of its state once.

    The monitor's thread writes `state`, and so does the engine's in `suspect` and `note_stall`; any thread may read it.
    """

    def __init__(
        self,
        probe_server: Callable[[], str | None],
        *,
        interval_s: float,
        on_transition: Callable[[Health], None],
    ) -> None:
        """`probe_server` returns None or a reason; `on_transition` is called from either thread."""
        self._probe_server = probe_server
        self._interval_s = interval_s
        self._on_transition = on_transition
        self._judging = threading.Lock()  # held while a result is judged or the server is suspected
        self._logged = Health.UNKNOWN
        self._stall = ""  # why the server stores nothing, although it is connected
        self._worker = Worker(self._run, name="health-monitor")
        self.state = Health.UNKNOWN

    def start(self) -> None:
        """Start to probe."""
        self._worker.start()

    def stop(self) -> None:
        """Ask the thread to end, without waiting for a probe in progress."""
        with self._judging:
            self._worker.ask_to_stop()

    def suspect(self) -> None:
        """Probe again now: a connection has failed, so the last result is no longer valid."""
        with self._judging:
            self.state, self._stall = Health.UNKNOWN, ""
            self._worker.wake()

    def note_stall(self, reason: str) -> None:
        """Note that the server is connected but stores nothing, for `reason`, or that it stores again without one."""
        with self._judging:
            self._stall = reason
            self._judge(None)

    def _run(self, worker: Worker) -> None:
        while not worker.is_stopping:
            reason = self._probe_server()
            with self._judging:
                if worker.is_stopping:
                    return
                if not worker.is_woken:  # otherwise the result may be older than the failure
                    self._judge(reason)
            worker.wait(self._pause_s())

    def _pause_s(self) -> float:
        is_unhealthy = self.state is Health.UNHEALTHY and not self._stall
        return min(self._interval_s, _UNHEALTHY_INTERVAL_S) if is_unhealthy else self._interval_s

    def _judge(self, reason: str | None) -> None:
        reason = reason or self._stall or None
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
