"""The engine's only way to wait: for a socket, for news, or for time to pass; and what falls due meanwhile.

Whatever the network does, the look at the log file, a stop request and the deadlines are never late.
"""

import select
import socket
from collections.abc import Callable

from logferry.client.stop import StopSignal
from logferry.client.tcp_client import READ, WRITE
from logferry.config import ShipSettings
from logferry.errors import GaveUp


class Waiting:
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
    ) -> None:
        """`on_tick` is called every poll interval, `on_stop` once; `describe` says what a deadline cuts off."""
        self._settings = settings
        self._stop = stop
        self._clock = clock
        self._on_tick = on_tick
        self._on_stop = on_stop
        self._describe = describe
        now = clock()
        self._next_tick = now + settings.poll_interval
        self._deadline = now + settings.deadline if settings.deadline else None
        self._drain_until: float | None = None

    def wait(self, sock: socket.socket | None, events: int, timeout_s: float) -> int:
        """Wait the whole time, or until `sock` is ready (see tcp_client.Wait)."""
        end = self._clock() + timeout_s
        while not (ready := self.once(sock, events, end - self._clock())):
            if self._clock() >= end:
                break
        return ready

    def once(self, sock: socket.socket | None, events: int, timeout_s: float) -> int:
        """Wait until `sock` is ready, something wakes the engine, or the time is over; do what is due.

        Raises GaveUp when a deadline is over.
        """
        now = self._clock()
        ends = [now + timeout_s, self._next_tick, *(end for end in (self._deadline, self._drain_until) if end)]
        ready = self._poll(sock, events, max(0.0, min(ends) - now))
        self._check_deadlines()
        self.notice_stop()  # after the check: with no time to drain, a run that has nothing to drain still ends well
        if self._clock() >= self._next_tick:
            self._on_tick()
            self._next_tick = self._clock() + self._settings.poll_interval
        return ready

    def notice_stop(self) -> None:
        """Begin to drain, if a stop was asked for."""
        if self._stop.is_requested and self._drain_until is None:
            self._drain_until = self._clock() + self._settings.shutdown_timeout
            self._on_stop()

    def _poll(self, sock: socket.socket | None, events: int, timeout_s: float) -> int:
        poll = select.poll()
        wakeup = self._stop.wakeup
        poll.register(wakeup.fileno(), select.POLLIN)
        if sock is not None:
            poll.register(sock.fileno(), poll_mask(events))
        ready = 0
        for fd, mask in poll.poll(timeout_s * 1000):
            if fd == wakeup.fileno():
                wakeup.clear()
            else:
                ready = _events(mask) & events
        return ready

    def _check_deadlines(self) -> None:
        now = self._clock()
        if self._deadline is not None and now >= self._deadline:
            raise GaveUp(f"the deadline of {self._settings.deadline:g} s is over; {self._describe()}")
        if self._drain_until is not None and now >= self._drain_until:
            raise GaveUp(f"stopped; {self._describe()} after {self._settings.shutdown_timeout:g} s of waiting")


def poll_mask(events: int) -> int:
    """Return what `select.poll` calls READ and WRITE."""
    return (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0)


def _events(mask: int) -> int:
    """A socket that has failed is ready for everything: whoever uses it next is told."""
    has_failed = mask & ~(select.POLLIN | select.POLLOUT)
    can_read, can_write = mask & select.POLLIN or has_failed, mask & select.POLLOUT or has_failed
    return (READ if can_read else 0) | (WRITE if can_write else 0)
