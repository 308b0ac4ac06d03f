"""Latency without a growing list: exact average and maximum, percentiles within a bucket."""

import random
import statistics
import sys

import pytest

from logferry.telemetry.latency import LatencyHistogram

BUCKET = 1.2  # a percentile is exact to the width of a bucket


def histogram_of(*seconds: float) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for each in seconds:
        histogram.record(each)
    return histogram


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


def test_recording_many_events_together_equals_recording_them_singly() -> None:
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
