"""The writer thread: takes queued deliveries as a group, stores the group, and reports it.

While the thread writes one group, the next one gathers in the queue. If the disk refuses (full, read-only, an error),
the group stays in memory, and the writer tries again every 0.1 to 2 seconds until it succeeds or has to give up. If the
disk only refuses new names, what needs them waits, and everything else is stored (held_back.py). Senders take turns
(lanes.py). Owns the queue; never touches a file (group_commit.py does).
"""

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

from logferry.errors import cause_of
from logferry.server.storage.deliveries import Delivery, OnStored, report_stored
from logferry.server.storage.disk.segments.held_back import HeldBack, NamesRefusedError
from logferry.server.storage.disk.writing.group_commit import GroupCommit, WrittenGroup
from logferry.server.storage.disk.writing.lanes import Lanes
from logferry.server.storage.store import OnFailure, OnHeld, StoreState, no_notices
from logferry.server.storage.store_state import StateTracker
from logferry.telemetry.log_limits import RepeatLimit
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# Short, for a disk that was full for a moment; then longer, for a disk that stays full.
FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 2.0
_RETRY_GROWTH: Final = LAST_RETRY_S / FIRST_RETRY_S

# With a stuck disk, the thread gets this much longer to end; then the process ends without it.
LAST_WAIT_S: Final = 0.5

# Of a full disk, and of a quota that is used up.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

Result = TypeVar("Result")


class Writer:
    """The thread and its queue. Any thread may call the public methods; everything else runs in the writer thread.

    Threads share the queue, and what is to be given up, under `_lock`. Whatever the group commit uses belongs to this
    thread alone.
    """

    def __init__(
        self,
        commit: GroupCommit,
        state: StateTracker,
        *,
        place: str,
        max_logs: int,
        after_group: Callable[[], None],
        has_more: Callable[[], bool] = lambda: False,
        on_full_disk: Callable[[], object] = lambda: None,
        on_failure: OnFailure,
        on_held: OnHeld = no_notices,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        """`has_more` returns whether `after_group` has something to do although no group was stored. `on_full_disk` may
        delete what nobody needs; a group may be half stored meanwhile.
        """
        self._commit = commit
        self._state = state
        self._place = place  # where it writes to, for messages
        self._lanes = Lanes(max_logs=max_logs, new_names=commit.new_names)
        self._after_group = after_group
        self._has_more = has_more
        self._on_full_disk = on_full_disk
        self._on_failure = on_failure
        self._first_retry_s = first_retry_s
        self._lock = threading.RLock()  # of `_gathered`; entering the lock itself costs half as much
        self._gathered = threading.Condition(self._lock)
        self._queue: deque[Delivery] = deque()
        self._held = HeldBack(first_retry_s=first_retry_s, on_held=on_held)
        self._unwanted: set[Delivery] = set()
        self._held_since = 0.0  # while the disk refuses new names
        self._give_up = threading.Event()
        self._has_failed = False
        self._unstored_lines = 0
        self._repeats = RepeatLimit(logger)
        self._worker = Worker(self._run, name="logferry-store", on_stop=self._notify)

    def start(self) -> None:
        """Begin to store."""
        self._worker.start()

    def submit(self, delivery: Delivery, on_stored: OnStored[Any]) -> None:
        """Queue a delivery."""
        delivery.on_stored = on_stored
        with self._lock:
            self._queue.append(delivery)
            if len(self._queue) == 1:  # the writer waits only for an empty queue to fill
                self._gathered.notify()

    def give_up(self, deliveries: Collection[Delivery]) -> None:
        """Hold these back no longer, if they are, and store them no more."""
        with self._lock:
            self._unwanted.update(deliveries)
            self._gathered.notify()

    def stop(self, timeout_s: float) -> int | None:
        """Store what was submitted, for at most `timeout_s`, and end the thread; return how many lines were not stored.

        Returns None if the disk does not answer: then the thread still runs, and may still write.
        """
        self._worker.ask_to_stop()
        has_ended = self._worker.wait_for_end(timeout_s)
        self._give_up.set()
        if not has_ended and not self._worker.wait_for_end(LAST_WAIT_S):
            return None
        return self._unstored_lines + self.lines_in_queue()

    def fail(self, reason: str) -> None:
        """Store nothing more, for a reason that is logged already."""
        with self._lock:
            self._has_failed = True
        self._give_up.set()
        self._worker.ask_to_stop()
        if self._state.change(StoreState.FAILED, reason):
            self._on_failure()

    def lines_in_queue(self) -> int:
        """Return how many submitted lines are not part of a group yet."""
        with self._gathered:
            return sum(delivery.lines for delivery in self._queue) + self._lanes.lines + self._held.lines

    def _notify(self) -> None:
        with self._gathered:
            self._gathered.notify()

    def _run(self, worker: Worker) -> None:
        unstored: Sequence[Delivery] = ()
        try:
            while group := self._take_group(worker):
                unstored = group
                stored = self._store(group)
                if stored is None:
                    return
                unstored = ()
                if stored:
                    report_stored(stored)
                    self._after_group()
        except Exception:  # the top of the thread
            self._unstored_lines = _lines(unstored)
            logger.exception("the writer of %s has failed; the server stores nothing more", self._place)
            self._state.change(StoreState.FAILED, "a bug in the server ended the writer thread; see the log")
            self._on_failure()

    def _take_group(self, worker: Worker) -> Sequence[Delivery]:
        """Wait for deliveries; return some of those that can be stored now, or nothing when the writer stops."""
        while True:
            with self._gathered:
                if self._has_failed:
                    return ()
                if self._unwanted:
                    report_stored(self._held.give_up(self._unwanted))
                    self._unwanted.clear()
                if self._held and not self._give_up.is_set() and self._held.wait_s == 0:
                    return self._held.take()
                if not self._queue and not self._lanes:
                    if worker.is_stopping and (not self._held or self._give_up.is_set()):
                        return ()
                    if not self._has_more():
                        self._gathered.wait(self._held.wait_s)
                        continue
                arrived, self._queue = self._queue, deque()
            if not arrived and not self._lanes:
                self._after_group()
            elif group := self._held.without_held(self._lanes.take(arrived)):
                return group

    def _store(self, group: Sequence[Delivery]) -> Sequence[Delivery] | None:
        """Store a group, with as many attempts as needed; return what is stored, or None if the server stops first."""
        try:
            written = self._retry(lambda: self._commit.write(group), group)
        except NamesRefusedError as refused:
            group = self._hold_back(group, refused)
            return self._store(group) if group else ()
        if written is None or self._retry(lambda: self._record(written), group) is None:
            self._unstored_lines = _lines(group)
            lines = self._unstored_lines + self.lines_in_queue()
            logger.error("shutting down with %d unacknowledged lines; their clients will resend them", lines)
            return None
        self._commit.finish(written)
        if self._held_since:
            self._note_stored()
        return group

    def _hold_back(self, group: Sequence[Delivery], refused: NamesRefusedError) -> Sequence[Delivery]:
        """Let what needs new names wait; return the rest of the group."""
        rest = self._held.hold(group, refused.logs)
        if not self._held_since:
            self._held_since = time.monotonic()
            self._report_stall(refused.cause, ())
        return rest

    def _note_stored(self) -> None:
        """Note that the disk takes lines, and whether it also takes names again."""
        self._state.change(StoreState.STORING)
        if not self._held:
            self._report_resumed(self._held_since)
            self._held_since = 0.0
            self._held.end()

    def _record(self, written: WrittenGroup) -> bool:
        self._commit.record(written)
        return True

    def _retry(self, step: Callable[[], Result], group: Sequence[Delivery]) -> Result | None:
        """Repeat `step` until it raises no OSError; return its result, or None if the server stops first."""
        retry_s = self._first_retry_s
        stalled_since: float | None = None
        while True:
            try:
                result = step()
                break
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._on_full_disk()
                if stalled_since is None:
                    stalled_since = time.monotonic()
                    self._report_stall(error, group)
                elif self._state.explain(cause_of(error)):
                    self._repeats.log(
                        *(logging.ERROR, error.errno, "still cannot write, but now %s"),
                        cause_of(error, with_path=True),
                    )
            if self._give_up.wait(retry_s):
                return None
            retry_s = min(retry_s * 2, self._first_retry_s * _RETRY_GROWTH)
        if stalled_since is not None:
            self._state.change(StoreState.STORING)
            self._repeats.all_over()
            self._report_resumed(stalled_since)
        return result

    def _report_resumed(self, stalled_since: float) -> None:
        logger.info("writing to %s again, after %.1f s", self._place, time.monotonic() - stalled_since)

    def _report_stall(self, error: OSError, group: Sequence[Delivery]) -> None:
        cause = cause_of(error, with_path=True)
        self._state.change(StoreState.STALLED, cause_of(error))  # clients see it: without the server's paths
        logger.error(
            "cannot write %s: holding back acks and trying again; %d lines wait in memory",
            *(cause, _lines(group) + self.lines_in_queue()),
        )


def _lines(group: Sequence[Delivery]) -> int:
    return sum(delivery.lines for delivery in group)
