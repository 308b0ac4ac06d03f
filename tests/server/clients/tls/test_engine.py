"""TLS in memory: what goes in comes out, in steps, and what only an attack would send ends it."""

import contextlib
import ssl

import pytest

from logferry.server.clients.tls.engine import TlsEngine, TlsViolation
from logferry.server.encryption import empty_context
from tests.support.certificates import issued
from tests.support.tls_client import client_context


class Pair:
    """An engine and a client that are connected."""

    def __init__(self, *, version: ssl.TLSVersion | None = None) -> None:
        context = empty_context(ssl.CERT_NONE)
        issued("localhost").configure_cert(context)
        self.engine = TlsEngine(context)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client_context(most=version).wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        while not self.engine.is_secured:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.client.do_handshake()
            self.engine.handshake(self.outgoing.read())
            self.incoming.write(self.engine.take_output())
        self.client.do_handshake()

    def sent(self, data: bytes, *, at_once: int = 16384) -> bytes:
        """Return records of the client."""
        for start in range(0, len(data), at_once):
            self.client.write(data[start : start + at_once])
        return self.outgoing.read()


DATA = bytes(range(256)) * 1000


def test_data_arrives_whole_and_byte_by_byte() -> None:
    pair = Pair()
    assert pair.engine.decrypt(pair.sent(DATA)) == DATA
    records = pair.sent(b"one more line\n")
    assert b"".join(pair.engine.decrypt(records[i : i + 1]) for i in range(len(records))) == b"one more line\n"
    assert pair.engine.held_bytes == 0


def test_an_incomplete_record_is_held_and_counted() -> None:
    pair = Pair()
    records = pair.sent(DATA[:16384])
    assert pair.engine.decrypt(records[:-1]) == b""
    assert pair.engine.held_bytes == len(records) - 1
    assert not pair.engine.has_more
    assert pair.engine.decrypt(records[-1:]) == DATA[:16384]


def test_a_step_decrypts_a_bounded_number_of_records() -> None:
    pair = Pair()
    taken = [pair.engine.decrypt(pair.sent(DATA[:1000], at_once=1))]
    while pair.engine.has_more:
        taken.append(pair.engine.decrypt())
    assert [len(each) for each in taken] == [256, 256, 256, 232]
    assert b"".join(taken) == DATA[:1000]


def test_records_without_data_end_the_connection() -> None:
    pair = Pair(version=ssl.TLSVersion.TLSv1_2)
    with pytest.raises((TlsViolation, ssl.SSLError)):
        pair.engine.decrypt(b"\x15\x03\x03\x00\x02\x01\x00" * 1000)  # warnings, not encrypted


def test_a_changed_byte_ends_the_connection() -> None:
    pair = Pair()
    records = bytearray(pair.sent(DATA[:1000]))
    records[500] ^= 1
    with pytest.raises(ssl.SSLError):
        pair.engine.decrypt(bytes(records))
    assert pair.engine.take_output()[:1] == b"\x17"  # an alert, encrypted


def test_a_record_that_is_too_long_is_refused_at_once() -> None:
    with pytest.raises(ssl.SSLError):
        Pair().engine.decrypt(b"\x17\x03\x03\xff\xff" + b"x" * 100)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_answers_can_be_sent_after_the_client_has_ended(version: ssl.TLSVersion) -> None:
    """Rule M17."""
    pair = Pair(version=version)
    pair.client.write(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        pair.client.unwrap()
    assert pair.engine.decrypt(pair.outgoing.read() + b"behind the end") == b"last"
    assert pair.engine.has_ended
    assert (pair.engine.has_more, pair.engine.held_bytes) == (False, 0)
    pair.incoming.write(pair.engine.encrypt(DATA[:40000]) + pair.engine.end())
    received = b""
    with contextlib.suppress(ssl.SSLZeroReturnError):
        while True:
            received += pair.client.read(65536)
    assert received == DATA[:40000]


def test_a_handshake_has_a_limit_of_bytes() -> None:
    engine = TlsEngine(empty_context(ssl.CERT_NONE))
    with pytest.raises((TlsViolation, ssl.SSLError)):
        engine.handshake((b"\x16\x03\x01\x40\x00" + b"\x01\x01\xff\xff" + bytes(16380)) * 20)
