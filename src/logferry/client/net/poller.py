"""Waiting for descriptors of which some announce changes of log files.

Those (Reader.wake_fds) stay readable until the reader has looked in its `poll`. So whoever waits for them must call
that at once, and must wait for them only while it would take a batch: else a file that grows would keep it busy doing
nothing.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from logferry.client.net.readiness import READ, Readiness, Wait, poll

# Between two announcements. A line that comes after a quiet moment is seen at once; of a file that grows all the time
# a few milliseconds' worth is taken together (benchmarks/latency.py), and descriptors that announce without an end
# cannot keep a processor busy.
PAUSE_S: Final = 0.002

# With thousands of files that grow all the time, looking at them takes as long as reading them, and one line at a time
# costs both ends most. So lines gather for this many times as long as the last look took (with 1,000 files a quarter
# of a second), up to a limit.
PAUSE_FACTOR: Final = 6.0
MAX_PAUSE_S: Final = 0.5


class Poller:
    """Polls descriptors, some of which announce changes of files. For one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wait: Wait = poll) -> None:
        """`wait` is the system's way to wait; time passes in it as `clock` says."""
        self._clock = clock
        self._wait = wait
        self._paused_until = clock()

    def poll(self, interest: Readiness, announcing: Sequence[int], timeout_s: float) -> tuple[dict[int, int], bool]:
        """Wait for descriptors to be ready for what is asked of them, or for one of those announcing.

        Return what is ready (nothing when the time is over), and whether there was an announcement. After one, the
        poller ignores announcements for PAUSE_S.
        """
        pause_s = self._paused_until - self._clock() if announcing else 0.0
        if pause_s > 0:
            ready = self._wait(interest, min(pause_s, timeout_s))
            if ready or pause_s >= timeout_s:
                return ready, False
            timeout_s -= pause_s
        ready = self._wait({**dict.fromkeys(announcing, READ), **interest}, timeout_s)
        announced = [fd for fd in announcing if ready.pop(fd, 0)]
        if announced:
            self._paused_until = self._clock() + PAUSE_S
        return ready, bool(announced)

    def pause(self, took_s: float) -> None:
        """Pause polling for announcements in proportion to how long the last look at the files took."""
        self._paused_until = max(self._paused_until, self._clock() + min(PAUSE_FACTOR * took_s, MAX_PAUSE_S))
