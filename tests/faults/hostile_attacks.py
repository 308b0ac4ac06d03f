"""Attacks on a server: what hostile peers send, each bounded in connections, bytes and time (see hostile_peers.py).

An attack gets an `Arena`, attacks until the arena's time is over, and leaves its sockets to the arena.
"""

import gzip
import json
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from logferry.protocol.messages.writing import batch_header, control_line

MIB: Final = 1024 * 1024

_ANSWER_S: Final = 30.0

_HELLO: Final = control_line("hello", version=1, client="hostile", host="hostile", encodings=["gzip"])
_LINE: Final = b'{"level": "INFO", "message": "hostile", "timestamp": null}\n'


@dataclass(slots=True)
class Arena:
    """Where an attack takes place: the server's port, until when, and all sockets of the attack."""

    port: int
    until: float  # of time.monotonic
    sockets: list[socket.socket] = field(default_factory=list)
    tls_port: int = 0
    waits: list[float] = field(default_factory=list)  # of newcomers, in seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.until

    def connect(self, *first: bytes) -> socket.socket:
        """Return a connection that reads nothing, has a small buffer for answers, and has sent `first`."""
        peer = socket.socket()
        self.sockets.append(peer)
        peer.settimeout(1.0)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with suppress(OSError):
            peer.connect(("127.0.0.1", self.port))
            peer.sendall(b"".join(first))
        peer.setblocking(False)
        return peer

    def pour(self, peers: list[socket.socket], data: bytes, *, at_once: int = 64 * 1024) -> None:
        """Send `data` again and again over all connections, as fast as the server takes it."""
        sent = [0] * len(peers)
        while not self.is_over:
            moved = 0
            for number, peer in enumerate(peers):
                position = sent[number] % len(data)
                with suppress(OSError):
                    moved += (step := peer.send(data[position : position + at_once]))
                    sent[number] += step
            if not moved:
                time.sleep(0.01)

    def fill(self, size: int) -> None:
        """Have the server store this many bytes of lines, or fail to."""
        peer = self.connect()
        peer.setblocking(True)
        peer.sendall(_LINE * (size // len(_LINE)))
        peer.setblocking(False)

    def hold(self, *, trickle: bytes = b"", read: int = 0) -> None:
        """Keep all connections until the time is over; send and read a few bytes on each now and then."""
        while not self.is_over:
            for peer in self.sockets:
                with suppress(OSError):
                    if trickle:
                        peer.send(trickle)
                    if read:
                        peer.recv(read)
            time.sleep(0.1)

    def close(self) -> None:
        """Close all connections."""
        for peer in self.sockets:
            peer.close()


def _frame(payload: bytes) -> bytes:
    body = gzip.compress(payload, 9)
    return struct.pack(">I", len(body)) + body


def _gzip_batch(payload: bytes, *, source: str = "none") -> bytes:
    body = gzip.compress(payload, 9)
    lines = payload.count(b"\n")
    crc32 = zlib.crc32(payload)
    header = batch_header(
        source=source, start=0, end=len(payload), lines=lines, crc32=crc32, size=len(body), is_gzip=True
    )
    return header + body


def newline_batches(arena: Arena) -> None:
    """Batches of a few kilobytes that inflate to newlines: 32 MiB, and as many as a batch may have."""
    batches = [_gzip_batch(b"\n" * (size * MIB), source=source) for size in (32, 8) for source in ("none", "open")]
    while not arena.is_over:
        for batch in batches:
            arena.connect(_HELLO, control_line("open", source="open", path="/open", known=0), batch)
        time.sleep(0.1)


def newline_frames(arena: Arena, *, connections: int = 20) -> None:
    """Frames that inflate to 32 MiB of newlines, their answers read at a few hundred bytes a second."""
    frame = _frame(b"\n" * (32 * MIB))
    for _ in range(connections):
        arena.connect(frame)
    arena.hold(read=35)


def plain_newlines(arena: Arena) -> None:
    """32 MiB of newlines as plain lines, their answers read at a few hundred bytes a second."""
    peers = [arena.connect() for _ in range(4)]
    sent = [0] * len(peers)
    while not arena.is_over:
        for number, peer in enumerate(peers):
            with suppress(OSError):
                sent[number] += peer.send(b"\n" * min(MIB, 32 * MIB - sent[number])) if sent[number] < 32 * MIB else 0
            with suppress(OSError):
                peer.recv(35)
        time.sleep(0.05)


def unread_answers(arena: Arena) -> None:
    """40 connections of bad lines whose answers nobody reads; each bad line is bad in another way."""
    lines = b"".join(b'{"level": 1%s\n' % (b" " * (number % 50) + b"x" * (number % 3)) for number in range(2000))
    arena.pour([arena.connect() for _ in range(40)], lines + b"x\n\n" * 2000)


def notes(arena: Arena) -> None:
    """42,000 notes with the same start."""
    lines = b"".join(
        control_line("note", source="hostile", start=0, end=number, reason="x" * 200) for number in range(1, 42_001)
    )
    peer = arena.connect(_HELLO, control_line("open", source="hostile", path="/hostile", known=0))
    arena.pour([peer], lines)


def unread_reports(arena: Arena) -> None:
    """20 connections that ask for reports and read none; what they ask about has many extents and losses."""
    opening = control_line("open", source="reported", path="/reported", known=0)
    losses = b"".join(
        control_line("skip", source="reported", start=at, end=at + 1, reason="x" * 200) for at in range(200)
    )
    arena.connect(_HELLO, opening, losses)
    ask = control_line("report", source="reported", after=0)
    arena.pour([arena.connect(_HELLO) for _ in range(20)], ask)


def unread_content(arena: Arena) -> None:
    """Connections with 99 questions for half a megabyte each, whose answers nobody reads."""
    payload = _LINE * (4 * MIB // len(_LINE))
    header = batch_header(
        source="big",
        start=0,
        end=len(payload),
        lines=payload.count(b"\n"),
        crc32=zlib.crc32(payload),
        size=len(payload),
        is_gzip=False,
    )
    first = arena.connect()
    first.setblocking(True)
    first.settimeout(2.0)
    with suppress(OSError):
        first.sendall(_HELLO + control_line("open", source="big", path="/big", known=0) + header + payload)
        while b'"received"' not in first.recv(65536):
            pass
    ask = control_line("content", source="big", start=0, position=0, bytes=512 * 1024)
    while not arena.is_over:
        for _ in range(6):
            arena.connect(_HELLO, ask * 99)
        time.sleep(0.5)


def astral_paths(arena: Arena) -> None:
    """30,000 opens with paths of 4096 characters that need four bytes each."""
    path = "\U0001f600" * 4096
    for connection in range(4):
        lines = (
            control_line("open", source=f"astral-{connection}-{number}", path=f"/{number}/{path}", known=0)
            for number in range(7500)
        )
        peer = arena.connect(_HELLO)
        peer.setblocking(True)
        peer.settimeout(0.5)
        for line in lines:
            if arena.is_over:
                return
            with suppress(OSError):
                peer.sendall(line)
            peer.setblocking(False)
            with suppress(OSError):
                peer.recv(65536)
            peer.setblocking(True)
            peer.settimeout(0.5)
    arena.hold()


def many_sources(arena: Arena) -> None:
    """Many connections that each open as many sources as one may."""
    peers = []
    lines = []
    for connection in range(20):
        peers.append(arena.connect(_HELLO))
        lines.append(
            b"".join(
                control_line("open", source=f"many-{connection}-{number:040}", path="/p", known=0)
                for number in range(9990)
            )
        )
    sent = [0] * len(peers)
    while not arena.is_over:
        for number, peer in enumerate(peers):
            with suppress(OSError):
                sent[number] += peer.send(lines[number][sent[number] : sent[number] + 64 * 1024])
            with suppress(OSError):
                peer.recv(65536)


def unfinished_messages(arena: Arena, *, connections: int = 1000, size: int = 80_000) -> None:
    """A thousand messages that are never finished, a byte of each now and then."""
    beginning = b'{"level": "INFO", "message": "' + b"x" * size
    for _ in range(connections):
        if arena.is_over:
            return
        arena.connect(beginning)
    arena.hold(trickle=b"x")


def unfinished_batches(arena: Arena) -> None:
    """Batches of 8 MiB of which the last byte never comes."""
    header = batch_header(source="s", start=0, end=1, lines=1, crc32=1, size=8 * MIB, is_gzip=False)
    peers = [arena.connect(_HELLO, header) for _ in range(40)]
    left = [8 * MIB - 1] * len(peers)
    block = b"x" * MIB
    while not arena.is_over:
        for number, peer in enumerate(peers):
            with suppress(OSError):
                left[number] -= peer.send(block[: left[number]]) if left[number] else 0
        time.sleep(0.01)


def connection_flood(arena: Arena) -> None:
    """More connections than the server admits, again and again."""
    while not arena.is_over:
        if len(arena.sockets) >= 400:
            arena.sockets.pop(0).close()
        arena.connect()


def trickling_strangers(arena: Arena) -> None:
    """The beginnings of proxy headers and of other protocols, byte by byte."""
    beginnings = (b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n", b"GET / HTTP/1.1", b"SSH-2.0", b'{"logf', b"\0\0")
    for number in range(300):
        if arena.is_over:
            return
        arena.connect(beginnings[number % len(beginnings)])
    arena.hold(trickle=b"1")


def nested_arrays(arena: Arena) -> None:
    """Lines of 8 MB of nested arrays."""
    line = b'{"level": "INFO", "message": ' + b"[" * (4 * MIB - 64) + b"]" * (4 * MIB - 64) + b"}\n"
    arena.pour([arena.connect() for _ in range(3)], line, at_once=MIB)


def long_lines(arena: Arena) -> None:
    """Compressed batches and frames with one line of 33 MB."""
    line = b'{"level": "INFO", "message": "%s"}\n' % (b"x" * 33_000_000)
    batch, frame = _gzip_batch(line), _frame(line)
    while not arena.is_over:
        arena.connect(_HELLO, control_line("open", source="none", path="/long", known=0), batch)
        arena.connect(frame)
        time.sleep(0.3)


def unread_pings(arena: Arena) -> None:
    """Pings and hellos whose answers nobody reads."""
    arena.pour([arena.connect(_HELLO) for _ in range(20)], control_line("ping"))


def waiting_questions(arena: Arena) -> None:
    """Questions of the largest size, as many as may wait."""
    ask = json.dumps({"logferry": "positions", "sources": ["x" * 64] * 500}).encode() + b"\n"
    while not arena.is_over:
        if len(arena.sockets) < 300:
            arena.connect(_HELLO, ask * 99)
        time.sleep(0.005)


@contextmanager
def _tls_newcomers(arena: Arena) -> Iterator[None]:
    """Meanwhile, one honest client after the other connects with TLS, and waits for the ack of a line."""

    def come() -> None:
        while not arena.is_over:
            began = time.monotonic()
            while not _is_acked(arena) and time.monotonic() < began + _ANSWER_S:
                time.sleep(0.01)
            arena.waits.append(time.monotonic() - began)
            time.sleep(0.1)

    thread = threading.Thread(target=come, daemon=True)
    thread.start()
    yield
    thread.join(_ANSWER_S + 5.0)


def _is_acked(arena: Arena) -> bool:
    address = "127.0.0.1", arena.tls_port
    with suppress(OSError), socket.create_connection(address, 2.0) as plain, _any_server().wrap_socket(plain) as peer:
        peer.sendall(_LINE)
        return b"received" in peer.recv(4096)
    return False


def _any_server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _client_hello() -> bytes:
    tls, hello = ssl.create_default_context(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        tls.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    return hello.read()


def tls_handshakes(arena: Arena) -> None:
    """Handshakes that begin, cost the server a signature, and are never finished; as many as one thread can begin."""
    first, arena.port = _client_hello(), arena.tls_port
    with _tls_newcomers(arena):
        while not arena.is_over:
            if len(arena.sockets) >= 1500:
                arena.sockets.pop(0).close()
            arena.connect(first)


def tls_hundred(arena: Arena) -> None:
    """A hundred peers that each begin a handshake, stall for a moment, and begin another one."""
    first, arena.port = _client_hello(), arena.tls_port
    with _tls_newcomers(arena):
        while not arena.is_over:
            for _ in range(len(arena.sockets), 100):
                arena.connect(first)
            for peer in [peer for peer in arena.sockets if _has_answered(peer)]:
                arena.sockets.remove(peer)
                peer.close()


def tls_completed(arena: Arena) -> None:
    """Peers that complete handshakes, leave and begin anew at once."""

    def shake() -> None:
        context = _any_server()
        while not arena.is_over:
            with suppress(OSError), socket.create_connection(("127.0.0.1", arena.tls_port), 1.0) as plain:
                context.wrap_socket(plain).close()

    with _tls_newcomers(arena):
        threads = [threading.Thread(target=shake, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _has_answered(peer: socket.socket) -> bool:
    try:
        peer.recv(64 * 1024)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def tls_halves(arena: Arena) -> None:
    """The beginnings of handshakes, byte by byte."""
    arena.port = arena.tls_port
    with _tls_newcomers(arena):
        for _ in range(1500):
            if arena.is_over:
                return
            arena.connect(b"\x16\x03\x01\x40\x00")
        arena.hold(trickle=b"\x01")


def _secured(arena: Arena) -> ssl.SSLSocket:
    """Return a connection that is through its handshake."""
    peer = _any_server().wrap_socket(socket.create_connection(("127.0.0.1", arena.tls_port), 5.0))
    arena.sockets.append(peer)
    return peer


def tls_idle(arena: Arena) -> None:
    """A thousand connections that are secured, and silent: what each costs."""
    for _ in range(1000):
        _secured(arena)
    arena.hold()


def tls_small_records(arena: Arena) -> None:
    """Lines in records of one byte each: 28 bytes, and a call of OpenSSL, for each byte."""
    peers = [_secured(arena) for _ in range(30)]
    while not arena.is_over:
        for peer in peers:
            with suppress(OSError):
                for byte in _LINE:
                    peer.send(bytes((byte,)))


ATTACKS: Final[Mapping[str, Callable[[Arena], None]]] = MappingProxyType(
    {
        attack.__name__.replace("_", "-"): attack
        for attack in (
            newline_batches,
            newline_frames,
            plain_newlines,
            unread_answers,
            notes,
            unread_reports,
            unread_content,
            astral_paths,
            many_sources,
            unfinished_messages,
            unfinished_batches,
            connection_flood,
            trickling_strangers,
            nested_arrays,
            long_lines,
            unread_pings,
            waiting_questions,
            tls_handshakes,
            tls_hundred,
            tls_completed,
            tls_halves,
            tls_idle,
            tls_small_records,
        )
    }
)
