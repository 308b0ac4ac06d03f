"""Keeps the journals of segments: what a group adds to them, when it is written, and when they are written anew.

The writer thread adds each recorded group, before its acks, and writes what waits if that is of few segments. The
entries of more than eight segments, and those of later groups behind them, wait in memory for a thread that writes all
that waits every few seconds: a write to each of a thousand journals would take longer than the group. So a kill leaves
no later entries without the earlier ones of the same source. The ledger has them meanwhile, and a start
completes the journals from it (journal_completion.py). Journals are never synced: only a ledger that is lost together
with the machine's memory needs that. A new segment has its entries in the shared journal (new_segments.py).

A journal that cannot be written keeps nobody waiting: its entries stay in memory, and the thread tries again. If they
become too many, or the file is gone, the journal stays behind, and the next start completes it (waiting_entries.py).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from logferry.errors import cause_of
from logferry.printable import printable
from logferry.server.storage.disk.journals.new_segments import AT_A_TIME, NewSegments
from logferry.server.storage.disk.journals.own_journals import OwnJournals
from logferry.server.storage.disk.journals.recorded_group import RecordedGroup
from logferry.server.storage.disk.journals.waiting_entries import Waiting, WaitingEntries
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.log_names import LogName
from logferry.server.storage.records import SegmentRow
from logferry.telemetry.log_limits import RepeatLimit
from logferry.telemetry.pieces import let_others_run
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# What waits is written at once if it is of at most this many segments.
_FEW: Final = 8

# Long enough that one write covers many groups; it is what a kill costs the journals of a store with many sources.
_WRITE_INTERVAL_S: Final = 5.0

# The part of the time in which journals are written anew, or made, in small pieces; at least one is.
_COMPACTION_SHARE: Final = 0.2


class Journals:
    """The journals of a store. The writer thread adds; it and a thread of the journals write.

    `_writing` guards the files and what is known about them. What waits has a lock of its own: a thread that holds
    `_writing` may take that, never the other way round.
    """

    def __init__(
        self,
        root: Path,
        store_id: str,
        *,
        incomplete: Iterable[str] = (),
        interval_s: float = _WRITE_INTERVAL_S,
        pause: Callable[[], object] = let_others_run,
    ) -> None:
        """Segments whose journals are `incomplete` get no entries: their ends would hide what is missing before.

        `pause` lets other threads run, between two pieces of the thread's work.
        """
        self._interval_s = interval_s
        self._pause = pause
        self._failures = RepeatLimit(logger)
        self._has_work = threading.Event()
        self._is_stopping = threading.Event()
        self._waiting = WaitingEntries(incomplete)
        self._writing = threading.Lock()
        self._own = OwnJournals(
            *(root, store_id),
            lock=self._writing,
            wake=self._has_work.set,
            pause=self._let_others_run,
            on_failure=self._note_failure,
        )
        self._new = NewSegments(
            *(root, store_id),
            lock=self._writing,
            wake=self._has_work.set,
            pause=self._let_others_run,
            on_failure=self._note_failure,
            on_closed=self._own.must_be_written_anew,
        )
        self._worker = Worker(self._run, name="logferry-journals", on_stop=self._hurry)

    def start(self) -> None:
        """Begin to write every few seconds what waits."""
        self._worker.start()

    def close(self, timeout_s: float) -> None:
        """Write what waits, for at most `timeout_s`, and close all files; the next start completes what remains."""
        if not self._worker.stop(timeout_s):
            return
        with self._writing:
            self._new.close()
            self._own.close()

    def begin(self, row: SegmentRow, log: LogName) -> None:
        """Begin the journal of a new segment: it says that nothing is stored yet. Never raises OSError."""
        with self._writing:
            try:
                if self._new.has_begun(row, log):
                    self._own.begun_elsewhere(row)
                else:
                    self._own.begin(row, log)
            except OSError as error:
                self._note_failure(error)

    def add(self, rows: Sequence[SegmentRow], group: RecordedGroup, ledger: Ledger) -> None:
        """Add a recorded group that has changed the segments `rows`. Never raises OSError."""
        self._waiting.add(rows, group, ledger)
        if self._waiting.count <= _FEW or self._waiting.are_too_many:
            self.write()
        elif not self._has_work.is_set():
            self._has_work.set()

    def write(self) -> None:
        """Write what waits. Never raises OSError."""
        segments = self._waiting.segments()
        new = [segment for segment in segments if segment in self._new]
        for start in range(0, len(new), AT_A_TIME):
            with self._writing:
                self._write_new(new[start : start + AT_A_TIME])
        for segment in segments:
            with self._writing:  # for one segment at a time: the writer thread waits for no other
                if segment not in self._new and (waiting := self._waiting.take(segment)):
                    self._write_own(segment, waiting)

    def forget(self, segments: Iterable[int]) -> None:
        """Never write again to the journals of segments that are about to be deleted."""
        with self._writing:
            self._waiting.forget(segments)
            for segment in segments:
                self._own.forget(segment)
            self._new.forget(segments)

    def _hurry(self) -> None:
        self._is_stopping.set()
        self._has_work.set()

    def _run(self, worker: Worker) -> None:
        is_last = False
        while not is_last:
            self._has_work.wait()
            self._is_stopping.wait(self._interval_s)
            self._has_work.clear()
            is_last = worker.is_stopping
            try:
                self.write()
                self._settle(is_last=is_last)
                self._compact_some()
            except Exception:  # the top of a worker; the next start completes the journals
                logger.exception("the journals of segments cannot be written")

    def _write_new(self, segments: Sequence[int]) -> None:
        """Write what waits of segments that have their entries in the shared journal, all at once."""
        waiting = {
            segment: found for segment in segments if segment in self._new and (found := self._waiting.take(segment))
        }
        if not waiting:
            return
        try:
            self._new.write(waiting)
        except OSError as error:
            self._note_failure(error)
            for segment, found in waiting.items():
                self._wait_again(segment, found)

    def _write_own(self, segment: int, waiting: Waiting) -> None:
        try:
            self._own.write(segment, waiting)
        except OSError as error:
            self._note_failure(error)
            self._wait_again(segment, waiting)

    def _wait_again(self, segment: int, waiting: Waiting) -> None:
        if self._waiting.put_back(segment, waiting):
            self._has_work.set()

    def _settle(self, *, is_last: bool) -> None:
        self._new.settle(end=self._share_ends(), is_last=is_last)

    def _compact_some(self) -> None:
        self._own.compact_some(end=self._share_ends())

    def _let_others_run(self) -> None:
        """Between two pieces of work; once the store is closed, nobody else has anything to do."""
        if not self._is_stopping.is_set():
            self._pause()

    def _share_ends(self) -> float:
        return time.monotonic() + _COMPACTION_SHARE * self._interval_s

    def _note_failure(self, error: OSError) -> None:
        cause = cause_of(error, with_path=True)
        message = "cannot write the journal of a segment: %s; it is written later, or completed at the next start"
        self._failures.log(logging.WARNING, "journal", message, printable(cause))
