"""The output that negotiates: the delivery extension if the server answers the hello, otherwise line acks (rule E2)."""

from typing import Final

from logferry.client.delivery.outputs.establish import Dial, KnownServers, closed_on_failure
from logferry.client.delivery.outputs.logferry import HELLO_TIMEOUT_S, LogferrySession, say_hello
from logferry.client.delivery.outputs.session import Session
from logferry.client.net.hello import answers_a_blank_line
from logferry.client.net.steps import Steps
from logferry.client.net.transport import Transport
from logferry.config import ShipSettings
from logferry.errors import PeerClosed, ProtocolError
from logferry.protocol.delivery_answers import InvalidAnswer, NotUnderstood, Welcome
from logferry.protocol.delivery_client import DeliveryClientProtocol

# When the server has closed this many connections in a row after the hello, find out whether the hello is the cause.
_HELLO_ATTEMPTS: Final = 3


class AutoEstablish:
    """See Establish. After falling back to the plain protocol, the client says no hello again in this run.

    A server that has ever known the extension never gets plain lines.
    """

    def __init__(self, dial: Dial, settings: ShipSettings, servers: KnownServers, *, server: str) -> None:
        self._dial = dial
        self._settings = settings
        self._servers = servers
        self._server = server
        self._closed_hellos = 0
        self._is_plain = False

    def __call__(self) -> Steps[Session]:
        """See Establish."""
        if self._is_plain:
            from logferry.client.delivery.outputs import line_acks  # for servers without the extension

            return (yield from line_acks.establish(self._dial, self._settings))
        transport = yield from self._dial()
        with closed_on_failure(transport):
            return (yield from self._choose(transport))

    def _choose(self, transport: Transport) -> Steps[Session]:
        is_known, protocol = self._servers.knows_extension(self._server), DeliveryClientProtocol()
        try:
            answer = yield from say_hello(transport, protocol, self._settings, self._servers.client_id)
        except PeerClosed:
            self._closed_hellos += 1
            if not is_known and self._closed_hellos >= _HELLO_ATTEMPTS:
                self._is_plain = yield from self._closes_on_hello()
            raise
        self._closed_hellos = 0
        match answer:
            case Welcome():
                self._servers.learn_extension(self._server)
                return LogferrySession(transport, self._settings, protocol, answer)
            case NotUnderstood() if not is_known:
                from logferry.client.delivery.outputs.line_acks import LineAckSession

                self._is_plain = True
                return LineAckSession(transport, self._settings)
            case InvalidAnswer(reason):
                raise ProtocolError(reason)
            case _:
                raise ProtocolError(
                    "the server no longer speaks the delivery extension; without it, lines may be stored twice"
                )

    def _closes_on_hello(self) -> Steps[bool]:
        """Whether the hello is what makes the server close the connection.

        A proxy whose server is down closes every connection too. Mistaking that for a server without the extension
        would cost exactly-once delivery, so the server must answer right before and right after it closes on a hello.
        """
        return (
            (yield from self._answers_a_blank_line())
            and (yield from self._closes_on_one_hello())
            and (yield from self._answers_a_blank_line())
        )

    def _answers_a_blank_line(self) -> Steps[bool]:
        transport = yield from self._dial()
        try:
            return (
                yield from answers_a_blank_line(transport, timeout_s=min(HELLO_TIMEOUT_S, self._settings.ack_timeout))
            )
        finally:
            transport.close()

    def _closes_on_one_hello(self) -> Steps[bool]:
        transport = yield from self._dial()
        try:
            yield from say_hello(transport, DeliveryClientProtocol(), self._settings, self._servers.client_id)
        except PeerClosed:
            return True
        finally:
            transport.close()
        return False
