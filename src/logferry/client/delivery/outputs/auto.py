"""The output that negotiates: the delivery extension if the server answers the hello, otherwise line acks (rule E2)."""

from typing import Final

from logferry.client.delivery.outputs.establish import Dial, Establish, KnownServers, closed_on_failure
from logferry.client.delivery.outputs.logferry import HELLO_TIMEOUT_S, LogferrySession, say_hello
from logferry.client.delivery.outputs.session import Session
from logferry.client.net.conversation.hello import answers_a_blank_line
from logferry.client.net.conversation.silence import require_silence_after_answer
from logferry.client.net.transports.transport import CLOSED, Transport
from logferry.client.net.waiting.steps import Steps
from logferry.config import ShipSettings
from logferry.errors import NotALogServer, PeerClosed, ProtocolError, TlsAlert
from logferry.protocol.delivery.client import DeliveryClientProtocol
from logferry.protocol.messages.answers import NotUnderstood, Welcome

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
        self._plain: Establish | None = None  # once the client has fallen back

    def __call__(self) -> Steps[Session]:
        """See Establish."""
        if self._plain is None:
            transport = yield from self._dial()
            with closed_on_failure(transport):
                session = yield from self._choose(transport)
            if session is not None:
                return session
            transport.close()
            self._fall_back()
        return (yield from self._establish_plain())

    def _fall_back(self) -> None:
        from logferry.client.delivery.outputs.line_acks import LineAckEstablish  # for servers without the extension

        self._plain = LineAckEstablish(self._dial, self._settings, is_guess=True)

    def _establish_plain(self) -> Steps[Session]:
        """Establish a session of the plain protocol; after another service's answer, the next attempt says hello."""
        assert self._plain
        try:
            return (yield from self._plain())
        except NotALogServer:
            self._plain, self._closed_hellos = None, 0
            raise

    def _choose(self, transport: Transport) -> Steps[Session | None]:
        """Say hello; return the session of a server that welcomes the client, None for one that speaks plain."""
        is_known, protocol = self._servers.knows_extension(self._server), DeliveryClientProtocol()
        try:
            answer = yield from say_hello(transport, protocol, self._settings, self._servers.client_id)
        except TlsAlert:
            raise
        except PeerClosed as error:
            self._closed_hellos += 1
            must_ask = not is_known and self._closed_hellos >= _HELLO_ATTEMPTS
            if must_ask and (yield from self._closes_on_hello()):
                self._fall_back()
            if self._settings.tls or str(error) != CLOSED:
                raise
            raise PeerClosed(f"{error} (if it speaks TLS, use --tls)") from error
        self._closed_hellos = 0
        match answer:
            case Welcome():
                self._servers.learn_extension(self._server)
                return LogferrySession(transport, self._settings, protocol, answer)
            case NotUnderstood() if not is_known:
                yield from require_silence_after_answer(transport, protocol.unread)
                return None
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
