"""Headers of the PROXY protocol: both versions, in whatever pieces they come, and nothing that is not exactly one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.protocol.opening.opening import Opening, Speaks
from logferry.protocol.opening.proxy_header import MAX_HEADER_BYTES, MalformedHeader, ProxyHeader, read_header
from logferry.protocol.strangers import NO_HEADER, PROXY_V2_SIGNATURE
from tests.support.running import numbered_line
from tests.support.strangers import PROXY_V2


def v2(command: int, family: int, body: bytes, *, length: int | None = None) -> bytes:
    """Return a header of version 2."""
    size = len(body) if length is None else length
    return PROXY_V2_SIGNATURE + bytes([command, family]) + struct.pack(">H", size) + body


TCP4 = bytes([10, 1, 2, 3, 127, 0, 0, 1]) + struct.pack(">HH", 40000, 9000)
TCP6 = bytes(15) + b"\1" + bytes(15) + b"\2" + struct.pack(">HH", 5, 9000)
MAPPED = bytes(10) + b"\xff\xff\x0a\1\2\3" + bytes(16) + struct.pack(">HH", 5, 9000)

GOOD = {
    "v1 TCP4": (b"PROXY TCP4 10.1.2.3 127.0.0.1 40000 9000\r\n", "10.1.2.3", 40000),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "2001:db8::1", 1),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "", 0),
    "v1 unknown with more": (b"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n", "", 0),
    "v2 TCP4": (v2(0x21, 0x11, TCP4), "10.1.2.3", 40000),
    "v2 TCP6": (v2(0x21, 0x21, TCP6), "::1", 5),
    "v2 IPv4 as IPv6": (v2(0x21, 0x21, MAPPED), "10.1.2.3", 5),
    "v2 with more": (v2(0x21, 0x11, TCP4 + b"\x04\0\1x"), "10.1.2.3", 40000),
    "v2 local": (v2(0x20, 0, b""), "", 0),
    "v2 local with more": (v2(0x20, 0x11, TCP4), "", 0),
    "v2 unspecified": (v2(0x21, 0, b"xyz"), "", 0),
    "v2 UNIX": (v2(0x21, 0x31, bytes(216)), "", 0),
}

BAD = {
    "nothing of the kind": numbered_line(1),
    "a hello": b'{"logferry": "hello"}\n',
    "lower case": b"proxy TCP4 10.1.2.3 127.0.0.1 1 2\r\n",
    "no carriage return": b"PROXY TCP4 10.1.2.3 127.0.0.1 1 2\n",
    "two spaces": b"PROXY TCP4  10.1.2.3 127.0.0.1 1 2\r\n",
    "a port too many": b"PROXY TCP4 10.1.2.3 127.0.0.1 1 2 3\r\n",
    "a port too large": b"PROXY TCP4 10.1.2.3 127.0.0.1 65536 2\r\n",
    "a port with a zero": b"PROXY TCP4 10.1.2.3 127.0.0.1 01 2\r\n",
    "a short address": b"PROXY TCP4 10.1.2 127.0.0.1 1 2\r\n",
    "an address with zeros": b"PROXY TCP4 010.1.2.3 127.0.0.1 1 2\r\n",
    "the wrong family": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "an unknown family": b"PROXY UDP4 10.1.2.3 127.0.0.1 1 2\r\n",
    "an endless line": b"PROXY UNKNOWN " + b"x" * 107,
    "v2 of version 1": v2(0x11, 0x11, TCP4),
    "v2 of an unknown command": v2(0x22, 0x11, TCP4),
    "v2 of a datagram": v2(0x21, 0x12, TCP4),
    "v2 of an unknown family": v2(0x21, 0x41, TCP4),
    "v2 too short": v2(0x21, 0x11, TCP4[:11]),
    "v2 too long": v2(0x21, 0x11, TCP4, length=MAX_HEADER_BYTES),
}


@pytest.mark.parametrize("step", [1, 5, 10_000])
@pytest.mark.parametrize("name", GOOD)
def test_a_header_says_where_the_client_is(name: str, step: int) -> None:
    """Rule M13."""
    header, address, port = GOOD[name]
    assert read_header(header + b"rest") == ProxyHeader(len(header), address, port)
    opening, data = Opening(expects_header=True), header + numbered_line(1)
    shown = [opening.receive_data(data[start : start + step]) for start in range(0, len(data), step)]
    first = next(each for each in shown if each is not None)
    assert first.peer is Speaks.PLAIN
    assert first.data in numbered_line(1)
    assert opening.header == ProxyHeader(len(header), address, port)


@pytest.mark.parametrize("step", [1, 5, 10_000])
@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_not_a_header(name: str, step: int) -> None:
    """Rule M13."""
    opening, data = Opening(expects_header=True), BAD[name]
    shown = [opening.receive_data(data[start : start + step]) for start in range(0, len(data), step)]
    assert next(each for each in shown if each is not None).peer == NO_HEADER


@given(st.sampled_from([header for header, _, _ in GOOD.values()]), st.data())
def test_a_header_cut_short_is_incomplete(header: bytes, data: st.DataObject) -> None:
    assert read_header(header[: data.draw(st.integers(0, len(header) - 1))]) is None


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY TCP4 ", PROXY_V2_SIGNATURE, PROXY_V2[:14]]))
def test_no_bytes_make_it_fail_or_hold_more_than_its_limit(data: bytes, beginning: bytes) -> None:
    try:
        header = read_header(beginning + data)
    except MalformedHeader:
        return
    assert header is None or 0 < header.size <= MAX_HEADER_BYTES
