"""Whether a server would serve this client, and still has what it has acked: short connections beside delivery.

Owns what "well" means for a server that a client may go back to. Never sends a line, and never falls back.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from logferry.client.net.connecting.connect import dial
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.hello import ask, greet, told_alive
from logferry.client.net.transports.transport import Transport
from logferry.client.net.waiting.steps import Steps
from logferry.config import ShipSettings
from logferry.errors import DeliveryError, ProtocolError
from logferry.protocol.delivery.client import DeliveryClientProtocol
from logferry.protocol.messages.answers import Answer, Positions, Welcome
from logferry.protocol.messages.features import POSITIONS
from logferry.protocol.messages.writing import MAX_LOCATED, control_line

Expected = Sequence[tuple[str, int]]
"""Sources by their ids, each with the offset up to which a store must have it."""

_UNKNOWN: Final = 0  # a server that cannot be asked lacks nothing, as far as is known


def examined(endpoint: Endpoint, settings: ShipSettings, client_id: str) -> Steps[str]:
    """Return "" if the server is well, or else why not."""
    try:
        transport = yield from dial(endpoint, timeout_s=settings.connect_timeout, warns=False)
    except DeliveryError as error:
        return str(error)
    with contextlib.closing(transport):
        if settings.ack != "auto":  # a hello may be taken for a line
            return ""
        protocol = DeliveryClientProtocol()
        try:
            answer = yield from _hello(transport, protocol, settings, client_id)
            if not isinstance(answer, Welcome):
                return ""  # a server without the extension
            alive = yield from told_alive(transport, protocol, timeout_s=settings.ack_timeout)
        except DeliveryError as error:
            return f"{endpoint}: {error}"
    return "" if alive.is_storing else f"{endpoint} stores nothing: {alive.reason}"


def lacking(endpoint: Endpoint, settings: ShipSettings, client_id: str, store: str, expected: Expected) -> Steps[int]:
    """Return of how many sources a server has less than it acked, 0 also if it cannot be asked.

    `store` is the store that acked them: at a server with another one, all of them are missing.
    """
    try:
        transport = yield from dial(endpoint, timeout_s=settings.connect_timeout, warns=False)
        with contextlib.closing(transport):
            protocol = DeliveryClientProtocol()
            welcome = yield from _hello(transport, protocol, settings, client_id)
            if not isinstance(welcome, Welcome) or not welcome.store or POSITIONS not in welcome.features:
                return _UNKNOWN
            if welcome.store != store:
                return len(expected)
            lacks = 0
            for page in _pages(expected):
                question = control_line("positions", sources=[source_id for source_id, _ in page])
                answer = yield from ask(
                    transport, protocol, question, timeout_s=settings.ack_timeout, what="a request for positions"
                )
                if not isinstance(answer, Positions):
                    raise ProtocolError("the server's answer to a request for positions is something else")
                if answer.found is None:
                    return _UNKNOWN
                found = {position[0]: position[1] for position in answer.found}
                lacks += sum(found.get(source_id, 0) < committed for source_id, committed in page)
            return lacks
    except DeliveryError:
        return _UNKNOWN


def _pages(expected: Expected) -> Iterator[Expected]:
    for start in range(0, len(expected), MAX_LOCATED):
        yield expected[start : start + MAX_LOCATED]


def _hello(
    transport: Transport, protocol: DeliveryClientProtocol, settings: ShipSettings, client_id: str
) -> Steps[Answer]:
    return greet(
        transport,
        protocol,
        client_id=client_id,
        client_host=settings.host,
        encodings=("gzip",),
        timeout_s=settings.ack_timeout,
        token_file=settings.token_file,
    )
