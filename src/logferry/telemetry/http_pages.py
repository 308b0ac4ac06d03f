"""The pages that both ends serve over HTTP: /metrics, /healthz and /readyz, from one snapshot a request.

Owns the paths and what their answers mean. The text of the metrics is made in small pieces; between them, other threads
have their turn: a thread that is busy for long delays all others by the interpreter's switch interval, again and again.
"""

import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from logferry.printable import printable
from logferry.telemetry.exposition import CONTENT_TYPE, exposition
from logferry.telemetry.http_requests import Request, Response
from logferry.telemetry.status_source import StatusSource
from logferry.telemetry.table import Metric

# About 50 us of work.
_METRICS_PER_PIECE: Final = 4

_INDEX: Final = b"""\
/metrics  the numbers, for Prometheus
/healthz  200 while the process works
/readyz   200, or 503 and the reason
"""


def _let_others_run() -> None:
    time.sleep(0)


class Pages:
    """Answers requests from a StatusSource, in the thread of the caller."""

    def __init__(
        self, source: StatusSource, table: Sequence[Metric], *, pause: Callable[[], object] = _let_others_run
    ) -> None:
        """`pause` lets other threads run, between two pieces of text."""
        self._source = source
        self._table = table
        self._pause = pause

    def answer(self, request: Request) -> Response:
        """Return the answer to a request."""
        match request.path:
            case "/metrics":
                return Response(200, self._metrics(), CONTENT_TYPE)
            case "/healthz":
                return Response(200, b"ok\n")
            case "/readyz":
                return self._readiness()
            case "/":
                return Response(200, _INDEX)
        return Response(404, b"not found: this server has /metrics, /healthz and /readyz\n")

    def _metrics(self) -> bytes:
        pieces: list[str] = []
        for number, piece in zip(count(1), exposition(self._table, self._source.snapshot()), strict=False):
            pieces.append(piece)
            if number % _METRICS_PER_PIECE == 0:
                self._pause()
        return "".join(pieces).encode()

    def _readiness(self) -> Response:
        verdict = self._source.snapshot().verdict
        if verdict.is_ready:
            return Response(200, b"ready\n")
        return Response(503, f"not ready: {printable(verdict.reason)}\n".encode())
