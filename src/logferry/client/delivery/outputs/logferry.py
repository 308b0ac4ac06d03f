"""The output for the delivery extension: batches with their source and range; answers state how far a source is stored.

Exactly once. docs/protocol.md, rules E1 to E20. New messages of the server are handled here.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from logferry.client.delivery.output import (
    BatchRejected,
    Guarantee,
    Located,
    OutputEvent,
    OutputLimits,
    SourceAt,
    SourceDamaged,
    SourceRefused,
    Stalled,
    Stored,
    Withheld,
)
from logferry.client.delivery.outputs.encoding import DeliveryEncoder, open_line
from logferry.client.delivery.outputs.establish import Dial, KnownServers, closed_on_failure
from logferry.client.delivery.outputs.new_answers import NewAnswers, ack_patience_s
from logferry.client.delivery.outputs.sender import SendReport
from logferry.client.delivery.outputs.session import Session
from logferry.client.net.conversation.hello import greet
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.readiness import Readiness
from logferry.client.net.waiting.steps import Steps
from logferry.config import ShipSettings
from logferry.errors import NotAuthorised, ProtocolError
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.protocol.delivery.client import DeliveryClientProtocol
from logferry.protocol.messages.answers import (
    Alive,
    Answer,
    BatchRefused,
    Failed,
    InvalidAnswer,
    NotAdmitted,
    Position,
    Positions,
    Welcome,
    WindowRecorded,
)
from logferry.protocol.messages.client_state import ClientState
from logferry.protocol.messages.features import HEAL, WINDOWS
from logferry.protocol.messages.repairs import DamageNotice
from logferry.protocol.messages.writing import control_line

# A record without any text has 54 bytes: with a smaller limit than this, every line would have to be given up.
_LEAST_BATCH_BYTES: Final = 64

# A server that knows the hello answers it immediately, whatever its disk does.
HELLO_TIMEOUT_S: Final = 10.0


class LogferrySession(Session):
    """A connection to a server that has answered the hello with a welcome."""

    guarantee = Guarantee.EXACTLY_ONCE

    def __init__(
        self, transport: Transport, settings: ShipSettings, protocol: DeliveryClientProtocol, welcome: Welcome
    ) -> None:
        self._reports_windows = WINDOWS in welcome.features
        encoder = DeliveryEncoder(settings, reports_windows=self._reports_windows)
        super().__init__(transport, encoder, ack_timeout_s=settings.ack_timeout)
        self.limits = OutputLimits(welcome.max_batch_bytes, welcome.max_sources)
        self.store, self.features = welcome.store, welcome.features
        self._protocol = protocol
        self._opening: set[str] = set()  # opens without an answer yet
        self._new_answers = NewAnswers(limit_s=ack_patience_s(settings.ack_timeout))
        self._is_withheld = False  # at the last heartbeat, the server stored nothing
        self._is_locating = False  # a request for positions has no answer yet
        self._in_flight: dict[str, deque[Batch]] = {}  # by source, in order; no queue is empty
        self._reached: dict[str, int] = {}  # by source: no answer can be beyond this offset,
        self._stored: dict[str, int] = {}  # nor before this one
        self._windows: deque[Batch] = deque()  # unknown windows without an answer yet, in order

    def open(self, sources: Sequence[Source]) -> None:
        """See Output. All `open` messages go in one piece."""
        self._opening.update(source.id for source in sources)
        self._sender.add_control(b"".join(map(open_line, sources)))

    def locate(self, sources: Sequence[str]) -> None:
        """See Output."""
        self._is_locating = True
        self._sender.add_control(control_line("positions", sources=list(sources)))

    def ping(self, state: ClientState) -> None:
        """See Output."""
        self._sender.add_control(control_line("ping", **asdict(state)))

    def next_timer(self) -> float | None:
        """See Output. A notice may have come with the welcome."""
        return 0.0 if self._protocol.has_answers else super().next_timer()

    def drive(self, ready: Readiness, now: float, events: list[OutputEvent]) -> None:
        """See Session."""
        if self._protocol.has_answers:
            self._handle_data(b"", events)
        super().drive(ready, now, events)
        if self._new_answers.are_overdue(now, is_owed=self._expects_progress, is_withheld=self._is_withheld):
            events.append(Stalled(f"nothing but signs of life for {self._new_answers.waited_s(now):.0f} s"))

    @property
    def _expects_progress(self) -> bool:
        owes_answer = self._in_flight or self._opening or self._is_locating or self._windows
        return bool(owes_answer) or self._sender.has_output

    def _handle_data(self, data: bytes, events: list[OutputEvent]) -> bool:
        answers, before = self._protocol.receive_data(data), len(events)
        for answer in answers:
            self._handle_answer(answer, events)
        is_new = any(not isinstance(event, Withheld | SourceDamaged) for event in events[before:])
        self._new_answers.note(len(answers), is_new=is_new)
        return bool(answers)

    def _handle_answer(self, answer: Answer, events: list[OutputEvent]) -> None:
        match answer:
            case Position(is_answer_to_open=True) if answer.source in self._opening:
                self._opening.discard(answer.source)
                self._reached[answer.source] = self._stored[answer.source] = answer.committed
                events.append(SourceAt(answer.source, answer.committed, answer.lines, answer.crc32))
            case BatchRefused(source, _, reason, _) if source in self._opening:
                self._opening.discard(source)
                events.append(SourceRefused(source, reason))
            case Position(source, committed, is_answer_to_open=False):
                self._require_possible(source, committed)
                self._note_stored(source, committed, events)
            case Positions(found) if self._is_locating:
                self._is_locating = False
                events.append(Located(None if found is None else tuple(SourceAt(*at[:4]) for at in found)))
            case WindowRecorded(source) if self._windows and self._windows[0].source.id == source:
                events.append(Stored(self._windows.popleft(), 0))
            case BatchRefused(source, committed, reason, is_final) if source in self._in_flight:
                self._require_possible(source, committed)
                events.append(BatchRejected(source, committed, reason, is_final))
            case Alive() if self._is_withheld or not answer.is_storing:
                self._is_withheld = not answer.is_storing
                events.append(Withheld(answer.reason, answer.since))
            case DamageNotice(source):
                events.append(SourceDamaged(source))
            case Alive():
                pass
            case NotAdmitted(reason):
                raise NotAuthorised(reason)
            case InvalidAnswer(reason) | Failed(reason):
                raise ProtocolError(reason)
            case _:
                raise ProtocolError(
                    f"the server sent an answer that does not match any request: {type(answer).__name__}"
                )

    def _require_possible(self, source_id: str, committed: int) -> None:
        """Raise ProtocolError if a source cannot end there: nobody has sent that much, or more was stored before."""
        stored, reached = self._stored.get(source_id, 0), self._reached.get(source_id, 0)
        if committed > reached:
            raise ProtocolError(f"the server says that byte {committed} of a source is stored; it was sent {reached}")
        if committed < stored:
            raise ProtocolError(f"the server says that byte {committed} is the end of a source; it was {stored} before")

    def _note_stored(self, source_id: str, committed: int, events: list[OutputEvent]) -> None:
        """Append a Stored for each batch of a source that ends at or before `committed`.

        A batch is stored as a whole or not at all: raise ProtocolError if a position is within one.
        """
        queue = self._in_flight.get(source_id)
        while queue and queue[0].end <= committed:
            batch = queue.popleft()
            events.append(Stored(batch, batch.lines))
        if queue and queue[0].start < committed:
            raise ProtocolError(f"the server says that a batch is stored up to its middle, byte {committed}")
        if not queue:
            self._in_flight.pop(source_id, None)
        self._stored[source_id] = committed

    def _note_sent(self, report: SendReport, events: list[OutputEvent]) -> None:
        """See Session. Before a batch is being sent, no answer can be for it.

        Small batches are sent together: the first of them may have its answer before the last is sent.

        An unknown window that this server cannot record is not sent.
        """
        for batch in report.begun:
            if not batch.unknown:
                source_id = batch.source.id
                self._in_flight.setdefault(source_id, deque()).append(batch)
                self._reached[source_id] = max(batch.end, self._reached.get(source_id, 0))
            elif self._reports_windows:
                self._windows.append(batch)
            else:
                events.append(Stored(batch, 0))


def say_hello(
    transport: Transport, protocol: DeliveryClientProtocol, settings: ShipSettings, client_id: str
) -> Steps[Answer]:
    """Ask for the extension; return the answer. Raises PeerClosed or PeerTimeout if none arrives.

    Raises ProtocolError for a welcome with which no line could be delivered.
    """
    answer = yield from greet(
        transport,
        protocol,
        client_id=client_id,
        client_host=settings.host,
        encodings=("gzip",),
        timeout_s=min(HELLO_TIMEOUT_S, settings.ack_timeout),
        features=(HEAL,) if settings.self_heal else (),
        token_file=settings.token_file,
    )
    if isinstance(answer, Welcome) and (answer.version < 1 or answer.max_batch_bytes < _LEAST_BATCH_BYTES):
        raise ProtocolError(
            f"the server's welcome makes no sense: version {answer.version}, batches of {answer.max_batch_bytes} bytes"
        )
    return answer


def establish(dial: Dial, settings: ShipSettings, servers: KnownServers, *, server: str) -> Steps[Session]:
    """See Establish. A server that does not know the extension gets no lines."""
    transport, protocol = (yield from dial()), DeliveryClientProtocol()
    with closed_on_failure(transport):
        answer = yield from say_hello(transport, protocol, settings, servers.client_id)
        if not isinstance(answer, Welcome):
            raise ProtocolError("the server does not speak the delivery extension")
        servers.learn_extension(server)
        return LogferrySession(transport, settings, protocol, answer)
