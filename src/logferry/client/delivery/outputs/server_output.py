"""An output to one server: it connects, runs one session after the other, and finishes.

The session knows the protocol; `establish` knows how to connect and negotiate.
"""

from collections.abc import Sequence

from logferry.client.delivery.output import Connected, Disconnected, OutputEvent
from logferry.client.delivery.outputs.establish import Establish
from logferry.client.delivery.outputs.session import Session
from logferry.client.net.waiting.readiness import Readiness
from logferry.client.net.waiting.steps import Task
from logferry.errors import DeliveryError, NotALogServer
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.messages.client_state import ClientState


class ServerOutput:
    """See Output."""

    def __init__(self, server: str, establish: Establish) -> None:
        """`server` names the peer for people, as "host:port"."""
        self._server = server
        self._establish = establish
        self._connecting: Task[Session] | None = None
        self._session: Session | None = None
        self._finishing: Task[None] | None = None

    def connect(self, now: float) -> None:
        """See Output."""
        self._connecting = Task(self._establish(), now)

    def open(self, sources: Sequence[Source]) -> None:
        """See Output."""
        if self._session is not None:
            self._session.open(sources)

    def locate(self, sources: Sequence[str]) -> None:
        """See Output."""
        if self._session is not None:
            self._session.locate(sources)

    def ping(self, state: ClientState) -> None:
        """See Output."""
        if self._session is not None:
            self._session.ping(state)

    def submit(self, batch: Batch) -> bool:
        """See Output."""
        return self._session is not None and self._session.submit(batch)

    def interest(self) -> Readiness:
        """See Output."""
        if task := self._finishing or self._connecting:
            return task.interest()
        return self._session.interest() if self._session else {}

    def next_timer(self) -> float | None:
        """See Output."""
        if task := self._finishing or self._connecting:
            return task.deadline
        return self._session.next_timer() if self._session else None

    def drive(self, ready: Readiness, now: float) -> list[OutputEvent]:
        """See Output."""
        events: list[OutputEvent] = []
        try:
            if self._finishing:
                self._continue_finishing(self._finishing, ready, now)
            elif self._connecting:
                self._continue_connecting(self._connecting, ready, now, events)
            elif self._session:
                self._session.drive(ready, now, events)
        except NotALogServer as error:
            self.abandon()
            events.append(Disconnected(NotALogServer(error.what, self._server)))
        except DeliveryError as error:
            self.abandon()
            events.append(Disconnected(error))
        return events

    def abandon(self) -> None:
        """See Output."""
        for task in (self._connecting, self._finishing):
            if task is not None:
                task.cancel()
        if self._session is not None:
            self._session.close()
        self._connecting = self._finishing = self._session = None

    @property
    def is_finishing(self) -> bool:
        """See Output."""
        return self._finishing is not None

    def finish(self, now: float) -> None:
        """See Output."""
        steps = self._session.hand_over() if self._session else None
        if steps is not None:
            self._finishing = Task(steps, now)

    @property
    def is_owed(self) -> bool:
        """Whether the server owes an answer, or has not taken everything yet."""
        return self._session is not None and self._session.is_owed

    def _continue_connecting(
        self, task: Task[Session], ready: Readiness, now: float, events: list[OutputEvent]
    ) -> None:
        task.advance(ready, now)
        if task.is_done:
            session = task.result
            self._connecting, self._session = None, session
            events.append(Connected(self._server, session.guarantee, session.limits, session.store, session.features))

    def _continue_finishing(self, task: Task[None], ready: Readiness, now: float) -> None:
        task.advance(ready, now)
        if task.is_done:
            self.abandon()
