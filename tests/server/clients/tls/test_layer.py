"""The layer of TLS between a socket's transport and a connection, without either."""

import asyncio
import ssl
from unittest.mock import Mock

from logferry.server.clients.tls.handshakes import Handshakes
from logferry.server.clients.tls.layer import TlsLayer, TlsServices


def test_a_handshake_that_has_failed_holds_no_state_of_openssl_while_its_connection_lingers() -> None:
    """Two thousand such connections had 300 MB: OpenSSL keeps room for the message that was announced."""
    loop, above, below = Mock(), Mock(), Mock(spec=asyncio.Transport)
    loop.time.return_value = 0.0
    below.is_closing.return_value = False
    below.get_extra_info.return_value = ("127.0.0.1", 5000)
    services = TlsServices(
        handshakes=Handshakes(loop),
        context=lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        network_of=str,
        call_soon=Mock(),
    )
    layer = TlsLayer(above, services)
    above.handshake_failed.side_effect = lambda *_: layer.write_eof()
    layer.connection_made(below)
    layer.data_received(b"\x16\x03\x01\x00\x04\x01\x00\xff\xff" + b"x" * 1000)
    layer.step()
    above.handshake_failed.assert_called_once()
    below.write_eof.assert_called_once()
    assert layer._engine is None
    layer.data_received(b"what the peer still sends")
    layer.connection_lost(None)
