"""One connection while it lasts: what is still to be sent on it, and which sources it has opened."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from logferry.client.dialect import DeliveryDialect, Dialect, Event
from logferry.client.source_file import Source
from logferry.client.tcp_client import Connection
from logferry.client.window import Batch

# How many sends in a row before the answers are looked at again.
SENDS_PER_TURN: Final = 256


class Exchange:
    """Sends batches in order, each after its source was opened if the dialect asks for that."""

    def __init__(
        self,
        connection: Connection,
        dialect: Dialect,
        *,
        on_open: Callable[[Source], None],
        on_begin: Callable[[Batch], None],
        on_sent: Callable[[Batch], None],
    ) -> None:
        """`on_open` is told of a source before the server is; the others of a batch, before and after it is sent."""
        self.connection = connection
        self.dialect = dialect
        self._on_open = on_open
        self._on_begin = on_begin
        self._on_sent = on_sent
        self._outgoing: deque[Batch] = deque()
        self._pieces: Iterator[bytes] | None = None  # of the first outgoing batch, once it is begun
        self._piece = memoryview(b"")
        self._open_sources: set[str] = set()
        self._opening: str | None = None  # asked for, not yet answered
        self.unsent_bytes = 0

    @property
    def has_output(self) -> bool:
        """Whether there is something to send now."""
        return bool(self._piece) or (bool(self._outgoing) and self._opening is None)

    def enqueue(self, batch: Batch) -> None:
        """Send `batch` after all others."""
        batch.in_flight = False
        self._outgoing.append(batch)
        self.unsent_bytes += len(batch.payload)

    def opened(self, source_id: str) -> None:
        """The server has answered an open, and its answer was acted upon."""
        self._open_sources.add(source_id)
        self._opening = None

    def replace_source(self, source: Source, batches: Iterable[Batch]) -> None:
        """Send these batches of a source next, in place of those that were to be sent. Only between batches."""
        others = [batch for batch in self._outgoing if batch.source is not source]
        self._outgoing.clear()
        self.unsent_bytes = 0
        for batch in (*batches, *others):
            self.enqueue(batch)

    def send(self) -> tuple[int, int, bool]:
        """Send what the socket takes; return bytes, whole sends, and whether the socket was full before but is not now.

        Raises PeerClosed.
        """
        was_held_back = bool(self._piece)
        sent_bytes = sends = 0
        for _ in range(SENDS_PER_TURN):
            if not self._piece and not self._next_piece():
                break
            sent = self.connection.send(self._piece)
            sent_bytes += sent
            self._piece = self._piece[sent:]
            if self._piece:
                break
            sends += 1
        return sent_bytes, sends, was_held_back and bool(sent_bytes)

    def receive(self) -> list[Event] | None:
        """Return the answers that have come; None when nothing has. Raises PeerClosed."""
        data = self.connection.receive()
        return self.dialect.read(data) if data else None

    def close(self) -> None:
        """Release the socket."""
        self.connection.close()

    def _next_piece(self) -> bool:
        """Go to the next bytes to send; False when there are none."""
        while self._outgoing and self._opening is None:
            batch = self._outgoing[0]
            if self._pieces is None:
                if isinstance(self.dialect, DeliveryDialect) and batch.source.id not in self._open_sources:
                    self._open(self.dialect, batch.source)
                    return True
                self._on_begin(batch)
                batch.in_flight = True
                self._pieces = self.dialect.pieces(batch)
            piece = next(self._pieces, None)
            if piece is not None:
                self._piece = memoryview(piece)
                return True
            self._finish_batch()
        return False

    def _open(self, dialect: DeliveryDialect, source: Source) -> None:
        self._on_open(source)
        self._opening = source.id
        self._piece = memoryview(dialect.open_line(source))

    def _finish_batch(self) -> None:
        """The first outgoing batch is in the kernel's hands."""
        self._pieces = None
        batch = self._outgoing.popleft()
        self.unsent_bytes -= len(batch.payload)
        self._on_sent(batch)
