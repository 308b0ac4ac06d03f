"""The bridge between the event loop and the store: deliveries cross one by one and come back in groups.

The store calls back in its own threads, and everything about clients happens in the loop; the two meet only here. Owns
the thread that makes reports, and the echo of stored lines.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from logferry.errors import StoreError
from logferry.printable import printable
from logferry.protocol.acks import MAX_REASON_CHARS, error_ack
from logferry.protocol.delivery_answers import positions_failed_line, positions_line
from logferry.protocol.delivery_reports import report_line
from logferry.protocol.delivery_requests import Locate, Report
from logferry.server.clients.sessions.base import ClientDelivery
from logferry.server.storage.store import Store

logger = logging.getLogger(__name__)


class StoreBridge:
    """The StoreAccess of all connections. Calls `answer` in the loop with each stored group.

    `_on_stored` and what it calls run in a thread of the store, reports in a thread of their own, everything else in
    the loop.
    """

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        *,
        answer: Callable[[Sequence[ClientDelivery]], None],
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        self._store = store
        self._loop = loop
        self._answer = answer
        self._echo = echo
        self._on_stored_callback = self._on_stored  # one bound method for all deliveries: each in the queue holds it
        # One report at a time, because storing has priority on the disk. The first report starts the thread.
        self._reporting = ThreadPoolExecutor(1, thread_name_prefix="logferry-report")

    def submit(self, delivery: ClientDelivery) -> None:
        """Submit a delivery to the store."""
        self._store.submit(delivery, self._on_stored_callback)

    def make_report(self, request: Report | Locate, on_made: Callable[[bytes], None]) -> None:
        """Make a report, or read positions, in another thread; `on_made` receives its answer line in the event loop.

        Does nothing once the bridge is closed.
        """

        def make() -> None:
            line = self._located(request) if isinstance(request, Locate) else self._reported(request)
            self.call_soon_from_thread(lambda: on_made(line))

        with contextlib.suppress(RuntimeError):  # closed: a connection that is being cut may still request a report
            self._reporting.submit(make)

    def _reported(self, request: Report) -> bytes:
        try:
            return report_line(self._store.report(request.source, request.after))
        except (StoreError, OSError) as error:
            return error_ack(f"cannot report: {error}")

    def _located(self, request: Locate) -> bytes:
        try:
            return positions_line(self._store.positions(request.sources))
        except (StoreError, OSError) as error:  # not an error line: that would end the client's connection
            return positions_failed_line(str(error)[:MAX_REASON_CHARS])

    def close(self) -> None:
        """Cancel waiting reports, without waiting for the report in progress."""
        self._reporting.shutdown(wait=False, cancel_futures=True)

    def call_soon_from_thread(self, callback: Callable[[], None]) -> None:
        """Call back in the event loop, unless the loop is already closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    def _on_stored(self, group: Sequence[ClientDelivery]) -> None:
        self.call_soon_from_thread(lambda: self._answer(group))
        if self._echo is not None:
            self._echo_stored(group, self._echo)

    def _echo_stored(self, group: Sequence[ClientDelivery], echo: Callable[[bytes], None]) -> None:
        try:
            for delivery in group:
                for piece in delivery.pieces if delivery.is_stored else ():
                    echo(piece)
        except (OSError, ValueError) as error:  # a closed file is a ValueError
            self._echo = None
            logger.warning("cannot echo stored lines, not trying again: %s", printable(str(error)))
