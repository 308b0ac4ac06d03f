"""One connection while it lasts: what is still to be sent on it, and which sources it has opened."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from logferry.client.delivery.outputs.dialect import DeliveryDialect, Dialect, Event, Piece
from logferry.client.net.connect import Connection
from logferry.model.batch import Batch
from logferry.model.render_spec import RenderSpec
from logferry.model.source import Source

# How many sends in a row before the answers are looked at again.
SENDS_PER_TURN: Final = 256

# Batches of fewer bytes are sent together, as many parts as any system takes in one call, if BATCH_SIZE allows.
SMALL_BYTES: Final = 16 * 1024
MAX_PARTS: Final = 64

# So many sources may be asked for and not yet answered: what a server does in one go, and 100 KB of questions.
MAX_OPENING: Final = 1000


class Exchange:
    """Sends batches, those of each source in order, after the source was opened if the dialect asks for that.

    While the answer to an open is awaited, other sources are opened, and batches of those that are open sent.
    """

    def __init__(
        self,
        connection: Connection,
        dialect: Dialect,
        *,
        on_new: Callable[[Sequence[Batch]], None],
        on_begin: Callable[[Batch], None],
        on_sent: Callable[[Batch], None],
    ) -> None:
        """`on_new` is told of the batches that are the first of a source to be sent after its open, or the first that
        is rendered in another way: of many at once, before any of them is sent. The others are told of each batch,
        before and after it is sent.
        """
        self.connection = connection
        self.dialect = dialect
        self._on_new = on_new
        self._on_begin = on_begin
        self._on_sent = on_sent
        self._outgoing: deque[Batch] = deque()  # what may be sent
        self._pieces: Iterator[Piece] | None = None  # of the first outgoing batch, once it is begun
        self._rest: Piece | None = None  # what is left of a send that the socket took only a part of
        self._finishing: list[Batch] = []  # all of these is sent when that is
        self._waiting: dict[str, list[Batch]] = {}  # by source: until that is open
        self._to_open: dict[str, Source] = {}
        self._opening: set[str] = set()  # asked for, not yet answered
        self._open_sources: set[str] = set()
        self._renderings: dict[str, RenderSpec | None] = {}  # by open source: of its last outgoing batch
        self._new: list[Batch] = []  # outgoing ones of which `on_new` is to be told
        self.unsent_bytes = 0

    @property
    def has_output(self) -> bool:
        """Whether there is something to send now."""
        return bool(self._rest or self._outgoing or self._may_open)

    @property
    def is_used_up(self) -> bool:
        """Whether all that is left to be sent is of more sources than the server lets one connection open."""
        return bool(self._to_open) and not (self._opening or self.has_output)

    def enqueue(self, batch: Batch) -> None:
        """Send `batch` after all others of its source."""
        batch.in_flight = False
        self.unsent_bytes += len(batch.payload)
        source = batch.source
        if not self.dialect.needs_open:
            self._outgoing.append(batch)
        elif source.id in self._open_sources:
            self._outgoing.append(batch)
            self._note_if_new(batch)
        else:
            if source.id not in self._opening:
                self._to_open[source.id] = source
            self._waiting.setdefault(source.id, []).append(batch)

    def is_opening(self, source_id: str) -> bool:
        """Whether the server owes an answer to the open of a source."""
        return source_id in self._opening

    def opened(self, source_id: str, batches: Iterable[Batch]) -> None:
        """The server has answered an open: send these batches of the source, in place of those that waited for it."""
        self._opening.discard(source_id)
        self._open_sources.add(source_id)
        self.unsent_bytes -= sum(len(batch.payload) for batch in self._waiting.pop(source_id, ()))
        for batch in batches:
            self.enqueue(batch)

    def send(self) -> tuple[int, int, bool]:
        """Send what the socket takes; return bytes, whole sends, and whether the socket was full before but is not now.

        Raises PeerClosed.
        """
        was_held_back = self._rest is not None
        has_more = False
        sent_bytes = sends = 0
        for _ in range(SENDS_PER_TURN):  # with a BATCH_SIZE of 1 this is what there is to do for each line
            piece = self._rest or self._next_piece()
            if piece is None:
                break
            if isinstance(piece, tuple):
                sent = self.connection.send_together(piece)
            else:
                has_more = len(piece) < SMALL_BYTES
                sent = self.connection.send(piece, has_more=has_more)
            sent_bytes += sent
            self._rest = _rest_of(piece, sent)
            if self._rest is not None:
                break
            sends += 1
            if self._finishing:
                self._finish()
        if has_more:
            self.connection.flush()
        return sent_bytes, sends, was_held_back and bool(sent_bytes)

    def receive(self) -> list[Event] | None:
        """Return the answers that have come; None when nothing has. Raises PeerClosed."""
        data = self.connection.receive()
        return self.dialect.read(data) if data else None

    def close(self) -> None:
        """Release the socket."""
        self.connection.close()

    @property
    def _may_open(self) -> int:
        """How many sources may be asked for now."""
        room = min(MAX_OPENING, self.dialect.max_sources - len(self._open_sources)) - len(self._opening)
        return max(0, min(room, len(self._to_open)))

    def _note_if_new(self, batch: Batch) -> None:
        source_id = batch.source.id
        if source_id not in self._renderings or self._renderings[source_id] != batch.rendering:
            self._renderings[source_id] = batch.rendering
            self._new.append(batch)

    def _next_piece(self) -> Piece | None:
        """Return what is to be sent in one send; None when there is nothing."""
        while True:
            if self._pieces is None:
                piece = self._open_some() or self._small_batches()
                if piece or not self._outgoing:
                    return piece
                self._pieces = self._begin(self._outgoing[0])
            piece = next(self._pieces, None)
            if piece is not None:
                return piece
            self._pieces = None
            self._finishing.append(self._outgoing.popleft())
            self._finish()

    def _small_batches(self) -> Piece | None:
        """Begin small batches that may be sent together: of a thousand sources, each has a line or two."""
        parts: list[bytes | memoryview] = []
        room = self.dialect.lines_per_send
        while self._outgoing and len(parts) < MAX_PARTS:
            batch = self._outgoing[0]
            room -= batch.lines
            if room < 0 or len(batch.payload) >= SMALL_BYTES:
                break
            for piece in self._begin(batch):
                parts += piece if isinstance(piece, tuple) else (piece,)
            self._finishing.append(self._outgoing.popleft())
        if not parts:  # the plain protocol has no words for batches without lines
            self._finish()
        return tuple(parts) or None

    def _open_some(self) -> bytes | None:
        """Ask for all sources that may be asked for, in one piece; None when there are none."""
        count = self._may_open
        if not count or not isinstance(self.dialect, DeliveryDialect):
            return None
        sources = [self._to_open.pop(source_id) for source_id in list(islice(self._to_open, count))]
        self._opening.update(source.id for source in sources)
        return b"".join(map(self.dialect.open_line, sources))

    def _begin(self, batch: Batch) -> Iterator[Piece]:
        if self._new:
            new, self._new = self._new, []
            self._on_new(new)
        self._on_begin(batch)
        batch.in_flight = True
        return self.dialect.pieces(batch)

    def _finish(self) -> None:
        """All that was begun of these batches is in the kernel's hands."""
        for batch in self._finishing:
            self.unsent_bytes -= len(batch.payload)
            self._on_sent(batch)
        self._finishing.clear()


def _rest_of(piece: Piece, sent: int) -> Piece | None:
    """Return what is left of a piece, None if nothing is."""
    if not isinstance(piece, tuple):
        return memoryview(piece)[sent:] if sent < len(piece) else None
    for place, part in enumerate(piece):
        if sent < len(part):
            return (memoryview(part)[sent:], *piece[place + 1 :])
        sent -= len(part)
    return None
