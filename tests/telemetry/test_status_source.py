"""The status seam's contract, on the status in memory that tests use."""

import dataclasses

from logferry.telemetry.status_source import Snapshot, StatusSource, Verdict
from logferry.telemetry.table import CLIENT, CLIENT_COUNTERS, CLIENT_GAUGES
from tests.support.status_source_contract import FixedStatus, StatusSourceContract


class TestFixedStatus(StatusSourceContract):
    """A status that a test sets."""

    metrics = CLIENT

    def source(self) -> StatusSource:
        counters = {metric.name: 0 for metric in CLIENT_COUNTERS}
        gauges = {metric.name: 0.0 for metric in CLIENT_GAUGES}
        return FixedStatus(
            Snapshot(
                Verdict.ready(), counters, gauges, {"info": {"1.0": 1}, "server_in_use": {}, "server_switches": {}}
            )
        )

    def work(self, source: StatusSource) -> None:
        assert isinstance(source, FixedStatus)
        counters = {**source.current.counters, "lines_acked": 1}
        source.current = dataclasses.replace(source.current, counters=counters)

    def break_down(self, source: StatusSource) -> None:
        assert isinstance(source, FixedStatus)
        source.current = dataclasses.replace(source.current, verdict=Verdict.not_ready("the disk is full"))
