"""How far a client is behind: what of its files is unread, unacked, and since when.

Owns the sums over all files. They are made from the reader's reports when somebody asks, at most once in MIN_AGE_S, and
in small pieces: a client may follow ten thousand files, and the thread that ships them must not have to wait.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from logferry.model.file_report import FileReport
from logferry.telemetry.metrics import Lag
from logferry.telemetry.pieces import in_pieces, let_others_run

# A scrape every second costs a client with many files a few per cent of one core.
MIN_AGE_S: Final = 5.0

# About 150 us of work: for as long, a thread that ships may have to wait for the interpreter.
FILES_PER_PIECE: Final = 20


class LagMeter:
    """Measures the lag of one reader. Only one thread at a time may ask."""

    def __init__(
        self,
        report: Callable[[], Iterable[FileReport]],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[], object] = let_others_run,
    ) -> None:
        """`report` is a reader's; `pause` lets other threads run."""
        self._report = report
        self._clock = clock
        self._pause = pause
        self._measured_at: float | None = None
        self._lag = Lag()

    def lag(self) -> Lag:
        """Return the lag, at most MIN_AGE_S old."""
        if self._measured_at is None or self._clock() - self._measured_at >= MIN_AGE_S:
            self._lag = self._measure()
            self._measured_at = self._clock()
        return self._lag

    def _measure(self) -> Lag:
        return lag_of(self._report(), pause=self._pause)


def lag_of(reports: Iterable[FileReport], *, pause: Callable[[], object] = lambda: None) -> Lag:
    """Return the sums over these reports; `pause` lets other threads run."""
    files = unreadable = unread = unacked = 0
    since = 0.0
    for report in in_pieces(reports, FILES_PER_PIECE, pause):
        files += 1
        unreadable += report.state == "unreadable"
        unread += max(0, report.size - report.offset)
        unacked += max(0, report.offset - report.committed)
        if report.behind_since:
            since = min(since or report.behind_since, report.behind_since)
    return Lag(files, unreadable, unread, unacked, since)
