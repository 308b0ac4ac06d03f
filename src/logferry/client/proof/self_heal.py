"""Self-healing: a running client repairs what the server reports as damaged, in a thread, on a connection of its own.

The engine hands over the ids of sources that the server has named, and goes on delivering. Owns the queue of these
sources. Must never slow down delivery: nothing is done before a notice comes, and one source is repaired at a time.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from logferry.client.finding.listing import FolderListings
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.net.waiting.readiness import Readiness, poll
from logferry.client.proof.repair import RepairReport, repair_source
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import ShipSettings
from logferry.errors import DeliveryError, ProtocolError
from logferry.printable import SHOWN_REASON_CHARS, printable
from logferry.telemetry.log_limits import RateLimit
from logferry.telemetry.metrics import Metrics
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# More sources than this wait only on the server, which names them again at the next connection.
_MAX_WAITING: Final = 10_000

# A run that has delivered everything waits this long for a server that does not answer; a later run repairs the rest.
_FINISH_PATIENCE_S: Final = 5.0

# ... and this long for one that answers: it may name damage without end. A later run repairs the rest.
_FINISH_MOST_S: Final = 60.0

# A server that was reachable a moment ago will be again; each attempt waits twice as long as the one before.
_ATTEMPTS: Final = 8
_FIRST_RETRY_S: Final = 0.5

_TICK_S: Final = 0.1
_MESSAGES_PER_SECOND: Final = 5


class _Stopping(DeliveryError):
    """The run ends; what is still damaged is repaired by the next run."""


class SelfHealer:
    """Repairs damaged sources. The engine's thread calls `damaged`; the thread of the run calls `finish` and `stop`.

    A condition guards the waiting sources; everything else belongs to the worker.
    """

    def __init__(
        self, endpoint: Endpoint, settings: ShipSettings, checkpoints: Checkpoints, *, metrics: Metrics
    ) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._checkpoints = checkpoints
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting: dict[str, None] = {}  # sources, in order
        self._is_working = False
        self._is_started = False
        self._away_since: float | None = None  # when the server stopped answering; None while it answers
        self._log = RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="repairs")
        self._problems: dict[str, str] = {}  # by source, as logged: the server names the source at each connection
        self._worker = Worker(self._run, name="self-heal")

    def damaged(self, source_id: str) -> None:
        """Repair a source soon. Never waits."""
        with self._changed:
            if len(self._waiting) < _MAX_WAITING:
                self._waiting[source_id] = None
            if not self._is_started:
                self._is_started = True
                self._worker.start()
        self._worker.wake()

    def finish(self, *, is_stopping: Callable[[], bool]) -> None:
        """Wait until nothing is left to repair, the server has been away for a few seconds, or until `is_stopping`.

        Wait for a minute at most.
        """
        began = time.monotonic()
        with self._changed:
            while (self._waiting or self._is_working) and self._worker.is_running and not is_stopping():
                if time.monotonic() - began > _FINISH_MOST_S:
                    logger.warning("not all that is damaged on the server is repaired: a later run goes on")
                    return
                away_since = self._away_since
                if away_since is not None and time.monotonic() - max(began, away_since) > _FINISH_PATIENCE_S:
                    return
                self._changed.wait(_TICK_S)

    def stop(self, timeout_s: float) -> None:
        """End the thread; a repair that is cut off leaves the extent damaged, or whole."""
        self._worker.ask_to_stop()
        self._worker.wait_for_end(timeout_s)
        self._log.flush()

    def _run(self, worker: Worker) -> None:
        while not worker.is_stopping:
            with self._changed:
                self._is_working = bool(self._waiting)
                sources, self._waiting = list(self._waiting), {}
                self._changed.notify_all()
            if sources:
                self._repair_all(sources, worker)
            else:
                worker.wait()

    def _repair_all(self, sources: list[str], worker: Worker) -> None:
        attempt = 0
        while sources and attempt < _ATTEMPTS:
            before = len(sources)
            try:
                self._repair_some(sources)
            except _Stopping:
                return
            except Exception as error:  # the top of a worker: a bug here must not end the run
                level = logging.DEBUG if isinstance(error, DeliveryError) else logging.ERROR
                logger.log(level, "cannot repair now: %s", error, exc_info=level == logging.ERROR)
                self._away_since = self._away_since or time.monotonic()
                attempt = attempt + 1 if len(sources) == before else 0
                self._pause(_FIRST_RETRY_S * 2**attempt, worker)
        if sources:
            self._log.log(
                logging.WARNING,
                "cannot repair %d files on the server, which does not answer: a later run does",
                len(sources),
            )

    def _repair_some(self, sources: list[str]) -> None:
        """Repair sources, on one connection, until one of them is a problem of its own; remove these from the list.

        Raises DeliveryError, or whatever keeps the client from connecting; the sources that are left are not to blame.
        """
        client_id = self._checkpoints.client_id
        with ReportClient.connected_to(self._endpoint, self._settings, client_id, wait=self._wait) as reports:
            self._away_since = None
            while sources:
                try:
                    self._repair(sources[0], reports)
                except ProtocolError as error:  # an answer about one source must not keep the others from repair
                    shown = printable(str(error), max_chars=SHOWN_REASON_CHARS)
                    self._log.log(logging.WARNING, "cannot repair source %s on the server: %s", sources.pop(0), shown)
                    return
                except DeliveryError:
                    raise
                except Exception:
                    logger.exception("cannot repair %s on the server", printable(sources.pop(0)))
                    return
                del sources[0]

    def _repair(self, source_id: str, reports: ReportClient) -> None:
        checkpoint = self._checkpoints.of_source(source_id)
        if checkpoint is None:
            self._log.log(
                logging.WARNING, "the server has damaged lines of source %s, which is not known here", source_id
            )
            return
        report = repair_source(checkpoint, reports, FolderListings(), is_checked=True)
        self._metrics.add(extents_repaired=report.repaired)
        self._log_result(source_id, report)

    def _log_result(self, source_id: str, report: RepairReport) -> None:
        path = printable(report.path)
        if report.repaired:
            message = "%s: repaired %d damaged extents (%d lines) on the server's disk"
            self._log.log(logging.INFO, message, path, report.repaired, report.lines)
        problem = report.problems[0] if report.problems else ""
        if problem and self._problems.get(source_id) != problem:
            if len(self._problems) < _MAX_WAITING:
                self._problems[source_id] = problem
            message = "%s: cannot repair %d damaged extents on the server's disk: %s"
            self._log.log(logging.WARNING, message, path, len(report.problems), printable(problem))

    def _wait(self, interest: Readiness, timeout_s: float) -> dict[int, int]:
        """Wait for the server, and notice the end of the run."""
        end = time.monotonic() + timeout_s
        while True:
            if self._worker.is_stopping:
                raise _Stopping("the run ends")
            left = max(0.0, end - time.monotonic())
            ready = poll(interest, min(left, _TICK_S))
            if ready or left <= _TICK_S:
                return ready

    def _pause(self, seconds: float, worker: Worker) -> None:
        end = time.monotonic() + seconds
        while not worker.is_stopping and (left := end - time.monotonic()) > 0:
            worker.wait(left)
