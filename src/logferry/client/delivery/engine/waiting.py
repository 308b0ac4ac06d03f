"""The engine's only way to wait: for its output, for changes of files, for time to pass; it does what is due meanwhile.

Whatever the network does, checks of the log files, stop requests and deadlines are never late.
"""

import logging
from collections.abc import Callable, Sequence

from logferry.client.net.waiting.poller import Poller
from logferry.client.net.waiting.readiness import READ, Readiness, Wait, poll
from logferry.client.net.waiting.wakeup import StopSignal
from logferry.config import ShipSettings
from logferry.errors import DeliveryAbandoned

logger = logging.getLogger(__name__)


class EngineWait:
    """Waits for one engine, in its thread."""

    def __init__(
        self,
        settings: ShipSettings,
        stop: StopSignal,
        *,
        clock: Callable[[], float],
        on_tick: Callable[[], None],
        on_stop: Callable[[], None],
        describe: Callable[[], str],
        poll: Wait = poll,
    ) -> None:
        """Call `on_tick` every poll interval (or later, see `once`) and after an announcement, and `on_stop` once.

        `describe` returns what is undelivered, for the message of a deadline.
        """
        self._settings = settings
        self._stop = stop
        self._clock = clock
        self._on_tick = on_tick
        self._on_stop = on_stop
        self._describe = describe
        self._poller = Poller(clock, poll)
        now = clock()
        self._next_tick = now + settings.poll_interval
        self._deadline = now + settings.deadline if settings.deadline else None
        self._drain_until: float | None = None

    def wait(self, interest: Readiness, timeout_s: float) -> dict[int, int]:
        """Wait until a descriptor is ready or `timeout_s` has passed (see Wait)."""
        end = self._clock() + timeout_s
        while not (ready := self.once(interest, end - self._clock())):
            if self._clock() >= end:
                break
        return ready

    def once(
        self,
        interest: Readiness,
        timeout_s: float,
        *,
        announcing: Sequence[int] = (),
        patience_s: float = 0.0,
    ) -> dict[int, int]:
        """Wait until a descriptor is ready, something wakes the engine, or `timeout_s` has passed; do what is due.

        Pass `announcing` descriptors only while the engine would take a batch. For `patience_s`, no tick is due
        unless one of them announces something, however long ago the last tick was.

        Raises DeliveryAbandoned when a deadline has passed.
        """
        now = self._clock()
        next_tick = max(self._next_tick, now + patience_s)
        ends = [now + timeout_s, next_tick, *(end for end in (self._deadline, self._drain_until) if end)]
        ready, is_announced = self._poll(interest, announcing, max(0.0, min(ends) - now))
        self._check_deadlines()
        self.notice_stop()  # after the check: even with no time to drain, a run with nothing to drain ends well
        begin = self._clock()
        is_due = begin >= next_tick
        if is_due or is_announced:
            self._on_tick()
            self._poller.pause(self._clock() - begin)
        if is_due:
            self._next_tick = self._clock() + self._settings.poll_interval
        return ready

    def notice(self) -> None:
        """Do what is due, without a wait, in the middle of work that may take minutes: a stop, a deadline, a tick.

        Raises DeliveryAbandoned when a deadline has passed.
        """
        self.wait({}, 0.0)

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._drain_until is not None

    def notice_stop(self) -> None:
        """Begin to drain, if a stop was requested."""
        if self._stop.is_requested and self._drain_until is None:
            self._drain_until = self._clock() + self._settings.shutdown_timeout
            wait_s = self._settings.shutdown_timeout
            logger.info("stopping: %s; waits at most %g s; a second signal exits at once", self._describe(), wait_s)
            self._on_stop()

    def _poll(self, interest: Readiness, announcing: Sequence[int], timeout_s: float) -> tuple[dict[int, int], bool]:
        wakeup = self._stop.wakeup
        ready, is_announced = self._poller.poll({**interest, wakeup.fileno(): READ}, announcing, timeout_s)
        if ready.pop(wakeup.fileno(), 0):
            wakeup.clear()
        return ready, is_announced

    def _check_deadlines(self) -> None:
        now = self._clock()
        if self._deadline is not None and now >= self._deadline:
            raise DeliveryAbandoned(f"the deadline of {self._settings.deadline:g} s has passed; {self._describe()}")
        if self._drain_until is not None and now >= self._drain_until:
            raise DeliveryAbandoned(
                f"stopped; {self._describe()} after {self._settings.shutdown_timeout:g} s of waiting"
            )
