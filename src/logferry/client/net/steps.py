"""Procedures with waits in them, written straight on: connecting, saying hello, asking, handing over.

A procedure is a generator that yields an `Await` wherever it has to wait. So the same text serves an engine that has
other things to do meanwhile (`Task`), a command that has not (`run`), and tests that have neither socket nor clock.
"""

from collections.abc import Callable, Generator
from typing import Generic, NamedTuple, TypeVar, cast

from logferry.client.net.readiness import Readiness, Wait

T = TypeVar("T")


class Await(NamedTuple):
    """Go on when `fd` is ready for one of `events`, or when `timeout_s` is over; without `fd`, only then."""

    fd: int | None
    events: int
    timeout_s: float


class Resumed(NamedTuple):
    """What ended a wait: `ready` is what the descriptor is ready for (0: the time was over)."""

    ready: int
    waited_s: float


Steps = Generator[Await, Resumed, T]


class Task(Generic[T]):
    """Steps under way, for an engine that waits for several things at once."""

    def __init__(self, steps: Steps[T], now: float) -> None:
        """The first step is taken by the first `advance`."""
        self._steps = steps
        self._awaited: Await | None = None
        self._since = now
        self._result: T | None = None
        self.is_done = False

    @property
    def result(self) -> T:
        """What the steps returned; only when `is_done`."""
        return cast("T", self._result)

    @property
    def deadline(self) -> float:
        """When `advance` must be called at the latest."""
        return self._since + (self._awaited.timeout_s if self._awaited else 0.0)

    def interest(self) -> dict[int, int]:
        """Return what the steps wait for."""
        if self.is_done or self._awaited is None or self._awaited.fd is None:
            return {}
        return {self._awaited.fd: self._awaited.events}

    def advance(self, ready: Readiness, now: float) -> None:
        """Take the next steps if what they wait for has come, or its time is over. Raises what they raise."""
        awaited = self._awaited
        try:
            if awaited is None:
                self._awaited, self._since = next(self._steps), now
                return
            events = ready.get(awaited.fd, 0) & awaited.events if awaited.fd is not None else 0
            if events or now >= self.deadline:
                self._awaited, self._since = self._steps.send(Resumed(events, now - self._since)), now
        except StopIteration as end:
            self._result = end.value
            self.is_done = True

    def cancel(self) -> None:
        """End the steps where they are; they release what they hold."""
        self._steps.close()


def run(steps: Steps[T], *, wait: Wait, clock: Callable[[], float]) -> T:
    """Take all steps and return their result. Raises what they raise, or what `wait` raises."""
    task = Task(steps, clock())
    try:
        task.advance({}, clock())
        while not task.is_done:
            ready = wait(task.interest(), max(0.0, task.deadline - clock()))
            task.advance(ready, clock())
    finally:
        task.cancel()
    return task.result
