"""The table of metrics: names that exporters accept, and no number that is declared but not shown."""

import re

import pytest

from logferry.telemetry.metrics import Metrics
from logferry.telemetry.report_line import describe, shortcomings
from logferry.telemetry.server_table import SERVER
from logferry.telemetry.summary import summary
from logferry.telemetry.table import CLIENT, CLIENT_COUNTERS, Kind, Metric
from tests.support.builders import Clock

every_metric = pytest.mark.parametrize("metric", [*CLIENT, *SERVER], ids=lambda metric: metric.exposed_as)


@every_metric
def test_exposed_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"logferry_(client|server)_[a-z][a-z_]*[a-z]", metric.exposed_as)
    assert metric.exposed_as.endswith("_total") == (metric.kind is Kind.COUNTER)
    if metric.unit in ("bytes", "seconds"):
        assert metric.exposed_as.removesuffix("_total").endswith(f"_{metric.unit}")


@every_metric
def test_help_is_one_sentence(metric: Metric) -> None:
    assert re.fullmatch(r"[A-Z0-9][^\n]*\.", metric.help)


@pytest.mark.parametrize("table", [CLIENT, SERVER], ids=["client", "server"])
def test_no_name_is_used_twice(table: tuple[Metric, ...]) -> None:
    assert len({metric.name for metric in table}) == len({metric.exposed_as for metric in table}) == len(table)


@pytest.mark.parametrize("metric", CLIENT_COUNTERS, ids=lambda metric: metric.name)
def test_every_counter_can_be_counted_and_its_texts_show_it(metric: Metric) -> None:
    metrics = Metrics(clock=Clock())
    metrics.add(**{metric.name: 7_654_321})
    total = metrics.total()
    assert getattr(total.counters, metric.name) == 7_654_321
    for text, shown in (
        (metric.report, describe(total)),
        (metric.summary, summary(total)),
        (metric.shortcoming, "\n".join(shortcomings(total.counters))),
    ):
        assert text.format(7_654_321) in shown


def test_the_summary_is_what_scripts_know() -> None:
    clock = Clock()
    metrics = Metrics(clock=clock)
    metrics.add(lines_acked=100, bytes_read=5000, lines_rejected=1, lines_retried=2, lines_blank=3)
    clock.now += 2
    assert summary(metrics.total()) == (
        "logferry: 100 lines acked, 5000 bytes read in 2.00 s (50 lines/s), 1 rejected, 2 retried, 3 blank skipped"
    )
    metrics.add(lines_filtered=4, redactions=5)
    assert summary(metrics.total()).endswith(", 3 blank skipped, 4 filtered, 5 redacted")
