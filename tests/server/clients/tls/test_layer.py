"""The layer of TLS between a socket's transport and a connection, without either."""

import asyncio
import ssl
from unittest.mock import Mock

import pytest

from logferry.server.clients.tls.handshakes import Handshakes
from logferry.server.clients.tls.layer import TlsLayer, TlsServices


def layer_of(above: Mock, below: Mock) -> TlsLayer:
    """Return a layer of a client that has connected from 127.0.0.1."""
    loop = Mock()
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
    layer.connection_made(below)
    return layer


def test_a_handshake_that_has_failed_holds_no_state_of_openssl_while_its_connection_lingers() -> None:
    """Two thousand such connections had 300 MB: OpenSSL keeps room for the message that was announced."""
    above, below = Mock(), Mock(spec=asyncio.Transport)
    layer = layer_of(above, below)
    above.handshake_failed.side_effect = lambda *_: layer.write_eof()
    layer.data_received(b"\x16\x03\x01\x00\x04\x01\x00\xff\xff" + b"x" * 1000)
    layer.step()
    above.handshake_failed.assert_called_once()
    below.write_eof.assert_called_once()
    assert layer._engine is None
    layer.data_received(b"what the peer still sends")
    layer.connection_lost(None)


@pytest.mark.parametrize(
    ("header", "network"),
    [
        (b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 9443\r\n", "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 9443\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ],
    ids=["an IPv4 address", "an IPv6 address", "the proxy itself"],
)
def test_handshakes_of_a_proxys_clients_take_turns_by_the_address_that_the_proxy_states(
    header: bytes, network: str
) -> None:
    """One client of the proxy with many handshakes would keep out all others."""
    layer = layer_of(Mock(), Mock(spec=asyncio.Transport))
    layer.begin(expects_header=True)
    assert layer.network == "127.0.0.1"
    for byte in header:
        layer.data_received(bytes([byte]))
    assert layer.network == network


def test_a_client_that_waits_for_its_first_step_has_no_state_of_openssl_yet() -> None:
    """Thousands that sent their first message together would have it at the same time."""
    layer = layer_of(Mock(), Mock(spec=asyncio.Transport))
    layer.data_received(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
    assert layer._engine is None
    layer.step()
    assert layer._engine is not None
