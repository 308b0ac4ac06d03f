"""The hello that begins a connection, and requests to a server that knows the delivery extension.

Every request whose caller waits for the answer goes through this module. docs/protocol.md, rules E1 to E3, E14, E19.
The login that follows a hello is here, too (rule E40).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.client.net.transports.transport import Transport, receive_some
from logferry.client.net.waiting.readiness import READ, WRITE
from logferry.client.net.waiting.steps import Await, Steps
from logferry.errors import NotALogServer, NotAuthorised, PeerClosed, PeerTimeout, ProtocolError
from logferry.printable import in_seconds
from logferry.protocol.delivery.client import DeliveryClientProtocol
from logferry.protocol.messages.answers import Alive, Answer, InvalidAnswer, NotAdmitted, NotUnderstood, Welcome
from logferry.protocol.messages.writing import VERSION, control_line
from logferry.protocol.plain.acks import answered

# Heartbeats alone keep a request alive for this long (or for its timeout): a report may read a lot from a slow disk. A
# server sends one every few seconds.
_PATIENCE_S: Final = 300.0
_MAX_HEARTBEATS: Final = 10_000


def greet(
    transport: Transport,
    protocol: DeliveryClientProtocol,
    *,
    client_id: str,
    client_host: str,
    encodings: Sequence[str],
    timeout_s: float,
    features: Sequence[str] = (),
    token_file: Path | None = None,
) -> Steps[Answer]:
    """Send the hello of the client `client_host`; return the answer, a Welcome if the server knows the extension.

    A server that asks for a token gets the one in `token_file`.

    Raises PeerClosed or PeerTimeout if no answer arrives, NotALogServer if the answer is another service's, and
    NotAuthorised if the server does not admit the client.
    """
    fields = {"version": VERSION, "client": client_id, "host": client_host, "encodings": list(encodings)}
    fields |= {"features": list(features)} if features else {}
    hello = control_line("hello", **fields)
    try:
        answer = yield from ask(transport, protocol, hello, timeout_s=timeout_s, what="the hello")
    except (PeerClosed, PeerTimeout):
        if is_foreign(protocol.unread):
            raise NotALogServer(answered(protocol.unread)) from None
        raise
    if isinstance(answer, Welcome) and answer.auth:
        answer = yield from _log_in(transport, protocol, answer.auth, token_file, timeout_s)
    if isinstance(answer, NotAdmitted):
        raise NotAuthorised(answer.reason)
    if isinstance(answer, InvalidAnswer):
        raise NotALogServer(answer.reason)
    return answer


def _log_in(
    transport: Transport, protocol: DeliveryClientProtocol, wanted: str, token_file: Path | None, timeout_s: float
) -> Steps[Answer]:
    """Send the token; return the answer (rule E40). Raises NotAuthorised if it cannot or must not be sent."""
    if wanted != "token":
        raise NotAuthorised(f"the server wants a proof of identity that this client does not know: {wanted}")
    if token_file is None:
        raise NotAuthorised("not authorised: the server wants a token (--token-file)")
    if not transport.is_private():
        raise NotAuthorised("the server wants a token, but others could read it: use --tls")
    from logferry.client.net.connecting.token import read_token  # late: most clients have none

    auth = control_line("auth", token=read_token(token_file))
    return (yield from ask(transport, protocol, auth, timeout_s=timeout_s, what="the token"))


def is_foreign(unfinished: bytes) -> bool:
    """Whether the beginning of an answer shows that it will not be one of a log server's."""
    return bool(unfinished) and not unfinished.startswith(b"{")


def answers_a_blank_line(transport: Transport, *, timeout_s: float) -> Steps[bool]:
    """Whether a server is up and speaks the plain protocol, in which even a blank line gets an answer (rule L5)."""
    try:
        answer = yield from ask(transport, DeliveryClientProtocol(), b"\n", timeout_s=timeout_s, what="a blank line")
    except (PeerClosed, PeerTimeout):
        return False
    return isinstance(answer, NotUnderstood)


def ask(
    transport: Transport, protocol: DeliveryClientProtocol, question: bytes, *, timeout_s: float, what: str
) -> Steps[Answer]:
    """Send a request, which messages call `what`; return the answer.

    Raises PeerClosed, or PeerTimeout when neither the answer nor a heartbeat arrives for `timeout_s`, or nothing but
    heartbeats for much longer. Raises ProtocolError for a flood of heartbeats.
    """
    yield from _send_all(transport, question, timeout_s)
    left_s, waited_s, heartbeats = timeout_s, 0.0, 0
    while True:
        if not transport.has_buffered():
            resumed = yield Await(transport.fileno(), READ | transport.wants(), max(0.0, left_s))
            waited_s += resumed.waited_s
            if not resumed.ready or waited_s > max(_PATIENCE_S, timeout_s):
                raise PeerTimeout(f"the server has not answered {what} within {in_seconds(max(timeout_s, waited_s))}")
            left_s -= resumed.waited_s
        answers = protocol.receive_data(receive_some(transport) or b"")
        for place, answer in enumerate(answers):
            if not isinstance(answer, Alive):
                protocol.put_back(answers[place + 1 :])  # notices, which no request has asked for
                return answer
            left_s = timeout_s
            heartbeats += 1
            if heartbeats > _MAX_HEARTBEATS:
                raise ProtocolError(f"the server has sent {heartbeats} signs of life instead of an answer to {what}")


def told_alive(transport: Transport, protocol: DeliveryClientProtocol, *, timeout_s: float) -> Steps[Alive]:
    """Ping a server; return its sign of life. Raises PeerClosed or PeerTimeout if it does not answer."""
    yield from _send_all(transport, control_line("ping"), timeout_s)
    for _ in range(_MAX_HEARTBEATS):
        if not transport.has_buffered():
            resumed = yield Await(transport.fileno(), READ | transport.wants(), max(0.0, timeout_s))
            timeout_s -= resumed.waited_s
            if not resumed.ready:
                raise PeerTimeout("the server has not answered a ping")
        for answer in protocol.receive_data(receive_some(transport) or b""):
            if isinstance(answer, Alive):
                return answer
    raise ProtocolError("the server sends everything but an answer to a ping")


def _send_all(transport: Transport, data: bytes, timeout_s: float) -> Steps[None]:
    rest = memoryview(data)
    while True:
        rest = rest[transport.send((rest,), more=False) :]
        if not rest:
            return
        if not (yield Await(transport.fileno(), WRITE | transport.wants(), timeout_s)).ready:
            raise PeerTimeout("the server accepts no data")
