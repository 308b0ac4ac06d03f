"""Counters and intervals that do not change, counted from any thread."""

import sys
import threading

import pytest

from logferry.telemetry.metrics import Metrics
from logferry.telemetry.report_line import describe
from tests.support.builders import Clock
from tests.support.running import DEADLINE_S


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


def test_what_is_held_is_shown_as_it_is_now_in_both() -> None:
    metrics = Metrics()
    metrics.set_held(2, 900)
    snapshots = (metrics.take(), metrics.take(), metrics.total())
    assert [(snapshot.gauges.held_files, snapshot.gauges.held_bytes) for snapshot in snapshots] == [(2, 900)] * 3
    metrics.set_held(0, 0)
    assert "held" not in describe(metrics.total())
