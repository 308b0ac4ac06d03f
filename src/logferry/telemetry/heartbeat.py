"""Whether a thread that must never hang still turns: it beats while it works, and rests while it waits for events.

Owns how long is too long. Never looks by itself: another thread asks for the verdict.
"""

import time
from collections.abc import Callable
from typing import Final

from logferry.telemetry.status_source import Verdict

# No step of a loop takes a tenth of a second, but a slow disk or a machine that swaps has held one up for seconds. A
# supervisor that restarts the process costs less than peers that wait for ever, and more than a few late acks.
HANGS_AFTER_S: Final = 30.0


class Heartbeat:
    """The beats of one thread. That thread calls `beat` and `rest`; any thread may ask for the verdict."""

    def __init__(self, name: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`name` is what turns, such as "the event loop"."""
        self._name = name
        self._clock = clock
        self._last: float | None = None  # resting, or not begun

    def beat(self) -> None:
        """Note that the thread works, and will beat or rest soon."""
        self._last = self._clock()

    def rest(self) -> None:
        """Note that the thread waits, or has ended: nothing is expected from it."""
        self._last = None

    def verdict(self) -> Verdict:
        """Return whether the thread turns, or since when it has not."""
        last = self._last
        if last is None or (silent_s := self._clock() - last) <= HANGS_AFTER_S:
            return Verdict.ready()
        return Verdict.not_ready(f"{self._name} has not turned for {silent_s:.0f} s")
