"""Reconciliation: after each connect, find out what the server lacks of any source, and send it from the files.

docs/protocol.md, rules E18 and E22. Owns which sources the client still has to ask about on this connection, and how
fast it asks: one page at a time, so that ten thousand quiet files flood no server. A client that follows files asks
about all that it remembers; a batch run, before it ends, about what it has opened on earlier connections. A source
with unacked batches is left to resume.py. Must never touch a file: the reader sends again what it can read, and reports
the rest as lost.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Collection
from typing import Final

from logferry.client.delivery.accounts.progress import DeliveryProgress
from logferry.client.delivery.accounts.window import Window
from logferry.client.delivery.batches.batches import BatchProducer, RenderedRange
from logferry.client.delivery.output import Connected, Located, Output, SourceAt
from logferry.client.delivery.positions.resume import read_again
from logferry.client.delivery.positions.takeover import Stores
from logferry.client.delivery.positions.unwanted import not_wanted_until
from logferry.errors import QuestionRefused
from logferry.model.source import Acked, Source
from logferry.printable import printable
from logferry.protocol.messages.features import POSITIONS

logger = logging.getLogger(__name__)

# A page is a few milliseconds of work for a server. 20,000 sources, as many as a client remembers, take 16 seconds.
PAGE_SOURCES: Final = 250
PAGE_INTERVAL_S: Final = 0.2

# When to ask again if the server could not read the positions.
_RETRY_S: Final = 30.0

_FILES_LOGGED: Final = 10


class Reconciliation:
    """Compares what a store has with what was acked, for one engine, in its thread."""

    def __init__(
        self,
        progress: DeliveryProgress,
        producer: BatchProducer,
        window: Window,
        *,
        notice: Callable[[], object],
        is_wanted: bool = True,
        is_of_run: bool = False,
    ) -> None:
        """Without `is_wanted`, it never asks anything: the producer can read nothing again but what it has open. With
        `is_of_run`, it asks about the sources of this run alone: the producer has no other files.

        While a file is rendered again, which may take minutes, `notice` does what is due, and may raise to end that.
        """
        self._notice = notice
        self._progress = progress
        self._producer = producer
        self._window = window
        self._is_wanted = is_wanted
        self._is_of_run = is_of_run
        self._opened_before: set[str] = set()  # in this run, on an earlier connection
        self._is_owed = False  # a connection ended before it was asked about all of these
        self._connection: Connected | None = None
        self._stores = Stores()
        self._to_ask: deque[str] = deque()
        self._asked: list[str] = []  # the page that has no answer yet
        self._ask_at = math.inf
        self._sources = self._bytes = 0  # that the store lacks

    def begin(self, connection: Connected, stores: Stores, now: float) -> bool:
        """Ask about all sources from `now` on, if the server can answer; return whether it can."""
        self.end()
        self._is_owed = False
        self._stores = stores
        if not self._is_wanted or POSITIONS not in connection.features:
            return False
        self._connection, self._ask_at = connection, math.inf if self._is_of_run else now
        known = self._progress.known_ids()
        self._to_ask.extend(filter(self._opened_before.__contains__, known) if self._is_of_run else known)
        self._sources = self._bytes = 0
        return True

    @property
    def is_asking(self) -> bool:
        """Whether a batch run must not end yet: the server was not asked about files that the run has finished."""
        return self._is_of_run and self._connection is not None and bool(self._to_ask or self._asked)

    def ask_last(self, now: float) -> None:
        """Ask from `now` on about the files that a batch run has finished: it has nothing else to do."""
        if self.is_asking and not self._asked:
            self._ask_at = min(self._ask_at, now)

    @property
    def is_owed(self) -> bool:
        """Whether a batch run must connect once more, because the last connection ended while it was asking."""
        return self._is_owed

    def note_opened(self, sources: Collection[str]) -> None:
        """Note what was opened on the connection that ends: the server was compared with these for the last time."""
        if self._is_of_run:
            self._opened_before.update(sources)

    def end(self) -> None:
        """Forget what is still to be asked: the connection has ended."""
        self._is_owed |= self.is_asking
        self._connection, self._ask_at = None, math.inf
        self._to_ask.clear()
        self._asked = []

    @property
    def next_timer(self) -> float | None:
        """When to call `ask_if_due`; None while there is nothing to ask."""
        return self._ask_at if self._ask_at < math.inf else None

    def ask_if_due(self, output: Output, now: float) -> None:
        """Ask about the next page of sources, unless it is too early or the last page has no answer yet."""
        if now < self._ask_at:
            return
        self._ask_at = math.inf  # until the answer
        self._asked = [self._to_ask.popleft() for _ in range(min(PAGE_SOURCES, len(self._to_ask)))]
        if self._asked:
            output.locate(self._asked)

    def take(self, answer: Located, now: float, *, is_opened: Callable[[str], bool]) -> None:
        """Take the answer to the last page; `is_opened` says which sources this connection has opened."""
        asked, self._asked = self._asked, []
        if self._connection is None:
            return
        if answer.found is None:
            self._to_ask.extendleft(reversed(asked))
            if self._is_of_run:
                raise QuestionRefused("the server cannot say now what it has of the files that were finished before")
            self._ask_at = now + _RETRY_S
            return
        found = {at.source: at for at in answer.found}
        for source_id in asked:
            if not is_opened(source_id) and not self._window.oldest_of(source_id):
                self._compare(source_id, found.get(source_id) or SourceAt(source_id, 0, 0, 0), self._connection)
        if self._to_ask:
            self._ask_at = now + PAGE_INTERVAL_S
        elif self._sources:
            logger.warning(
                "%s lacks %d bytes that were acked before (files: %d); sending again what the files still have",
                *(self._connection.server, self._bytes, self._sources),
            )

    def _compare(self, source_id: str, at: SourceAt, connection: Connected) -> None:
        source = self._progress.known_source(source_id)
        if source is not None:
            source.is_confirmed = source.is_confirmed or self._is_of_run  # its lines were counted when it was opened
        if source is None or source.acked_until <= not_wanted_until(source, self._stores.servers):
            return
        if self._stores.concern(source, at):
            self._compare_among(source, at, connection)
        elif at.committed < source.committed:
            self._send_back(source, at, connection)
        elif (found := self._crc32_at(source, at.committed)) not in (None, at.crc32):
            self._doubt(source, connection)
        elif found is not None and source.store != connection.store:
            self._progress.found_in(source_id, connection.store)

    def _compare_among(self, source: Source, at: SourceAt, connection: Connected) -> None:
        """Send a store what no other store has; what those have stays where it is."""
        start = self._stores.next_needed(source, max(at.committed, not_wanted_until(source, self._stores.servers)))
        if start >= source.acked_until:
            if not self._stores.is_as_known(source, at):
                self._doubt_among(source, connection)
            return
        self._note_lack(source, at, connection, self._stores.lacking(source, start))
        if source.store != connection.store:
            source.set_back = source.move_to(connection.store)
        else:
            source.set_back = source.set_back or Acked(source.committed, source.crc32, source.renderings)
        self._stores.send_again(source, start)
        source.go_to(start, at.lines, at.crc32)
        read_again(source, start, window=self._window, producer=self._producer)

    def _crc32_at(self, source: Source, committed: int) -> int | None:
        """Return the CRC-32 of a source up to an offset that is acked, or behind that; None if nobody can know it."""
        if committed == source.committed:
            return source.crc32
        later = RenderedRange(source, source.committed, committed, source.crc32, source.renderings)
        return self._producer.crc32_behind(later, between=self._notice)

    def _doubt_among(self, source: Source, connection: Connected) -> None:
        self._progress.note(source)
        known = source.move_to(connection.store) if source.store != connection.store else None
        self._doubt(source, connection, known)

    def _doubt(self, source: Source, connection: Connected, set_back: Acked | None = None) -> None:
        """Read a source from its beginning: the answer to its open decides whether its store has this file.

        `set_back` is what the store is known to have, if that is not what the source has.
        """
        logger.warning(
            "%s: what %s has of this file differs from what was acked; comparing it with the file",
            *(printable(source.path), connection.server),
        )
        self._progress.note(source)
        source.set_back = set_back or Acked(source.committed, source.crc32, source.renderings)
        source.go_to(0, 0, 0)
        start = not_wanted_until(source, self._stores.servers)
        read_again(source, start, window=self._window, producer=self._producer)

    def _send_back(self, source: Source, at: SourceAt, connection: Connected) -> None:
        self._note_lack(source, at, connection, source.committed - at.committed)
        source.read_until = max(source.read_until, source.committed)
        source.set_back = source.set_back or Acked(source.committed, source.crc32, source.renderings)
        source.go_to(at.committed, at.lines, at.crc32)
        source.renderings = [entry for entry in source.renderings if entry[0] < at.committed]
        source.store = connection.store
        start = max(at.committed, not_wanted_until(source, self._stores.servers))
        read_again(source, start, window=self._window, producer=self._producer)

    def _note_lack(self, source: Source, at: SourceAt, connection: Connected, lacking: int) -> None:
        self._progress.note(source)
        why = self._progress.why_missing(source, connection.store, found=at.committed)
        self._sources += 1
        self._bytes += lacking
        if self._sources <= _FILES_LOGGED:
            because = f": {why}" if why else ""
            logger.info("%s: %s has only %d bytes%s", printable(source.path), connection.server, at.committed, because)
        source.sent_back_because = why
