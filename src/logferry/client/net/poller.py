"""The engine's only way to wait: for a socket, for news, or for time to pass; and what falls due meanwhile.

Whatever the network does, the look at the log file, a stop request and the deadlines are never late.

Some descriptors announce news of files (Reader.wake_fds). They stay readable until the reader takes the news in its
`poll`, so whoever waits for them must have that called at once, and must only wait for them while it would take a
batch: else the news of a file that grows would keep it busy doing nothing.
"""

import math
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from logferry.client.net.connect import READ, WRITE
from logferry.client.net.wakeup import StopSignal
from logferry.config import ShipSettings
from logferry.errors import GaveUp

# Between two announcements. A line that comes after a quiet moment is seen at once; of a file that grows all the time
# a few milliseconds' worth is taken together (benchmarks/latency.py), and descriptors that announce without an end
# cannot keep a processor busy.
REST_S: Final = 0.002

# Of thousands of files that grow all the time, to take the news takes as long as to read them, and one line at a time
# costs both ends most: for so many times as long as that took, lines gather (with 1,000 files a quarter of a second).
REST_SHARE: Final = 6.0
MOST_REST_S: Final = 0.5


class Poller:
    """Polls descriptors, some of which announce news of files. For one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rest_until = clock()

    def poll(
        self, wanted: Mapping[int, int], announcing: Sequence[int], timeout_s: float
    ) -> tuple[dict[int, int], bool]:
        """Wait for descriptors to be ready for what is `wanted` of them, or for one of those announcing.

        Returns the masks of those that are ready (select.poll's; none when the time is over), and whether there was an
        announcement. After one, others are not listened to for REST_S.
        """
        rest_s = self._rest_until - self._clock() if announcing else 0.0
        if rest_s > 0:
            ready = _poll(wanted, min(rest_s, timeout_s))
            if ready or rest_s >= timeout_s:
                return ready, False
            timeout_s -= rest_s
        ready = _poll({**dict.fromkeys(announcing, select.POLLIN), **wanted}, timeout_s)
        announced = [fd for fd in announcing if ready.pop(fd, 0)]
        if announced:
            self._rest_until = self._clock() + REST_S
        return ready, bool(announced)

    def rest(self, took_s: float) -> None:
        """To take the news has taken so long: do not listen for a time that is in proportion to that."""
        self._rest_until = max(self._rest_until, self._clock() + min(REST_SHARE * took_s, MOST_REST_S))


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
        """`on_tick` is called every poll interval (or later, see `once`) and when there is news, `on_stop` once.

        `describe` says what a deadline cuts off.
        """
        self._settings = settings
        self._stop = stop
        self._clock = clock
        self._on_tick = on_tick
        self._on_stop = on_stop
        self._describe = describe
        self._lookout = Poller(clock)
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

    def once(
        self,
        sock: socket.socket | None,
        events: int,
        timeout_s: float,
        *,
        announcing: Sequence[int] = (),
        patience_s: float = 0.0,
    ) -> int:
        """Wait until `sock` is ready, something wakes the engine, or the time is over; do what is due.

        `announcing` descriptors are only for an engine that would take a batch now. For `patience_s` nobody needs a
        tick unless they announce something, however long ago the last one was. Raises GaveUp when a deadline is over.
        """
        now = self._clock()
        next_tick = max(self._next_tick, now + patience_s)
        ends = [now + timeout_s, next_tick, *(end for end in (self._deadline, self._drain_until) if end)]
        ready, has_news = self._poll(sock, events, announcing, max(0.0, min(ends) - now))
        self._check_deadlines()
        self.notice_stop()  # after the check: with no time to drain, a run that has nothing to drain still ends well
        begin = self._clock()
        is_due = begin >= next_tick
        if is_due or has_news:
            self._on_tick()
            self._lookout.rest(self._clock() - begin)
        if is_due:
            self._next_tick = self._clock() + self._settings.poll_interval
        return ready

    def notice_stop(self) -> None:
        """Begin to drain, if a stop was asked for."""
        if self._stop.is_requested and self._drain_until is None:
            self._drain_until = self._clock() + self._settings.shutdown_timeout
            self._on_stop()

    def _poll(
        self, sock: socket.socket | None, events: int, announcing: Sequence[int], timeout_s: float
    ) -> tuple[int, bool]:
        wakeup = self._stop.wakeup
        wanted = {wakeup.fileno(): select.POLLIN}
        if sock is not None:
            wanted[sock.fileno()] = poll_mask(events)
        ready, has_news = self._lookout.poll(wanted, announcing, timeout_s)
        if wakeup.fileno() in ready:
            wakeup.clear()
        mask = ready.get(sock.fileno(), 0) if sock is not None else 0
        return _events(mask) & events, has_news

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


def _poll(wanted: Mapping[int, int], timeout_s: float) -> dict[int, int]:
    poll = select.poll()
    for fd, mask in wanted.items():
        poll.register(fd, mask)
    return dict(poll.poll(None if timeout_s == math.inf else timeout_s * 1000))
