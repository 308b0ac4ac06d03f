"""The sending half of a connection: sends control lines and batches, in as few sends as BATCH_SIZE allows."""

from collections import deque
from collections.abc import Iterator
from typing import Final

from logferry.client.delivery.outputs.encoding import Encoder, Piece
from logferry.client.net.transports.transport import Transport
from logferry.model.batch import Batch

# At most this many sends in a row before the session reads answers again.
SENDS_PER_TURN: Final = 256

# Batches of fewer bytes are sent together if BATCH_SIZE allows, in at most MAX_PARTS parts: every system takes those
# in one call.
SMALL_BYTES: Final = 16 * 1024
MAX_PARTS: Final = 64


class SendReport:
    """What a call of `send` has done, even if it raised."""

    __slots__ = ("begun", "finished", "got_room", "sends", "size")

    def __init__(self) -> None:
        self.begun: list[Batch] = []
        self.finished: list[Batch] = []  # the transport has taken every byte
        self.size = 0
        self.sends = 0
        self.got_room = False  # the transport was full before, and took something


class BatchSender:
    """Sends batches in order; control lines go before the next batch whose sending has not begun."""

    def __init__(self, transport: Transport, encoder: Encoder) -> None:
        self._transport = transport
        self._encoder = encoder
        self._control: deque[bytes] = deque()
        self._outgoing: deque[Batch] = deque()
        self._pieces: Iterator[Piece] | None = None  # of the first outgoing batch, once sending it has begun
        self._rest: Piece | None = None  # the rest of a piece that the transport took only in part
        self._finishing: list[Batch] = []  # fully sent as soon as the current piece is
        self.unsent_bytes = 0

    @property
    def has_output(self) -> bool:
        """Whether there is something to send."""
        return bool(self._rest or self._outgoing or self._control)

    def add(self, batch: Batch) -> None:
        """Queue a batch after all others."""
        self.unsent_bytes += len(batch.payload)
        self._outgoing.append(batch)

    def add_control(self, lines: bytes) -> None:
        """Queue control lines, to be sent as soon as no batch is partly sent."""
        self._control.append(lines)

    def send(self, report: SendReport) -> None:
        """Send as much as the transport takes, and record it in `report`. Raises PeerClosed."""
        was_held_back = self._rest is not None
        has_more = False
        for _ in range(SENDS_PER_TURN):  # with a BATCH_SIZE of 1, this loop runs once for each line
            piece = self._rest or self._next_piece(report)
            if piece is None:
                break
            if isinstance(piece, tuple):
                sent = self._transport.send(piece, more=False)
            else:
                has_more = len(piece) < SMALL_BYTES
                sent = self._transport.send((piece,), more=has_more)
            report.size += sent
            self._rest = _rest_of(piece, sent)
            if self._rest is not None:
                break
            report.sends += 1
            if self._finishing:
                self._finish(report)
        if has_more:
            self._transport.flush()
        report.got_room = was_held_back and bool(report.size)

    def _next_piece(self, report: SendReport) -> Piece | None:
        """Return the piece for the next send, or None if there is nothing to send."""
        while True:
            if self._pieces is None:
                piece = self._control.popleft() if self._control else self._small_batches(report)
                if piece or not self._outgoing:
                    return piece
                self._pieces = self._begin(self._outgoing[0], report)
            piece = next(self._pieces, None)
            if piece is not None:
                return piece
            self._pieces = None
            self._finishing.append(self._outgoing.popleft())
            self._finish(report)

    def _small_batches(self, report: SendReport) -> Piece | None:
        """Begin small batches that can be sent together: with a thousand sources, each often has only a line or two."""
        parts: list[bytes | memoryview] = []
        room = self._encoder.lines_per_send
        while self._outgoing and len(parts) < MAX_PARTS:
            batch = self._outgoing[0]
            room -= batch.lines
            if room < 0 or len(batch.payload) >= SMALL_BYTES:
                break
            for piece in self._begin(batch, report):
                parts += piece if isinstance(piece, tuple) else (piece,)
            self._finishing.append(self._outgoing.popleft())
        if not parts:  # the plain protocol sends nothing for batches without lines
            self._finish(report)
        return tuple(parts) or None

    def _begin(self, batch: Batch, report: SendReport) -> Iterator[Piece]:
        report.begun.append(batch)
        return self._encoder.pieces(batch)

    def _finish(self, report: SendReport) -> None:
        for batch in self._finishing:
            self.unsent_bytes -= len(batch.payload)
        report.finished += self._finishing
        self._finishing.clear()


def _rest_of(piece: Piece, sent: int) -> Piece | None:
    """Return the rest of a piece after its first `sent` bytes, or None if nothing is left."""
    if not isinstance(piece, tuple):
        return memoryview(piece)[sent:] if sent < len(piece) else None
    for place, part in enumerate(piece):
        if sent < len(part):
            return (memoryview(part)[sent:], *piece[place + 1 :])
        sent -= len(part)
    return None
