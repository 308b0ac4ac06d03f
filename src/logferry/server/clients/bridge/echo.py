"""Copies stored lines to standard output (`--echo`), for people who watch.

A terminal or pipe that nobody reads must never delay a delivery: a thread of its own writes, and what does not fit into
the queue is left out, counted and reported. Owns that queue. The lines remain JSON, but nothing in them can control a
terminal.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from logferry.printable import printable, printable_ndjson
from logferry.telemetry.log_limits import RepeatLimit
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# What a terminal shows in a second or two. A larger group of lines waits only where nothing else does.
MAX_WAITING_BYTES: Final = 4 * 1024 * 1024

# At the end, a reader has this long to take what is waiting.
_LAST_WAIT_S: Final = 1.0

_TOO_SLOW: Final = "standard output is read too slowly: some lines are not echoed; they are stored like all others"


class Echo:
    """Writes copies of lines with `write`, in a thread. Any thread may call `put`."""

    def __init__(self, write: Callable[[bytes], None], *, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self._write = write
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # guards the next three attributes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0  # in the queue or being written
        self._left_out = 0  # lines
        self._has_failed = False
        self._limit = RepeatLimit(logger)
        self._worker = Worker(self._run, name="logferry-echo")
        self._worker.start()

    def put(self, pieces: Iterable[bytes]) -> None:
        """Queue pieces of whole lines for the echo, or leave them out. Never waits."""
        if self._has_failed:
            return
        lines = b"".join(pieces)
        with self._lock:
            fits = not self._bytes or self._bytes + len(lines) <= self._max_bytes
            if fits:
                self._waiting.append(lines)
                self._bytes += len(lines)
            else:
                self._left_out += lines.count(b"\n")
        if fits:
            self._worker.wake()
        else:
            self._limit.log(logging.WARNING, "full", _TOO_SLOW)

    def close(self) -> None:
        """Give the reader a moment to take what is waiting, then end. Logs how many lines were left out."""
        self._worker.stop(_LAST_WAIT_S)
        if self._left_out:
            logger.warning("%d stored lines were not echoed", self._left_out)

    def _run(self, worker: Worker) -> None:
        is_stopping = False
        while not is_stopping and not self._has_failed:
            worker.wait()
            is_stopping = worker.is_stopping  # asked before the queue is: nothing comes after the request
            self._write_waiting()

    def _write_waiting(self) -> None:
        while lines := self._next():
            try:
                self._write(printable_ndjson(lines))
            except (OSError, ValueError) as error:  # a closed file is a ValueError
                self._has_failed = True
                logger.warning("cannot echo stored lines, not trying again: %s", printable(str(error)))
                return
            with self._lock:
                self._bytes -= len(lines)

    def _next(self) -> bytes:
        with self._lock:
            return self._waiting.popleft() if self._waiting else b""
