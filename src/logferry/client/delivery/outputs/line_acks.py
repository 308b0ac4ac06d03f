"""The output for the plain protocol: JSON lines or frames, one answer for each line, in order. At least once."""

from logferry.client.delivery.output import Guarantee, LineRejected, OutputEvent, OutputLimits, Stored
from logferry.client.delivery.outputs.encoding import PlainEncoder
from logferry.client.delivery.outputs.establish import Dial
from logferry.client.delivery.outputs.sender import SendReport
from logferry.client.delivery.outputs.session import Session
from logferry.client.delivery.outputs.unanswered_lines import UnansweredLines
from logferry.client.net.steps import Steps
from logferry.client.net.transport import Transport
from logferry.config import ShipSettings
from logferry.errors import ProtocolError
from logferry.protocol.plain_client import Acked, InvalidAck, PlainClientProtocol, Refused


class LineAckSession(Session):
    """A connection to a server that answers each line (docs/protocol.md, rules A1 to A6 and C1 to C5)."""

    guarantee = Guarantee.AT_LEAST_ONCE
    limits = OutputLimits()  # the server judges single lines, and does not know sources

    def __init__(self, transport: Transport, settings: ShipSettings) -> None:
        self._protocol = plain_protocol(settings)
        self._unanswered = UnansweredLines()
        super().__init__(transport, PlainEncoder(settings, self._protocol), ack_timeout_s=settings.ack_timeout)

    @property
    def _expects_progress(self) -> bool:
        return bool(self._unanswered) or self._sender.has_output

    @property
    def _stall_reason(self) -> str:
        return f"{super()._stall_reason} (a receiver that never answers needs --ack none)"

    def _handle_data(self, data: bytes, events: list[OutputEvent]) -> bool:
        answers = self._protocol.receive_data(data)
        for answer in answers:
            match answer:
                case Acked(lines):
                    events.extend(Stored(batch, count) for batch, count in self._unanswered.answer(lines))
                case Refused(reason):
                    batch, line = self._unanswered.next_line()
                    list(self._unanswered.answer(1))
                    events.append(LineRejected(batch, line, reason))
                case InvalidAck(reason):
                    raise ProtocolError(reason)
        return bool(answers)

    def _note_sent(self, report: SendReport, events: list[OutputEvent]) -> None:
        for batch in report.begun:
            self._unanswered.add(batch)
        events.extend(Stored(batch, 0) for batch in report.finished if not batch.lines)


def plain_protocol(settings: ShipSettings) -> PlainClientProtocol:
    """Return the client's side of the plain protocol."""
    level = settings.compress_level if settings.compress else None
    return PlainClientProtocol(lines_per_send=settings.batch_size, compress_level=level)


def establish(dial: Dial, settings: ShipSettings) -> Steps[Session]:
    """See Establish. Says no hello."""
    return LineAckSession((yield from dial()), settings)
