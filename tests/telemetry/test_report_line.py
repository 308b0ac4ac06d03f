"""The report line, the shortcomings, and the reporter in its thread."""

import logging
import threading

import pytest

from logferry.telemetry.metrics import Metrics
from logferry.telemetry.report_line import Reporter, describe, shortcomings
from logferry.telemetry.table import Counters
from tests.support.builders import Clock
from tests.support.running import DEADLINE_S, wait_until


def test_the_description_is_one_line_with_all_that_matters() -> None:
    clock = Clock()
    metrics = Metrics(clock=clock)
    metrics.add(lines_read=100, bytes_read=9000, lines_shipped=90, lines_rejected=1, lines_retried=2)
    metrics.add(bytes_wire=8000, batches=3, reconnects=4)
    metrics.acked(80, 0.002)
    metrics.set_queue_lines(10)
    clock.now += 2
    assert describe(metrics.take()) == (
        "read 100 lines (9000 bytes), shipped 90, acked 80 (40/s), rejected 1, retried 2, "
        "wire 8000 bytes in 3 batches, reconnects 4, queue 10 lines, ack latency avg 2.0 ms p50 2.0 p99 2.0 max 2.0"
    )


def test_rare_things_are_described_only_when_there_are_any() -> None:
    metrics = Metrics(clock=Clock())
    usual = describe(metrics.total())
    metrics.add(lines_joined=1, lines_filtered=2, redactions=3, bytes_lost=4, bytes_given_up=5)
    metrics.set_held(6, 7)
    assert describe(metrics.total()) == (
        f"{usual}, held 6 files (7 bytes not acked), joined 1 lines, filtered 2 lines, redacted 3, lost 4 bytes, "
        "dropped 5 bytes of held files"
    )


def test_each_kind_of_shortcoming_has_its_own_sentence() -> None:
    assert shortcomings(Counters(lines_read=9, lines_blank=9, lines_retried=9, lines_filtered=9, redactions=9)) == []
    assert shortcomings(Counters(lines_rejected=1, lines_cut=2, bytes_lost=3, bytes_given_up=4)) == [
        "1 lines were refused by the server",
        "2 lines were too long and were truncated",
        "3 bytes were gone before they were read",
        "4 bytes of rotated or deleted files were dropped (--max-held-bytes)",
    ]


def test_an_interval_of_zero_length_is_described_without_dividing_by_zero() -> None:
    assert "acked 0 (0/s)" in describe(Metrics(clock=Clock()).take())


# --- the reporter -----------------------------------------------------------------------------------------------------


def test_the_reporter_logs_each_interval_and_stops_immediately(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="logferry.telemetry.report_line")
    metrics = Metrics()
    metrics.add(lines_read=42)
    reporter = Reporter(metrics, interval_s=0.01)
    reporter.start()
    wait_until(lambda: len(caplog.messages) >= 2, "two reports")
    reporter.stop()
    reported = len(caplog.messages)
    assert caplog.messages[0].startswith("metrics: read 42 lines")
    assert caplog.messages[1].startswith("metrics: read 0 lines")
    assert not any(thread.name == "metrics-reporter" for thread in threading.enumerate())
    assert len(caplog.messages) == reported


def test_a_reporter_that_waits_for_long_stops_without_waiting_and_reports_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="logferry.telemetry.report_line")
    metrics = Metrics()
    metrics.add(lines_read=42)
    reporter = Reporter(metrics, interval_s=3600)
    reporter.start()
    stopper = threading.Thread(target=reporter.stop)
    stopper.start()
    stopper.join(DEADLINE_S)
    assert not stopper.is_alive()
    (report,) = caplog.messages
    assert report.startswith("metrics: read 42 lines")
