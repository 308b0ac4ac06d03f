"""The client's StatusSource: its counters and gauges, and whether it can deliver; and the serving of them over HTTP."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from logferry import __version__
from logferry.client.readers.base import Reader
from logferry.client.status.connection_state import CONNECTED, ConnectionTracker
from logferry.client.status.lag import LagMeter
from logferry.config import ShipSettings
from logferry.telemetry.heartbeat import Heartbeat
from logferry.telemetry.http_pages import Pages
from logferry.telemetry.http_server import HttpServer
from logferry.telemetry.metrics import Lag, Metrics
from logferry.telemetry.status_source import Snapshot, Verdict
from logferry.telemetry.table import CLIENT


class ClientStatus:
    """See StatusSource; one thread at a time may ask. Owns nothing: what it asks belongs to the run."""

    def __init__(
        self,
        metrics: Metrics,
        connection: ConnectionTracker,
        lag: LagMeter,
        *,
        servers: Sequence[str] = (),
        ready_max_lag_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` returns Unix time; `servers` are those of the client."""
        self._metrics = metrics
        self._connection = connection
        self._lag = lag
        self._servers = servers
        self._ready_max_lag_s = ready_max_lag_s
        self._clock = clock
        self._started_at = clock()

    def snapshot(self) -> Snapshot:
        """See StatusSource. A client that is not connected is ready if it has nothing to send."""
        total, lag = self._metrics.total(), self._lag.lag()
        stalled_s, verdict = self._verdict()
        gauges = {**asdict(total.gauges), **self._gauges(lag), "stalled_seconds": stalled_s}
        if not gauges["tls_expires_at"]:
            del gauges["tls_expires_at"]  # without a certificate, nothing expires
        return Snapshot(
            verdict,
            asdict(total.counters),
            {**gauges, "is_ready": verdict.is_ready, "started_at": self._started_at},
            {"info": {__version__: 1}, **self._labelled()},
            {"ack_latency": total.latency},
        )

    def _labelled(self) -> dict[str, dict[str, float]]:
        present = self._connection.state.server
        in_use = {server: float(server == present) for server in self._servers}
        return {"server_in_use": in_use, "server_switches": dict(self._connection.switches)}

    def _gauges(self, lag: Lag) -> dict[str, float]:
        return {
            "files": lag.files,
            "files_unreadable": lag.files_unreadable,
            "unread_bytes": lag.unread_bytes,
            "unacked_bytes": lag.unacked_bytes,
            "lag_seconds": max(0.0, self._clock() - lag.behind_since) if lag.behind_since else 0.0,
            "is_connected": self._connection.state.state == CONNECTED,
            "is_preferred": self._connection.state.is_preferred,
        }

    def _verdict(self) -> tuple[float, Verdict]:
        """Return for how long nothing has been delivered although something should be, and whether that is too long."""
        seconds, reason = self._connection.stalled_for()
        if seconds <= self._ready_max_lag_s:
            return seconds, Verdict.ready()
        return seconds, Verdict.not_ready(f"nothing was delivered for {seconds:.0f} s: {reason}")


@contextmanager
def serving_numbers(
    settings: ShipSettings, reader: Reader, metrics: Metrics, connection: ConnectionTracker, heartbeat: Heartbeat
) -> Iterator[None]:
    """Serve the numbers of a run over HTTP inside a `with`. Raises AddressError if the address cannot be used."""
    assert settings.http is not None
    servers = [f"{host}:{port}" for host, port in settings.servers]
    lag = LagMeter(reader.report)
    status = ClientStatus(metrics, connection, lag, servers=servers, ready_max_lag_s=settings.ready_max_lag)
    server = HttpServer(*settings.http, Pages(status, CLIENT, heartbeat=heartbeat).answer)
    server.start()
    try:
        yield
    finally:
        server.close()
