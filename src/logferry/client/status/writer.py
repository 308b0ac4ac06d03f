"""Writes `STATE_DIR/status.json` while a client runs, in a thread of its own, for `logferry status` and for people.

The thread writes at the start, at the end, and whenever something has changed: at most once a second, and rarely enough
to spend at most a fiftieth of the time on writing, whatever the number of files. It works in small pieces (pieces.py).
While nothing changes the thread sleeps, so the file may be old; inspect.py compares it with the disk. Writing must
never delay the engine or end a run.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.readers.base import Reader
from logferry.client.status.connection_state import ConnectionState, ConnectionTracker
from logferry.client.status.lag import FILES_PER_PIECE, lag_of
from logferry.client.status.snapshot import STATUS_FILE, ClientReport, Status, encode
from logferry.config import ShipSettings
from logferry.durable import replace_file
from logferry.errors import cause_of
from logferry.telemetry.log_limits import RepeatLimit
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.pieces import in_pieces, let_others_run
from logferry.telemetry.table import Counters, Gauges
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# People read the file, so writing more often is useless. After a write, the thread pauses for 50 times the processor
# time of the write (not 50 times its duration: in a busy client, the thread mostly waits for other threads).
WRITE_INTERVAL_S: Final = 1.0
_PAUSE_PER_WRITE: Final = 50


@dataclass(frozen=True, slots=True)
class _Observation:
    """What is cheap to read, and differs whenever there is something new to write."""

    counters: Counters
    gauges: Gauges
    lines_per_second: float
    connection: ConnectionState
    revision: int


class StatusWriter:
    """Writes the status of one run. After `__enter__`, only its own thread touches its attributes, except `problems`:
    the run sets `problems` before `__exit__`, which writes the last status after the thread has ended.
    """

    def __init__(
        self,
        folder: Path,
        settings: ShipSettings,
        reader: Reader,
        *,
        metrics: Metrics,
        connection: ConnectionTracker,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        work_clock: Callable[[], float] = time.thread_time,
        pause: Callable[[], object] = let_others_run,
    ) -> None:
        """`clock` is monotonic; `wall_clock` returns Unix time, `work_clock` the processor time of its thread.

        `pause` lets other threads run, between two pieces of a write.
        """
        self._path = folder / STATUS_FILE
        self._settings = settings
        self._servers = [str(Endpoint(*server)) for server in settings.servers]
        self._reader = reader
        self._metrics = metrics
        self._connection = connection
        self._clock = clock
        self._wall_clock = wall_clock
        self._work_clock = work_clock
        self._pause = pause
        self._started_at = wall_clock()
        self._directory = _working_directory()
        self._written: _Observation | None = None
        self._is_quiet = False  # nothing had changed at the last check
        self._looked_at = clock()
        self._acked_then = 0
        self._next_look = clock()
        self._failures = RepeatLimit(logger, clock=clock)
        self._worker = Worker(self._run, name="status-writer", on_stop=metrics.changed.set)
        self.problems: Sequence[str] = ()  # what went wrong in a run that ended well

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.stop()
        outcome = (str(error) or repr(error)) if error else "; ".join(self.problems)
        try:
            self._write(self._look(), ended_at=self._wall_clock(), outcome=outcome)
        except Exception:  # the result of the run matters more than the report about it
            logger.exception("cannot write how the run ended to %s", self._path)

    def write_if_due(self) -> None:
        """Write if something has changed and the last write is long enough ago."""
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + WRITE_INTERVAL_S
        self._metrics.changed.clear()
        observation = self._look()
        self._is_quiet = observation == self._written
        if self._is_quiet:
            return
        work_before = self._work_clock()
        self._write(observation)
        pause_s = _PAUSE_PER_WRITE * (self._work_clock() - work_before)
        self._next_look = max(self._next_look, self._clock() + pause_s)

    def _run(self, worker: Worker) -> None:
        try:
            self.write_if_due()
            while not worker.wait(max(0.0, self._next_look - self._clock())):
                self.write_if_due()
                if self._is_quiet and not worker.is_stopping:  # read after `changed` was cleared
                    self._wait_for_change()
        except Exception:  # the top of a thread; a client that cannot report its status still ships
            logger.exception("%s is no longer written", self._path)

    def _wait_for_change(self) -> None:
        """Wait until something is counted, then let a second pass, to measure the speed over that second."""
        self._metrics.changed.wait()
        self._looked_at = self._clock()
        self._next_look = self._looked_at + WRITE_INTERVAL_S

    def _look(self) -> _Observation:
        total = self._metrics.total()
        acked, now = total.counters.lines_acked, self._clock()
        seconds = now - self._looked_at
        lines_per_second = round((acked - self._acked_then) / seconds, 1) if seconds else 0.0
        self._acked_then, self._looked_at = acked, now
        return _Observation(
            total.counters, total.gauges, lines_per_second, self._connection.state, self._reader.revision
        )

    def _write(self, observation: _Observation, *, ended_at: float = 0.0, outcome: str = "") -> None:
        client = ClientReport(
            pid=os.getpid(),
            mode=self._settings.mode,
            server=observation.connection.server or self._servers[0],
            servers=", ".join(self._servers) if len(self._servers) > 1 else "",
            started_at=self._started_at,
            written_at=self._wall_clock(),
            directory=self._directory,
            ended_at=ended_at,
            outcome=outcome,
            lines_per_second=observation.lines_per_second,
            queue_lines=observation.gauges.queue_lines,
            held_files=observation.gauges.held_files,
            held_bytes=observation.gauges.held_bytes,
            link=observation.connection,
            counters=observation.counters,
        )
        try:
            files = tuple(in_pieces(self._reader.report(), FILES_PER_PIECE, self._let_others_run))
            self._metrics.lag = lag_of(files, pause=self._let_others_run)
            content = encode(Status(client, files), pause=self._let_others_run)
            replace_file(self._path, content, is_synced=False)
        except OSError as error:
            reason = cause_of(error)
            self._failures.log(
                *(logging.WARNING, reason, "cannot write %s: %s; `logferry status` will show an older status"),
                *(self._path, reason),
            )
        else:
            self._written = observation
            self._failures.all_over("%s is written again", self._path)

    def _let_others_run(self) -> None:
        """Between two pieces of work; at the end of the run, nobody else has anything to do."""
        if not self._worker.is_stopping:
            self._pause()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # deleted
