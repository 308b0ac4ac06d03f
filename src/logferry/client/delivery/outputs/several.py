"""An output to one of several servers: the present one, until the choice names another.

Owns the probes of earlier servers, and when a server that stores nothing is left. Must never choose a server itself:
that is server_choice.py. docs/protocol.md, rule E41.
"""

from collections.abc import Callable, Sequence
from typing import Final

from logferry.client.delivery.output import Connected, Disconnected, OutputEvent, Stalled, Withheld
from logferry.client.delivery.outputs.server_output import ServerOutput
from logferry.client.delivery.positions.resume import StartOver
from logferry.client.delivery.servers.server_choice import ServerChoice
from logferry.client.net.waiting.readiness import Readiness
from logferry.client.net.waiting.steps import Steps, Task
from logferry.errors import DeliveryError, ServerFull
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.client_state import ClientState

# A server that stores nothing, but says so, is left after this time; that of a full disk may end by itself.
_WITHHELD_S: Final = 5.0

# Before the client goes back, it waits for the answers that it is owed, so that nothing is sent twice; at most so long.
_DRAIN_S: Final = 10.0

Probe = Callable[[], Steps[str]]
"""Connects to a server and says hello. Returns "" if it is well, or else why not; raises no DeliveryError."""

Check = Callable[[], Steps[int]]
"""Returns of how many sources a server has less than it acked; raises no DeliveryError."""


class SeveralServersOutput:
    """See Output."""

    def __init__(
        self,
        outputs: Sequence[ServerOutput],
        probes: Sequence[Probe],
        choice: ServerChoice,
        *,
        checks: Sequence[Check] = (),
    ) -> None:
        """The lists are in the order of the choice. Without `checks`, nothing can be sent again."""
        self._outputs = outputs
        self._probes = probes
        self._choice = choice
        self._present: ServerOutput = outputs[choice.current]
        self._is_connected = False
        self._withheld_since: float | None = None
        self._withheld = ""
        self._probed = 0
        self._probing: Task[str] | None = None
        self._checks = checks
        self._checked = 0
        self._checking: Task[int] | None = None
        self._visits: tuple[int, int] | None = None  # a later server that is to be visited, and what it lacks
        self._leaves_at: float | None = None  # at the latest, to go back

    def connect(self, now: float) -> None:
        """See Output."""
        self._present = self._outputs[self._choice.current]
        self._present.connect(now)

    def open(self, sources: Sequence[Source]) -> None:
        """See Output."""
        self._present.open(sources)

    def locate(self, sources: Sequence[str]) -> None:
        """See Output."""
        self._present.locate(sources)

    def ping(self, state: ClientState) -> None:
        """See Output."""
        self._present.ping(state)

    def submit(self, batch: Batch) -> bool:
        """See Output. A server that the client is about to leave gets nothing more."""
        return self._leaves_at is None and self._present.submit(batch)

    def interest(self) -> Readiness:
        """See Output."""
        interest = dict(self._present.interest())
        for task in (self._probing, self._checking):
            if task is not None:
                interest |= task.interest()
        return interest

    def next_timer(self) -> float | None:
        """See Output."""
        timers = [self._present.next_timer(), self._leaves_at]
        if self._withheld_since is not None:
            timers.append(self._withheld_since + _WITHHELD_S)
        tasks = [task for task in (self._probing, self._checking) if task is not None]
        timers += [task.deadline for task in tasks]
        if self._is_connected and not tasks:
            timers.append(self._choice.next_timer)
        return min((timer for timer in timers if timer is not None), default=None)

    def drive(self, ready: Readiness, now: float) -> list[OutputEvent]:
        """See Output."""
        events = self._present.drive(ready, now)
        for event in events:
            match event:
                case Connected():
                    self._is_connected = True
                    self._choice.connected(now)
                case Withheld(reason, _):
                    self._withheld = reason
                    self._withheld_since = (self._withheld_since or now) if reason else None
                case Disconnected() | Stalled():
                    self._forget_connection()
        if self._is_connected and (error := self._why_leave(ready, now)) is not None:
            self.abandon()
            events.append(Disconnected(error))
        return events

    def abandon(self) -> None:
        """See Output."""
        self._present.abandon()
        self._forget_connection()

    @property
    def is_finishing(self) -> bool:
        """See Output."""
        return self._present.is_finishing

    def finish(self, now: float) -> None:
        """See Output."""
        self._present.finish(now)

    def _forget_connection(self) -> None:
        self._is_connected = False
        self._withheld_since, self._withheld, self._leaves_at = None, "", None
        for task in (self._probing, self._checking):
            if task is not None:
                task.cancel()
        self._probing = self._checking = self._visits = None

    def _why_leave(self, ready: Readiness, now: float) -> DeliveryError | None:
        """Return why the client leaves its server now, if it does."""
        if self._withheld_since is not None and now - self._withheld_since >= _WITHHELD_S:
            return ServerFull(f"it stores nothing: {self._withheld}")
        self._go_on_probing(ready, now)
        self._go_on_checking(ready, now)
        earlier = self._choice.to_return_to(now)
        if earlier is None and self._visits is None:
            self._leaves_at = None
            return None
        if self._leaves_at is None:
            self._leaves_at = now + _DRAIN_S
        if self._present.is_owed and now < self._leaves_at:
            return None
        if earlier is not None:
            self._choice.go_back(earlier)
        elif self._visits is not None:
            self._choice.visit(*self._visits, now)
        return StartOver("going on at another server")

    def _go_on_probing(self, ready: Readiness, now: float) -> None:
        if self._probing is None:
            due = self._choice.probe_due(now)
            if due is None:
                return
            self._probed, self._probing = due, Task(self._probes[due](), now)
        self._probing.advance(ready, now)
        if self._probing.is_done:
            problem, self._probing = self._probing.result, None
            self._choice.probed(self._probed, problem, now)

    def _go_on_checking(self, ready: Readiness, now: float) -> None:
        if self._checking is None:
            due = self._choice.check_due(now) if self._checks else None
            if due is None:
                return
            self._checked, self._checking = due, Task(self._checks[due](), now)
        self._checking.advance(ready, now)
        if self._checking.is_done:
            lacks, self._checking = self._checking.result, None
            if lacks:
                self._visits = (self._checked, lacks)
