"""Whether a server would serve this client: a connection, the hello, and a sign of life that says whether it stores.

Owns what "well" means for a server that a client may go back to. Never sends a line, and never falls back.
"""

import contextlib

from logferry.client.net.connect import dial
from logferry.client.net.endpoint import Endpoint
from logferry.client.net.hello import greet, told_alive
from logferry.client.net.steps import Steps
from logferry.config import ShipSettings
from logferry.errors import DeliveryError
from logferry.protocol.delivery_answers import Welcome
from logferry.protocol.delivery_client import DeliveryClientProtocol


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
            answer = yield from greet(
                transport,
                protocol,
                client_id=client_id,
                client_host=settings.host,
                encodings=("gzip",),
                timeout_s=settings.ack_timeout,
                token_file=settings.token_file,
            )
            if not isinstance(answer, Welcome):
                return ""  # a server without the extension
            alive = yield from told_alive(transport, protocol, timeout_s=settings.ack_timeout)
        except DeliveryError as error:
            return f"{endpoint}: {error}"
    return "" if alive.is_storing else f"{endpoint} stores nothing: {alive.reason}"
