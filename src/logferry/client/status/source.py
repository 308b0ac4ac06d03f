"""The client's StatusSource: its counters and gauges, and whether it can deliver."""

from dataclasses import asdict

from logferry.client.status.connection_state import WAITING, ConnectionTracker
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.status_source import Snapshot, Verdict


class ClientStatus:
    """See StatusSource. Owns nothing: metrics and tracker belong to the run."""

    def __init__(self, metrics: Metrics, connection: ConnectionTracker) -> None:
        self._metrics = metrics
        self._connection = connection

    def snapshot(self) -> Snapshot:
        """See StatusSource. A client that is not connected is ready if it has nothing to send."""
        total, connection = self._metrics.total(), self._connection.state
        verdict = Verdict.ready()
        if connection.state == WAITING:
            verdict = Verdict.not_ready(f"waiting for the server: {connection.error}")
        return Snapshot(verdict, asdict(total.counters), asdict(total.gauges))
