"""Reports what is stored in the order in which each sender submitted it, although sources are stored independently.

Owns every delivery between `submit` and `on_stored`. Used in the store's loop alone, except `lines`.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from logferry.server.storage.deliveries import Delivery, report_stored


class Order:
    """The deliveries of each sender that are not reported yet."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_empty: Callable[[], None]) -> None:
        self._loop = loop
        self._on_empty = on_empty
        self._waiting: dict[str | int, deque[Delivery]] = {}
        self._done: set[Delivery] = set()
        self._to_report: list[Delivery] = []
        self.lines = 0  # of all that is not reported; any thread may read it

    @property
    def is_empty(self) -> bool:
        """Whether everything has been reported."""
        return not self._waiting and not self._to_report

    def add(self, delivery: Delivery) -> None:
        """Take a delivery that was submitted."""
        self.lines += delivery.lines
        waiting = self._waiting.get(delivery.sender)
        if waiting is None:
            waiting = self._waiting[delivery.sender] = deque()
        waiting.append(delivery)

    def done(self, delivery: Delivery) -> None:
        """Report a delivery soon, once everything that its sender submitted before is reported."""
        waiting = self._waiting[delivery.sender]
        if waiting[0] is not delivery:
            self._done.add(delivery)
            return
        waiting.popleft()
        self._report(delivery)
        while waiting and waiting[0] in self._done:
            self._done.discard(waiting[0])
            self._report(waiting.popleft())
        if not waiting:
            del self._waiting[delivery.sender]

    def _report(self, delivery: Delivery) -> None:
        if not self._to_report:
            self._loop.call_soon(self._flush)  # together with what else is done by then
        self._to_report.append(delivery)

    def _flush(self) -> None:
        reported, self._to_report = self._to_report, []
        self.lines -= sum(delivery.lines for delivery in reported)
        report_stored(reported)
        if self.is_empty:
            self._on_empty()
