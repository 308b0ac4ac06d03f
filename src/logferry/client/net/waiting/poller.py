"""Waiting for descriptors, some of which announce changes of log files.

Announcing descriptors (Reader.wake_fds) stay readable until the reader has checked the files in its `poll`. So the
waiting thread must call that `poll` immediately, and may include these descriptors only while it would take a batch:
otherwise a growing file would keep the thread busy doing nothing.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from logferry.client.net.waiting.readiness import READ, Readiness, Wait, poll

# The pause after an announcement. A line that is written after a quiet moment is noticed immediately; a file that grows
# continuously is read a few milliseconds' worth at a time (benchmarks/latency.py), and descriptors that never stop
# announcing cannot keep a processor busy.
PAUSE_S: Final = 0.002

# With thousands of growing files, checking the files takes as long as reading them, and single lines cost both ends the
# most. So lines accumulate for this many times the duration of the last check (a quarter of a second with 1,000 files),
# up to a limit.
PAUSE_FACTOR: Final = 6.0
MAX_PAUSE_S: Final = 0.5


class Poller:
    """Polls descriptors, some of which announce changes of files. For one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wait: Wait = poll) -> None:
        """`wait` waits for descriptors; `clock` must measure the time that passes in it."""
        self._clock = clock
        self._wait = wait
        self._paused_until = clock()

    def poll(self, interest: Readiness, announcing: Sequence[int], timeout_s: float) -> tuple[dict[int, int], bool]:
        """Wait until a descriptor of `interest` is ready, or one of `announcing` is readable, at most `timeout_s`.

        Return what is ready (empty after a timeout), and whether anything was announced. After an announcement, the
        poller ignores further ones for PAUSE_S.
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
        """Pause polling for announcements in proportion to how long the last check of the files took."""
        self._paused_until = max(self._paused_until, self._clock() + min(PAUSE_FACTOR * took_s, MAX_PAUSE_S))
