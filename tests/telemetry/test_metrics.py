"""Counters, latency without a growing list, snapshots that do not change, and a reporter in a thread."""

import logging
import random
import statistics
import sys
import threading

import pytest

from logferry.telemetry.latency import LatencyHistogram
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.report_line import Reporter, describe, shortcomings
from logferry.telemetry.table import Counters
from tests.support.builders import Clock
from tests.support.running import DEADLINE_S, wait_until

BUCKET = 1.2  # a percentile is exact to the width of a bucket


def histogram_of(*seconds: float) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for each in seconds:
        histogram.record(each)
    return histogram


# --- latency ----------------------------------------------------------------------------------------------------------


def test_without_latencies_all_is_zero() -> None:
    empty = LatencyHistogram()
    assert (empty.count, empty.average_s, empty.max_s) == (0, 0.0, 0.0)
    assert [empty.percentile_s(fraction) for fraction in (0.0, 0.5, 1.0)] == [0.0, 0.0, 0.0]


def test_average_and_maximum_are_exact() -> None:
    histogram = histogram_of(0.001, 0.002, 0.009)
    assert histogram.average_s == pytest.approx(0.004)
    assert histogram.max_s == 0.009


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_percentiles_are_exact_to_a_bucket(fraction: float) -> None:
    rng = random.Random(1)
    values = sorted(rng.lognormvariate(-6, 2) for _ in range(5000))
    found = histogram_of(*values).percentile_s(fraction)
    exact = values[max(0, round(fraction * len(values)) - 1)]
    assert exact / BUCKET <= found <= max(exact * BUCKET, 50e-6)


def test_no_percentile_exceeds_the_maximum() -> None:
    assert histogram_of(0.010).percentile_s(0.99) == 0.010
    assert histogram_of(0.010, 0.011).percentile_s(1.0) == 0.011


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 50e-6, 999.0, 5000.0])
def test_latencies_out_of_all_bounds_are_counted(seconds: float) -> None:
    histogram = histogram_of(seconds)
    assert (histogram.count, histogram.max_s, histogram.percentile_s(0.5)) == (1, seconds, seconds)


def test_many_events_at_once_are_as_many_single_ones() -> None:
    at_once = LatencyHistogram()
    at_once.record(0.5, 99)
    at_once.record(0.001)
    assert at_once.count == 100
    assert at_once.average_s == pytest.approx(statistics.fmean([0.5] * 99 + [0.001]))
    assert at_once.percentile_s(0.01) == pytest.approx(0.001, rel=BUCKET - 1)
    assert at_once.percentile_s(0.5) == pytest.approx(0.5, rel=BUCKET - 1)


def test_memory_does_not_grow_with_the_number_of_latencies() -> None:
    def size(histogram: LatencyHistogram) -> int:
        return sum(sys.getsizeof(value) for value in vars(histogram).values())

    rng = random.Random(1)
    few, many = histogram_of(1.0), histogram_of(*(rng.random() for _ in range(20_000)))
    assert size(many) == size(few)


# --- counters and snapshots -------------------------------------------------------------------------------------------


def test_counters_add_up_by_name() -> None:
    metrics = Metrics()
    metrics.add(lines_read=3, bytes_read=100)
    metrics.add(lines_read=4, reconnects=1)
    counters = metrics.total().counters
    assert (counters.lines_read, counters.bytes_read, counters.reconnects, counters.lines_acked) == (7, 100, 1, 0)


def test_a_counter_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(AttributeError):
        Metrics().add(lines_raed=1)


def test_acked_lines_count_with_their_latency() -> None:
    metrics = Metrics()
    metrics.acked(10, 0.25)
    total = metrics.total()
    assert (total.counters.lines_acked, total.latency.count, total.latency.average_s) == (10, 10, 0.25)


def test_taking_an_interval_begins_a_new_one_and_leaves_the_total() -> None:
    clock = Clock()
    metrics = Metrics(clock=clock)
    metrics.add(lines_read=5)
    metrics.acked(5, 0.1)
    clock.now += 10
    first = metrics.take()
    metrics.add(lines_read=2)
    clock.now += 3
    second, total = metrics.take(), metrics.total()
    assert (first.seconds, first.counters.lines_read, first.latency.count) == (10, 5, 5)
    assert (second.seconds, second.counters.lines_read, second.latency.count) == (3, 2, 0)
    assert (total.seconds, total.counters.lines_read, total.latency.count) == (13, 7, 5)


def test_a_snapshot_does_not_change_afterwards() -> None:
    metrics = Metrics()
    metrics.acked(1, 0.1)
    total, interval = metrics.total(), metrics.take()
    before = describe(total), describe(interval)
    metrics.acked(1000, 5.0)
    metrics.add(lines_read=7)
    assert (describe(total), describe(interval)) == before
    assert total.latency.max_s == interval.latency.max_s == 0.1


def test_the_queue_is_shown_as_it_is_now_in_both() -> None:
    metrics = Metrics()
    metrics.set_queue_lines(7)
    assert (
        metrics.take().gauges.queue_lines,
        metrics.take().gauges.queue_lines,
        metrics.total().gauges.queue_lines,
    ) == (7, 7, 7)


def test_nothing_is_lost_when_threads_count_while_intervals_are_taken() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.add(lines_read=1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        taken = 0
        while any(thread.is_alive() for thread in threads):
            taken += metrics.take().counters.lines_read
        for thread in threads:
            thread.join(DEADLINE_S)
    finally:
        sys.setswitchinterval(interval)
    assert taken + metrics.take().counters.lines_read == metrics.total().counters.lines_read == 8000


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
        "gave up 5 bytes of held files"
    )


def test_what_is_held_is_shown_as_it_is_now_in_both() -> None:
    metrics = Metrics()
    metrics.set_held(2, 900)
    snapshots = (metrics.take(), metrics.take(), metrics.total())
    assert [(snapshot.gauges.held_files, snapshot.gauges.held_bytes) for snapshot in snapshots] == [(2, 900)] * 3
    metrics.set_held(0, 0)
    assert "held" not in describe(metrics.total())


def test_each_kind_of_shortcoming_is_told_in_a_sentence_of_its_own() -> None:
    assert shortcomings(Counters(lines_read=9, lines_blank=9, lines_retried=9, lines_filtered=9, redactions=9)) == []
    assert shortcomings(Counters(lines_rejected=1, lines_cut=2, bytes_lost=3, bytes_given_up=4)) == [
        "1 lines were refused by the server",
        "2 lines were too long and were cut",
        "3 bytes of the file were gone before they were read",
        "4 bytes of held files were given up (--max-held-bytes)",
    ]


def test_an_interval_of_no_length_is_described_without_dividing_by_zero() -> None:
    assert "acked 0 (0/s)" in describe(Metrics(clock=Clock()).take())


# --- the reporter -----------------------------------------------------------------------------------------------------


def test_the_reporter_logs_each_interval_and_stops_at_once(caplog: pytest.LogCaptureFixture) -> None:
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


def test_a_reporter_that_waits_for_long_stops_without_waiting(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="logferry.telemetry.report_line")
    reporter = Reporter(Metrics(), interval_s=3600)
    reporter.start()
    stopper = threading.Thread(target=reporter.stop)
    stopper.start()
    stopper.join(DEADLINE_S)
    assert not stopper.is_alive()
    assert caplog.messages == []
