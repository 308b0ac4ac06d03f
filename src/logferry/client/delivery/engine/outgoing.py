"""The order of submission on one connection: a source is opened, then saved on disk, then its batches are submitted.

Owns the batches that the output does not have yet. It never sends, and never decides what is stored.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Final

from logferry.client.delivery.output import Connected, Guarantee, Output
from logferry.model.batch import Batch
from logferry.model.source import Source

# At most this many opens are unanswered at a time: as many as a server handles in one go, in 100 KB of requests.
MAX_OPENING: Final = 1000

# Taking more than this ahead of the connection gains nothing.
WAITING_BYTES: Final = 512 * 1024


class OutgoingBatches:
    """Batches of the window that the output does not have yet, those of each source in order.

    While an open is unanswered, other sources are opened, and batches of open sources are submitted.
    """

    def __init__(self, output: Output, connection: Connected, *, prepare: Callable[[Sequence[Batch]], None]) -> None:
        """`prepare` gets batches before the output gets any of them; it may raise DeliveryError."""
        self._output = output
        self._max_sources = connection.limits.max_sources
        self._opens_sources = connection.guarantee is Guarantee.EXACTLY_ONCE
        self._prepare = prepare
        self._unprepared: list[Batch] = []
        self._prepared: deque[Batch] = deque()
        self._waiting: dict[str, list[Batch]] = {}  # by source, until the source is open
        self._to_open: dict[str, Source] = {}
        self._opening: set[str] = set()
        self._open: set[str] = set()
        self._bytes = 0  # the payloads of all these batches

    @property
    def has_room(self) -> bool:
        """Whether it is worth taking another batch."""
        return not self._prepared and self._bytes < WAITING_BYTES

    def knows(self, source_id: str) -> bool:
        """Whether a source was opened on this connection, or is about to be."""
        return source_id in self._open or source_id in self._opening or source_id in self._to_open

    @property
    def open_ids(self) -> Collection[str]:
        """The sources that were opened on this connection."""
        return self._open

    @property
    def is_exhausted(self) -> bool:
        """Whether all remaining batches belong to sources that the connection may not open any more."""
        is_ready = self._unprepared or self._prepared or self._opening
        return bool(self._to_open) and not is_ready and not self._may_open

    @property
    def waiting_batches(self) -> int:
        """The number of batches that wait until their source is open."""
        return sum(map(len, self._waiting.values()))

    def add(self, batch: Batch) -> None:
        """Take a batch, after all others of its source."""
        source = batch.source
        self._bytes += len(batch.payload)
        if not self._opens_sources or source.id in self._open:
            self._unprepared.append(batch)
            return
        if source.id not in self._opening:
            self._to_open[source.id] = source
        self._waiting.setdefault(source.id, []).append(batch)

    def opened(self, source_id: str, batches: Iterable[Batch]) -> None:
        """The server has answered an open: `batches` replace those of the source that waited."""
        self._opening.discard(source_id)
        self._open.add(source_id)
        self._bytes -= sum(len(batch.payload) for batch in self._waiting.pop(source_id, ()))
        for batch in batches:
            self.add(batch)

    def submit(self) -> None:
        """Open as many sources as allowed, and submit what the output accepts. Raises what `prepare` raises."""
        if count := self._may_open:
            sources = [self._to_open.pop(source_id) for source_id in list(islice(self._to_open, count))]
            self._opening.update(source.id for source in sources)
            self._output.open(sources)
        if self._unprepared:
            self._prepare(self._unprepared)
            self._prepared.extend(self._unprepared)
            self._unprepared.clear()
        while self._prepared and self._output.submit(self._prepared[0]):
            self._bytes -= len(self._prepared.popleft().payload)

    @property
    def _may_open(self) -> int:
        """The number of sources that may be opened now."""
        if not self._to_open:
            return 0
        room = min(MAX_OPENING, self._max_sources - len(self._open)) - len(self._opening)
        return max(0, min(room, len(self._to_open)))
