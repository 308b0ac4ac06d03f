"""The client as a StatusSource."""

from logferry.client.delivery.output import Guarantee
from logferry.client.status.connection_state import ConnectionTracker
from logferry.client.status.source import ClientStatus
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.status_source import StatusSource, Verdict
from logferry.telemetry.table import CLIENT
from tests.support.status_source_contract import StatusSourceContract


class TestClientStatus(StatusSourceContract):
    """The contract."""

    metrics = CLIENT

    def source(self) -> StatusSource:
        self.counted, self.connection = Metrics(), ConnectionTracker()
        return ClientStatus(self.counted, self.connection)

    def work(self, source: StatusSource) -> None:
        self.counted.add(lines_read=1)

    def break_down(self, source: StatusSource) -> None:
        self.connection.failed("connection refused")

    def test_it_is_ready_again_once_it_is_connected(self) -> None:
        source = self.source()
        self.break_down(source)
        assert source.snapshot().verdict == Verdict.not_ready("waiting for the server: connection refused")
        self.connection.connected(Guarantee.EXACTLY_ONCE)
        assert source.snapshot().verdict == Verdict.ready()
