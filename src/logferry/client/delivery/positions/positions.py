"""Where each source stands on the server of the current connection, and whether its batches may follow its checkpoint.

A server with the delivery extension says how far it has a source when the client opens it: resume.py decides whether
that is believed. Of any other server, only the checkpoint says what it has. Owns which sources a server has confirmed.
Must never read a file, nor send anything.
"""

from collections.abc import Sequence

from logferry.client.delivery.accounts.accounts import Accounts
from logferry.client.delivery.accounts.progress import DeliveryProgress
from logferry.client.delivery.accounts.window import Window
from logferry.client.delivery.batches.batches import BatchProducer
from logferry.client.delivery.output import Connected, Guarantee, OutputLimits, SourceAt, SourceRefused
from logferry.client.delivery.positions.resume import SourceResumption, read_again
from logferry.client.delivery.positions.takeover import Stores
from logferry.client.delivery.positions.unwanted import not_wanted_until
from logferry.errors import ProtocolError
from logferry.model.batch import Batch
from logferry.model.source import Source
from logferry.telemetry.metrics import Metrics


class SourcePositions:
    """The positions of the sources of one engine, in its thread."""

    def __init__(
        self,
        producer: BatchProducer,
        window: Window,
        progress: DeliveryProgress,
        resumption: SourceResumption,
        accounts: Accounts,
        metrics: Metrics,
        *,
        counts_stored_before: bool,
        servers: Sequence[str] = (),
    ) -> None:
        """With `counts_stored_before`, the lines that a server had before this run are counted.

        `servers` are all servers of this client ("host:port"), if there are several.
        """
        self._producer = producer
        self._window = window
        self._progress = progress
        self._resumption = resumption
        self._accounts = accounts
        self._metrics = metrics
        self._counts_stored_before = counts_stored_before
        self._servers = servers
        self.stores = Stores()  # of the current connection, or the last one
        self.connection = Connected("", Guarantee.BEST_EFFORT, OutputLimits())  # the current one, or the last one

    def begin(self, connection: Connected) -> None:
        """Read again what the server of a new connection lacks of the sources in the window, as far as that is known.

        A server with the extension is asked later.
        """
        self.connection = connection
        self.stores = self._stores_beside(connection)
        for source in {batch.source.id: batch.source for batch in self._window.unfinished()}.values():
            self.is_welcome(source)

    def resume(self, source: Source, position: SourceAt) -> None:
        """Resume a source where the server has it, if that is believed. Raises DeliveryError."""
        if position.committed and self._progress.known_source(source.id) is None:
            raise ProtocolError(f"the server says that it has {position.committed} bytes of a source that is new")
        self._progress.note(source)
        stored_before = self._accounts.lines_stored
        self._resumption.resume(source, position, self.stores)
        if source.epoch >= 0:  # otherwise the file is a new source
            source.store, source.server = self.connection.store, self.connection.server
            in_this_run = self._accounts.lines_stored - stored_before
            elsewhere = sum(held.lines for held in source.holdings.held)
            self._confirm(source, self._plain_lines_of(source) + elsewhere + position.lines - in_this_run)

    def start_anew(self, source: Source, refused: SourceRefused) -> None:
        """Ship a file as a new source, because the server refuses to continue it. Raises ProtocolError."""
        self._progress.note(source)
        self._resumption.start_anew(source, refused.reason)

    def is_welcome(self, source: Source) -> bool:
        """Whether batches of a source may follow its checkpoint; if not, the source is read again from an earlier one.

        A server with the extension says itself what it has. Of any other, the checkpoint must have been made with it.
        """
        if source.is_confirmed or self.connection.guarantee is Guarantee.EXACTLY_ONCE:
            return True
        servers = self.stores.servers
        is_its_own = not source.server or source.server in servers  # early versions did not save the server
        start = source.committed if is_its_own else min(source.committed, not_wanted_until(source, servers))
        is_welcome = start == source.committed
        if not is_welcome:
            self._progress.note(source)
            source.go_to(start, 0, 0)
            source.plain_lines = self._plain_lines_of(source)
            source.renderings = [entry for entry in source.renderings if entry[0] < start]
            read_again(source, start, window=self._window, producer=self._producer)
        self._confirm(source, source.plain_lines + source.lines)
        return is_welcome

    def passed(self, batch: Batch) -> list[Batch] | None:
        """Return the batches that take the server past what other servers have from the start of `batch` on.

        Then the source is read again from there, and `batch` does not count; None if the server needs all of it. A
        batch that only begins with what the server needs is read again line by line, up to what others have.
        """
        source, stores = batch.source, self.stores
        end = stores.next_needed(source, batch.start)
        until = 0
        if end == batch.start:
            until = stores.next_elsewhere(source, batch.start)
            if not batch.start < until < batch.end or batch.lines < 2:
                return None
        source.epoch += 1
        self._window.discarded_lines += batch.lines
        self._producer.send_back(source, end, one_by_one_until=until)
        return list(stores.skips(source, batch.start, end))

    def _stores_beside(self, connection: Connected) -> Stores:
        names = set(self._servers) - {connection.server}
        others = {self._progress.store_of(name) for name in names} - {"", connection.store}
        return Stores(connection.store, (connection.server, *names), others if connection.store else ())

    def _plain_lines_of(self, source: Source) -> int:
        return source.plain_lines if source.plain_server == self.connection.server else 0

    def _confirm(self, source: Source, lines: int) -> None:
        """Note that the server has said how far it has a source; `lines` were stored there before this run."""
        if not source.is_confirmed:
            source.is_confirmed = True
            if self._counts_stored_before:
                self._metrics.add(lines_stored_before=max(0, lines))
