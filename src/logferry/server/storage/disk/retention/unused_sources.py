"""Forgets sources that were opened, and never got a line or a report: a client can open any number of them.

Walks through the ledger a page at a time, with pauses. Used by the writer thread alone, between two groups, because
only this thread adds sources and knows which are open. A client that opens a forgotten source again begins at 0, where
the source was. Must never forget a source that is open, or has an extent, a loss or an unknown window.
"""

import time
from collections.abc import Callable
from typing import Final

from logferry.server.storage.disk.ledger import Ledger

PAGE_ROWS: Final = 1000  # a millisecond or two
PAUSE_S: Final = 10.0
UNUSED_S: Final = 24 * 3600.0


class UnusedSources:
    """What is left to look at of one walk through the ledger; a new one begins at its end."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        is_open: Callable[[str], bool],
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._is_open = is_open
        self._monotonic = monotonic
        self._clock = clock
        self._after = ""
        self._next_at = monotonic()

    def forget_some(self) -> None:
        """Look at the next page if it is time to. Raises OSError; then a later call looks at the same page."""
        if self._monotonic() < self._next_at:
            return
        self._next_at = self._monotonic() + PAUSE_S
        page = self._ledger.unused_sources(after=self._after, limit=PAGE_ROWS, before=self._clock() - UNUSED_S)
        if unused := [source for source, is_unused in page if is_unused and not self._is_open(source)]:
            with self._ledger.transaction():
                self._ledger.drop_sources(unused)
        self._after = page[-1][0] if len(page) == PAGE_ROWS else ""
