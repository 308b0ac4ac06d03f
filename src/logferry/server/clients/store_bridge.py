"""Between the event loop and the store: deliveries go over one by one, and come back in groups.

The store calls back in threads of its own; everything about clients happens in the loop. The two meet only here. Owns
the thread that makes reports, and the echo of what was stored.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from logferry.errors import StoreError
from logferry.printable import printable
from logferry.protocol.acks import error_ack
from logferry.protocol.delivery_reports import report_line
from logferry.protocol.delivery_requests import Report
from logferry.server.clients.sessions.base import ClientDelivery
from logferry.server.storage.store import Store

logger = logging.getLogger(__name__)


class StoreBridge:
    """The StoreAccess of all connections. `answer` is called in the loop with each group that is stored.

    `_on_stored` and what it calls run in a thread of the store, the report in a thread of its own, everything else in
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
        # One report at a time: the disk is for storing first. The first report starts the thread.
        self._reporting = ThreadPoolExecutor(1, thread_name_prefix="logferry-report")

    def submit(self, delivery: ClientDelivery) -> None:
        """Have a delivery stored."""
        self._store.submit(delivery, self._on_stored)

    def make_report(self, request: Report, on_made: Callable[[bytes], None]) -> None:
        """Have a report made while everything else goes on."""

        def make() -> None:
            try:
                line = report_line(self._store.report(request.source, request.after))
            except (StoreError, OSError) as error:
                line = error_ack(f"cannot report: {error}")
            self.call_soon_from_thread(lambda: on_made(line))

        self._reporting.submit(make)

    def close(self) -> None:
        """Make no more reports; a report that is being made is not waited for."""
        self._reporting.shutdown(wait=False, cancel_futures=True)

    def call_soon_from_thread(self, callback: Callable[[], None]) -> None:
        """Call back in the event loop; nothing happens when that is closed already."""
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
            logger.warning("cannot echo any more: %s", printable(str(error)))
