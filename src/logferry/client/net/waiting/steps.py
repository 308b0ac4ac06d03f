"""Procedures that wait, written as straight-line code: connecting, saying hello, requesting, finishing.

A procedure is a generator that yields an `Await` wherever it has to wait. So the same code serves an engine that has
other things to do meanwhile (`Task`), a command that has not (`run`), and tests without sockets and clocks.
"""

from collections.abc import Callable, Generator
from typing import Generic, NamedTuple, TypeVar, cast

from logferry.client.net.waiting.readiness import Readiness, Wait

T = TypeVar("T")


class Await(NamedTuple):
    """Resume when `fd` is ready for one of `events` or `timeout_s` has passed; without `fd`, after the timeout."""

    fd: int | None
    events: int
    timeout_s: float


class Resumed(NamedTuple):
    """What ended a wait: `ready` is what the descriptor is ready for, 0 after a timeout."""

    ready: int
    waited_s: float


Steps = Generator[Await, Resumed, T]


class Task(Generic[T]):
    """Steps in progress, for an engine that waits for several things at the same time."""

    def __init__(self, steps: Steps[T], now: float) -> None:
        """Nothing runs before the first `advance`."""
        self._steps = steps
        self._awaited: Await | None = None
        self._since = now
        self._result: T | None = None
        self.is_done = False

    @property
    def result(self) -> T:
        """What the steps have returned; valid once `is_done`."""
        return cast("T", self._result)

    @property
    def deadline(self) -> float:
        """The latest time to call `advance`."""
        return self._since + (self._awaited.timeout_s if self._awaited else 0.0)

    def interest(self) -> dict[int, int]:
        """Return the descriptor that the steps wait for, if any."""
        if self.is_done or self._awaited is None or self._awaited.fd is None:
            return {}
        return {self._awaited.fd: self._awaited.events}

    def advance(self, ready: Readiness, now: float) -> None:
        """Resume the steps if what they wait for is ready, or after its timeout. Raises what the steps raise."""
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
        """Stop the steps where they are; their cleanup releases what they hold."""
        self._steps.close()


def run(steps: Steps[T], *, wait: Wait, clock: Callable[[], float]) -> T:
    """Run all steps and return their result. Raises what the steps or `wait` raise."""
    task = Task(steps, clock())
    try:
        task.advance({}, clock())
        while not task.is_done:
            ready = wait(task.interest(), max(0.0, task.deadline - clock()))
            task.advance(ready, clock())
    finally:
        task.cancel()
    return task.result
