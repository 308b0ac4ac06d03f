"""Attacks that hold what all clients share: turns, passes of the loop, the writer, sources, reports and places.

What an attack cannot see by the honest client of the arena, which is connected before it begins, a newcomer tries while
the attack goes on: how long that one waits is added to `arena.waits`.
"""

import socket
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from logferry.protocol.messages.writing import batch_header, control_line
from tests.faults.hostile_attacks import MIB, Arena

# How many connections the server takes in the attack that keeps them all.
FEW_CONNECTIONS: Final = 100

_LINE: Final = b'{"level": "INFO", "message": "hostile", "timestamp": null}\n'
_MESSAGE: Final = b'{"level": "INFO", "message": "'
_ANSWER_S: Final = 30.0


def new_logs(arena: Arena) -> None:
    """Eight connections that store one line each in ever new logs."""
    peers = [arena.connect(_hello(f"new-{number}")) for number in range(8)]
    number, left = 0, [b""] * len(peers)
    while not arena.is_over:
        for index, peer in enumerate(peers):
            if not left[index]:
                number += 1
                left[index] = _stored(f"s{number}", _LINE)
            with suppress(OSError):
                left[index] = left[index][peer.send(left[index]) :]
            with suppress(OSError):
                peer.recv(64 * 1024)


def slow_turns(arena: Arena) -> None:
    """Sixty connections that each have 1.4 MiB of a long line, and send the rest at little more than the least rate."""
    peers = [arena.connect(_MESSAGE) for _ in range(60)]
    sent = dict.fromkeys(peers, 0)
    began = time.monotonic()
    while not arena.is_over:
        allowed = 1400 * 1024 + (time.monotonic() - began) * 1.15 * MIB
        for peer in peers:
            with suppress(OSError):
                if sent[peer] < min(allowed, 7 * MIB):
                    sent[peer] += peer.send(b"x" * 16 * 1024)
        time.sleep(0.005)


class _Filler:
    """A connection that sends the beginning of a long line, `most` bytes of it; another one if it is dropped."""

    def __init__(self, arena: Arena, most: int) -> None:
        self._arena = arena
        self._most = most
        self.connect()

    def connect(self) -> None:
        """Connect, again perhaps, and send the line from its beginning."""
        self._peer = self._arena.connect(_MESSAGE)
        self.sent = len(_MESSAGE)
        self.sent_at = time.monotonic()

    def fill(self, most: int = MIB) -> int:
        """Send up to `most` bytes of what is left; return how many were taken."""
        try:
            with suppress(BlockingIOError):
                if not self._peer.recv(64 * 1024):
                    raise ConnectionError
            sent = self._peer.send(b"x" * min(most, 64 * 1024, self._most - self.sent))
        except BlockingIOError:
            return 0
        except OSError:
            self.start_anew()
            return 0
        self.sent, self.sent_at = self.sent + sent, time.monotonic() if sent else self.sent_at
        return sent

    def complete(self) -> None:
        """Send the end of the line, and begin another one."""
        with suppress(OSError):
            self._peer.send(b'", "timestamp": null}\n' + _MESSAGE)
            self.sent = len(_MESSAGE)

    def start_anew(self) -> None:
        """Leave what was sent, and begin with another connection."""
        self._arena.sockets.remove(self._peer)
        self._peer.close()
        self.connect()


def turn_hogs(arena: Arena) -> None:
    """Sixty connections that complete a line of nearly 8 MiB each, at little more than a MiB/s in their turn."""
    hogs = [_Filler(arena, 7900 * 1024) for _ in range(60)]
    while not arena.is_over:
        moved = 0
        for hog in hogs:
            allowed = MIB if hog.sent < 1400 * 1024 else int((time.monotonic() - hog.sent_at) * 1.15 * MIB)
            moved += hog.fill(allowed) if allowed >= 16 * 1024 else 0
            if hog.sent >= 7900 * 1024:
                hog.complete()
        if not moved:
            time.sleep(0.005)


def turn_stalls(arena: Arena, *, connections: int = 200) -> None:
    """Connections that fill what is read of them, and send nothing more in their turn; who is dropped comes back."""
    most = 64 * MIB // connections + 300 * 1024
    stalling = [_Filler(arena, most) for _ in range(connections)]
    while not arena.is_over:
        if not sum(each.fill() for each in stalling if each.sent < most):
            for each in stalling:
                each.fill(0)  # notices that it was dropped
            time.sleep(0.01)


def fresh_turns(arena: Arena, *, connections: int = 100) -> None:
    """A few connections that hold most of the memory, and many that leave when they have wasted a turn."""
    holders = [_Filler(arena, 7 * MIB) for _ in range(9)]
    fresh = [_Filler(arena, 500 * 1024) for _ in range(connections)]
    while not arena.is_over:
        moved = sum(each.fill() for each in holders if each.sent < 7 * MIB)
        for each in fresh:
            if each.sent < 500 * 1024:
                moved += each.fill()
            elif time.monotonic() > each.sent_at + 0.25:
                each.start_anew()
        if not moved:
            time.sleep(0.01)


def full_passes(arena: Arena) -> None:
    """Hundreds of connections that each send, again and again, few bytes that take a whole step."""
    peers = [arena.connect(_LINE) for _ in range(1000)]
    while not arena.is_over:
        for peer in peers:
            with suppress(OSError):
                peer.send(b"x\n" * 100)
            with suppress(OSError):
                peer.recv(64 * 1024)


def quiet_sources(arena: Arena) -> None:
    """Connections that open as many sources as they may, and then do nothing; a newcomer opens its first."""
    for number in range(14):
        opens = b"".join(control_line("open", source=f"q{number}-{n}", path="/p", known=0) for n in range(9900))
        _exchange(arena.connect(_hello(f"quiet-{number}")), opens, answers=9900, until=arena.until)
    newcomer = arena.connect(_hello("newcomer"))
    began = time.monotonic()
    answer = _exchange(newcomer, _stored("newcomer", _LINE), answers=3, until=began + _ANSWER_S)
    arena.waits.append(time.monotonic() - began if b"received" in answer else _ANSWER_S)
    arena.hold()


def large_reports(arena: Arena) -> None:
    """A hundred connections that have a large source compared with its records; a newcomer asks about a small one."""
    payload = (_MESSAGE + b"x" * 100_000 + b'"}\n') * 70
    owner = arena.connect(_hello("owner"), control_line("open", source="large", path="/large", known=0))
    for number in range(20):
        start = number * len(payload)
        _exchange(owner, _batch("large", start, payload), answers=1, until=arena.until)
    _exchange(arena.connect(_hello("small")), _stored("small", _LINE), answers=3, until=arena.until)
    for number in range(100):
        arena.connect(_hello(f"reader-{number}"), control_line("report", source="large", after=0) * 50)
    time.sleep(0.5)
    newcomer, began = arena.connect(_hello("newcomer")), time.monotonic()
    question = control_line("report", source="small", after=0)
    answer = _exchange(newcomer, question, answers=2, until=began + _ANSWER_S)
    arena.waits.append(time.monotonic() - began if b"report" in answer else _ANSWER_S)
    arena.hold(read=64 * 1024)


def kept_places(arena: Arena) -> None:
    """As many connections as the server takes, each with one line; after some seconds, a newcomer has one, too."""
    for _ in range(FEW_CONNECTIONS):
        arena.connect(_LINE)
    time.sleep(6.0)
    began = time.monotonic()
    while time.monotonic() < began + _ANSWER_S:
        if _exchange(arena.connect(_LINE), b"", answers=1, until=time.monotonic() + 2.0):
            break
    arena.waits.append(time.monotonic() - began)


def _hello(client: str) -> bytes:
    return control_line("hello", version=1, client=client, host=client, encodings=["gzip"])


def _stored(source: str, payload: bytes) -> bytes:
    return control_line("open", source=source, path=f"/{source}", known=0) + _batch(source, 0, payload)


def _batch(source: str, start: int, payload: bytes) -> bytes:
    size, lines = len(payload), payload.count(b"\n")
    crc32 = zlib.crc32(payload)
    header = batch_header(
        source=source, start=start, end=start + size, lines=lines, crc32=crc32, size=size, is_gzip=False
    )
    return header + payload


def _exchange(peer: socket.socket, data: bytes, *, answers: int, until: float) -> bytes:
    """Send `data` and read until there are this many lines, or the time or the connection is over; return the end."""
    read = 0
    last = b""
    while read < answers and time.monotonic() < until:
        with suppress(BlockingIOError):
            data = data[peer.send(data[: 64 * 1024]) :] if data else data
        with suppress(BlockingIOError):
            if not (received := peer.recv(64 * 1024)):
                return b""
            read += received.count(b"\n")
            last = (last + received)[-1000:]
            continue
        time.sleep(0.001)
    return last


FAIRNESS_ATTACKS: Final[Mapping[str, Callable[[Arena], None]]] = MappingProxyType(
    {
        attack.__name__.replace("_", "-"): attack
        for attack in (
            new_logs,
            slow_turns,
            turn_hogs,
            turn_stalls,
            fresh_turns,
            full_passes,
            quiet_sources,
            large_reports,
            kept_places,
        )
    }
)
