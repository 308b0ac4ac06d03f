"""The output for the plain protocol: JSON lines or frames, one answer for each line, in order. At least once."""

from logferry.client.delivery.output import Guarantee, LineRejected, OutputEvent, OutputLimits, Stalled, Stored
from logferry.client.delivery.outputs.answer_step import AnswerHistory, AnswerStep
from logferry.client.delivery.outputs.encoding import PlainEncoder
from logferry.client.delivery.outputs.establish import Dial
from logferry.client.delivery.outputs.sender import SendReport
from logferry.client.delivery.outputs.session import Session
from logferry.client.delivery.outputs.unanswered_lines import UnansweredLines
from logferry.client.net.conversation.hello import is_foreign
from logferry.client.net.conversation.silence import require_silence_when_nothing_is_sent
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.readiness import Readiness
from logferry.client.net.waiting.steps import Steps
from logferry.config import ShipSettings
from logferry.errors import NotALogServer, NotAuthorised, PeerClosed
from logferry.model.batch import Batch
from logferry.protocol.plain.acks import answered
from logferry.protocol.plain.client import Acked, Denied, InvalidAck, PlainClientProtocol, Refused


class LineAckSession(Session):
    """A connection to a server that answers each line (docs/protocol.md, rules A1 to A6 and C1 to C5)."""

    guarantee = Guarantee.AT_LEAST_ONCE
    limits = OutputLimits()  # the server judges single lines, and does not know sources

    def __init__(self, transport: Transport, settings: ShipSettings, history: AnswerHistory) -> None:
        self._step = AnswerStep(history)
        self._protocol = plain_protocol(settings)
        self._unanswered = UnansweredLines()
        super().__init__(transport, PlainEncoder(settings, self._protocol), ack_timeout_s=settings.ack_timeout)

    def submit(self, batch: Batch) -> bool:
        """See Output."""
        return not self._step.is_pausing and super().submit(batch)

    def next_timer(self) -> float | None:
        """See Output."""
        timers = [timer for timer in (super().next_timer(), self._step.deadline) if timer is not None]
        return min(timers, default=None)

    def drive(self, ready: Readiness, now: float, events: list[OutputEvent]) -> None:
        """See Session. Answers that are not certain to be in step are not reported (rule C9)."""
        if self._step.is_certain:
            super().drive(ready, now, events)
            return
        try:
            super().drive(ready, now, events)
        except PeerClosed:
            self._end_uncertain(events)
            raise
        if events and isinstance(events[-1], Stalled):
            stalled = events.pop()
            self._end_uncertain(events)
            events.append(stalled)
        else:
            events.extend(self._step.settle(now, is_complete=not self._expects_progress))

    def _end_uncertain(self, events: list[OutputEvent]) -> None:
        if is_foreign(self._protocol.unread):
            self._step.discard()
            raise NotALogServer(answered(self._protocol.unread)) from None
        events.extend(self._step.end(is_complete=not self._expects_progress))

    @property
    def _expects_progress(self) -> bool:
        return bool(self._unanswered) or self._sender.has_output

    @property
    def _stall_reason(self) -> str:
        return f"{super()._stall_reason} (a receiver that never answers needs --ack none)"

    def _handle_data(self, data: bytes, events: list[OutputEvent]) -> bool:
        report = events.append if self._step.is_certain else self._step.hold
        answers = self._protocol.receive_data(data)
        for answer in answers:
            match answer:
                case Acked(lines):
                    for batch, count in self._unanswered.answer(lines):
                        report(Stored(batch, count))
                case Refused(reason):
                    batch, line = self._unanswered.next_line()
                    list(self._unanswered.answer(1))
                    report(LineRejected(batch, line, reason))
                case Denied(reason):
                    raise NotAuthorised(reason)
                case InvalidAck(reason):
                    raise NotALogServer(reason)
        return bool(answers)

    def _note_sent(self, report: SendReport, events: list[OutputEvent]) -> None:
        for batch in report.begun:
            self._unanswered.add(batch)
        events.extend(Stored(batch, 0) for batch in report.finished if not batch.lines)


def plain_protocol(settings: ShipSettings) -> PlainClientProtocol:
    """Return the client's side of the plain protocol."""
    level = settings.compress_level if settings.compress else None
    return PlainClientProtocol(lines_per_send=settings.batch_size, compress_level=level)


class LineAckEstablish:
    """See Establish. Says no hello."""

    def __init__(self, dial: Dial, settings: ShipSettings, *, is_guess: bool = False) -> None:
        """`is_guess`: nobody has said that the server is a log server (see AnswerHistory)."""
        self._dial = dial
        self._settings = settings
        self._history = AnswerHistory(has_stored=not is_guess)

    def __call__(self) -> Steps[Session]:
        """See Establish. Raises NotALogServer if the server answers a connection on which nothing is sent (rule C8)."""
        silent = yield from self._dial()
        try:
            yield from require_silence_when_nothing_is_sent(silent)
        finally:
            silent.close()
        return LineAckSession((yield from self._dial()), self._settings, self._history)
