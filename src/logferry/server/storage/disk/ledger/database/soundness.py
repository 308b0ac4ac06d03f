"""When SQLite checks the ledger: a ledger of usual size before the start, a large one in the background right after it.

Owns the size at which that changes, and the thread of the background check, which only reads, through a connection of
its own. Damage that it finds ends the store, as it would have kept the store from starting: the lines are as they were,
and clients keep what is not acked. A mark beside the ledger then has the next start check the whole ledger first, so
that a service that is started again and again does not store into a damaged ledger each time.
"""

import logging
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from logferry.durable import replace_file
from logferry.errors import StoreError, cause_of
from logferry.server.storage.disk.files.idle_priority import reading_when_idle
from logferry.server.storage.disk.ledger import FILE_NAME, Ledger
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# Checked within about 0.7 s (2.7 s for a gigabyte, from the cache of the system). A fleet of clients waits that long.
MAX_AT_START_BYTES: Final = 256 * 1024 * 1024

_INTERRUPT_S: Final = 0.02

MARK_NAME: Final = f"{FILE_NAME}-check-first"


def is_due_at_start(data_dir: Path) -> bool:
    """Whether the ledger must be checked before the store starts. Raises OSError."""
    if (data_dir / MARK_NAME).exists():
        return True
    return sum(_size(data_dir / f"{FILE_NAME}{suffix}") for suffix in ("", "-wal")) <= MAX_AT_START_BYTES


def forget_mark(data_dir: Path) -> None:
    """Note that a ledger has passed its check. Raises OSError."""
    (data_dir / MARK_NAME).unlink(missing_ok=True)


class LedgerCheck:
    """The check in the background. The store starts and stops it; it calls `on_damage` in its own thread."""

    def __init__(self, data_dir: Path, *, on_damage: Callable[[str], None]) -> None:
        """`on_damage` receives the first problem."""
        self._data_dir = data_dir
        self._on_damage = on_damage
        self._ledger: Ledger | None = None
        self._worker = Worker(self._run, name="logferry-ledger-check")

    def start(self) -> None:
        """Begin to check."""
        self._worker.start()

    def stop(self, timeout_s: float) -> bool:
        """Stop at once; return whether the thread has ended in time."""
        self._worker.ask_to_stop()
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if ledger := self._ledger:  # again and again: the thread may be about to begin
                ledger.interrupt()
            if self._worker.wait_for_end(_INTERRUPT_S):
                return True
        return False

    def _run(self, worker: Worker) -> None:
        try:
            problems = self._problems()
        except (OSError, StoreError) as error:
            if not worker.is_stopping:
                cause = cause_of(error, with_path=True) if isinstance(error, OSError) else str(error)
                logger.warning("cannot check the ledger; the next start checks it again: %s", cause)
            return
        if problems:
            self._report(problems[0])
        elif not worker.is_stopping:
            logger.info("the ledger is sound")

    def _problems(self) -> list[str]:
        with closing(Ledger(self._data_dir, durable=False, read_only=True)) as ledger, reading_when_idle():
            self._ledger = ledger
            try:
                return [] if self._worker.is_stopping else ledger.problems()
            finally:
                self._ledger = None

    def _report(self, problem: str) -> None:
        logger.error(
            "the ledger %s is damaged: %s. The server stores nothing more, and the segments are as they were. "
            "`logferry fsck --rebuild` makes the ledger anew from the journals beside them, and keeps the damaged one",
            *(self._data_dir / FILE_NAME, problem),
        )
        with suppress(OSError):  # the next start then stores until its own check has come this far
            replace_file(self._data_dir / MARK_NAME, b"", mode=0o640)
        self._on_damage(problem)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
