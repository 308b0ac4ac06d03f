"""The pages that both ends serve over HTTP: /metrics, /healthz and /readyz, from one snapshot a request.

Owns the paths and what their answers mean. The text of the metrics is made in small pieces (pieces.py).
"""

from collections.abc import Callable, Sequence
from typing import Final

from logferry.printable import printable
from logferry.telemetry.exposition import CONTENT_TYPE, exposition
from logferry.telemetry.heartbeat import Heartbeat
from logferry.telemetry.http_requests import Request, Response
from logferry.telemetry.pieces import in_pieces, let_others_run
from logferry.telemetry.status_source import StatusSource, Verdict
from logferry.telemetry.table import Metric

# About 50 us of work.
_METRICS_PER_PIECE: Final = 4

_INDEX: Final = b"""\
/metrics  the numbers, for Prometheus
/healthz  200 while the process works, or 503 and the reason if it hangs
/readyz   200, or 503 and the reason
"""


class Pages:
    """Answers requests from a StatusSource, in the thread of the caller."""

    def __init__(
        self,
        source: StatusSource,
        table: Sequence[Metric],
        *,
        heartbeat: Heartbeat,
        pause: Callable[[], object] = let_others_run,
    ) -> None:
        """`heartbeat` is that of the thread that ships or serves; `pause` lets threads run between pieces of text."""
        self._source = source
        self._table = table
        self._heartbeat = heartbeat
        self._pause = pause

    def answer(self, request: Request) -> Response:
        """Return the answer to a request."""
        match request.path:
            case "/metrics":
                return Response(200, self._metrics(), CONTENT_TYPE)
            case "/healthz":
                return _judged(self._heartbeat.verdict(), b"ok\n", "hangs")
            case "/readyz":
                return _judged(self._source.snapshot().verdict, b"ready\n", "not ready")
            case "/":
                return Response(200, _INDEX)
        return Response(404, b"not found: this server has /metrics, /healthz and /readyz\n")

    def _metrics(self) -> bytes:
        texts = exposition(self._table, self._source.snapshot())
        return "".join(in_pieces(texts, _METRICS_PER_PIECE, self._pause)).encode()


def _judged(verdict: Verdict, good: bytes, bad: str) -> Response:
    if verdict.is_ready:
        return Response(200, good)
    return Response(503, f"{bad}: {printable(verdict.reason)}\n".encode())
