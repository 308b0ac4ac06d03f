"""The output for receivers that do not answer (`--ack none`): lines count as stored once the kernel has them.

Best effort: whatever the receiver had not read when it died is lost. docs/protocol.md, rule C7.
"""

from logferry.client.delivery.output import Guarantee, OutputEvent, OutputLimits, Stored
from logferry.client.delivery.outputs.encoding import PlainEncoder
from logferry.client.delivery.outputs.establish import Dial
from logferry.client.delivery.outputs.line_acks import plain_protocol
from logferry.client.delivery.outputs.sender import SendReport
from logferry.client.delivery.outputs.session import Session
from logferry.client.net.conversation.hand_over import hand_over
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.readiness import WRITE, Readiness
from logferry.client.net.waiting.steps import Steps
from logferry.config import ShipSettings
from logferry.errors import SPEAKS_TLS, NotALogServer
from logferry.model.batch import Batch
from logferry.protocol.plain.acks import answered


class UnacknowledgedSession(Session):
    """A connection to a receiver whose answers, if it sends any, are ignored."""

    guarantee = Guarantee.BEST_EFFORT
    limits = OutputLimits()

    def __init__(self, transport: Transport, settings: ShipSettings) -> None:
        encoder = PlainEncoder(settings, plain_protocol(settings))
        self._taken: list[Batch] = []  # by the transport, which may still have a part of them
        super().__init__(transport, encoder, ack_timeout_s=settings.ack_timeout)

    def hand_over(self) -> Steps[None]:
        """See Session: wait until the receiver's kernel has confirmed every byte."""
        return hand_over(self._transport, timeout_s=self._ack_timeout_s)

    @property
    def _expects_progress(self) -> bool:
        return self._sender.has_output or bool(self._taken)

    def _handle_data(self, data: bytes, events: list[OutputEvent]) -> bool:
        if answered(data) == SPEAKS_TLS:
            raise NotALogServer(SPEAKS_TLS)
        return False

    def drive(self, ready: Readiness, now: float, events: list[OutputEvent]) -> None:
        """See Session. An encrypting transport takes more than the kernel does at the moment."""
        super().drive(ready, now, events)
        if self._taken and not self._transport.wants() & WRITE:
            events.extend(Stored(batch, batch.lines - batch.acked) for batch in self._taken)
            self._taken.clear()

    def _note_sent(self, report: SendReport, events: list[OutputEvent]) -> None:
        self._taken += report.finished


def establish(dial: Dial, settings: ShipSettings) -> Steps[Session]:
    """See Establish. Says no hello."""
    return UnacknowledgedSession((yield from dial()), settings)
