"""The client's side of the plain protocol, without the socket: batches become bytes, answers become events.

Owns the beginning of an answer that is not complete yet. Must never read a clock or a socket (docs/protocol.md, rules
A1 to A7).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from logferry import speedups
from logferry.errors import FrameError
from logferry.protocol.compressor import encode_frame
from logferry.protocol.patterns import compile_pattern
from logferry.protocol.plain.acks import ACK_OK, answered, denial_in, parse_ack

# Our server never writes a longer answer; a peer that does speaks another protocol.
MAX_ACK_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Acked:
    """The server has stored the next `lines` lines."""

    lines: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The server refuses the next line (or frame) for `reason`."""

    reason: str


@dataclass(frozen=True, slots=True)
class InvalidAck:
    """The server sent something that is not an ack; nothing that it sends can be trusted. `reason` says what."""

    reason: str


@dataclass(frozen=True, slots=True)
class Denied:
    """The server does not admit this client, for `reason`; it closes the connection."""

    reason: str


ClientEvent = Acked | Refused | InvalidAck | Denied


def cut_lines(payload: bytes, lines: int, limit: int | None) -> Iterator[bytes]:
    """Cut NDJSON of `lines` lines into pieces of at most `limit` lines; None means unlimited."""
    if limit is None or lines <= limit:
        return iter((payload,))
    if limit == 1:
        return (line + b"\n" for line in payload.split(b"\n")[:-1])  # costs half as much as matching
    if speedups.compiled:
        return _pieces(payload, limit, speedups.compiled.end_of_lines)
    return (match.group() for match in re.finditer(rb"(?:[^\n]*+\n){1,%d}+" % limit, payload))


def _pieces(payload: bytes, limit: int, end_of_lines: Callable[[bytes, int, int], int]) -> Iterator[bytes]:
    start = 0
    while start < len(payload):
        end = end_of_lines(payload, start, limit)
        yield payload[start:end]
        start = end


class PlainClientProtocol:
    """Turns batches into bytes for the wire, and bytes from the wire into events.

    A piece (one `send`, or one frame) holds at most `lines_per_send` lines (BATCH_SIZE); None means unlimited.
    """

    def __init__(self, *, lines_per_send: int | None, compress_level: int | None) -> None:
        self._lines_per_send = lines_per_send
        self._compress_level = compress_level
        self._buffer = b""

    @property
    def unread(self) -> bytes:
        """The beginning of an answer that is not complete."""
        return self._buffer

    def pieces(self, payload: bytes, lines: int) -> Iterator[bytes]:
        """Cut NDJSON of `lines` lines into pieces, each for one send."""
        pieces = cut_lines(payload, lines, self._lines_per_send)
        level = self._compress_level
        return pieces if level is None else (self._frame(piece, level) for piece in pieces)

    def _frame(self, piece: bytes, level: int) -> bytes:
        """Return `piece` as a frame; a line too large for a frame is sent as it is, and the server judges it."""
        try:
            return encode_frame(piece, level=level)
        except FrameError:
            return piece

    def receive_data(self, data: bytes) -> list[ClientEvent]:
        """Accept bytes from the socket; return the answers in order, up to the first that is invalid."""
        data = self._buffer + data
        whole = data.rfind(b"\n") + 1
        self._buffer = data[whole:]
        events = list(_read_acks(data[:whole]))
        if len(self._buffer) > MAX_ACK_BYTES:
            events.append(InvalidAck(answered(self._buffer)))
        return events


_ok_run: Final = compile_pattern(rb"(?:" + re.escape(ACK_OK) + rb")*+")


def _read_acks(data: bytes) -> Iterator[ClientEvent]:
    """Read complete answers. Our server's acks are identical, so a run of them is counted, not parsed."""
    position = 0
    while position < len(data):
        run = _ok_run.match(data, position)
        if run and run.end() > position:
            yield Acked((run.end() - position) // len(ACK_OK))
            position = run.end()
            continue
        end = data.index(b"\n", position) + 1
        line = data[position:end]
        ack = parse_ack(line)
        if ack is None:
            denial = denial_in(line)
            yield InvalidAck(answered(line)) if denial is None else Denied(denial)
            return
        yield Acked(1) if ack.ok else Refused(ack.message)
        position = end
