"""The text format of Prometheus: right for every number, bounded, and clean by promtool."""

import shutil
import subprocess

import pytest

from logferry.telemetry.exposition import MAX_LABEL_VALUES, exposition
from logferry.telemetry.latency import LatencyHistogram
from logferry.telemetry.server_table import SERVER
from logferry.telemetry.status_source import Snapshot, Verdict
from logferry.telemetry.table import CLIENT, Kind, Metric

LABELLED = Metric(
    name="refused",
    kind=Kind.COUNTER,
    unit="logins",
    help="Logins\nrefused \\.",
    exposed_as="logferry_server_refused_total",
    label="reason",
)


def snapshot_of(table: tuple[Metric, ...], value: float = 7) -> Snapshot:
    latency = LatencyHistogram()
    for seconds in (0.00001, 0.003, 0.4, 5000):
        latency.record(seconds, 2)
    return Snapshot(
        Verdict.ready(),
        {each.name: int(value) for each in table if each.kind is Kind.COUNTER},
        {each.name: value for each in table if each.kind is Kind.GAUGE},
        {each.name: {"one": value} for each in table if each.label},
        {each.name: latency for each in table if each.kind is Kind.HISTOGRAM},
    )


@pytest.mark.parametrize("table", [CLIENT, SERVER], ids=["client", "server"])
def test_every_metric_has_help_type_and_numbers(table: tuple[Metric, ...]) -> None:
    pieces = list(exposition(table, snapshot_of(table)))
    assert len(pieces) == len(table)
    for metric, piece in zip(table, pieces, strict=True):
        help_line, type_line, *samples = piece.splitlines()
        assert help_line == f"# HELP {metric.exposed_as} {metric.help}"
        assert type_line == f"# TYPE {metric.exposed_as} {metric.kind.value}"
        assert samples
        assert all(sample.startswith(metric.exposed_as) for sample in samples)
        assert piece.endswith("\n")


@pytest.mark.parametrize("table", [CLIENT, SERVER], ids=["client", "server"])
def test_promtool_finds_nothing_to_criticise(table: tuple[Metric, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    text = "".join(exposition(table, snapshot_of(table)))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_metric_that_the_snapshot_does_not_have_is_left_out() -> None:
    assert list(exposition(CLIENT, Snapshot(Verdict.ready()))) == []


def test_a_histogram_counts_what_did_not_exceed_each_bound() -> None:
    (piece,) = exposition([each for each in CLIENT if each.kind is Kind.HISTOGRAM], snapshot_of(CLIENT))
    lines = piece.splitlines()[2:]
    counts = [int(line.rpartition(" ")[2]) for line in lines if "_bucket" in line]
    assert counts == sorted(counts)
    assert (counts[0], counts[-2], counts[-1]) == (2, 6, 8)
    assert lines[-3].startswith('logferry_client_ack_latency_seconds_bucket{le="+Inf"} 8')
    assert lines[-2:] == [
        "logferry_client_ack_latency_seconds_sum 10000.80602",
        "logferry_client_ack_latency_seconds_count 8",
    ]


def test_texts_of_labels_and_help_are_escaped() -> None:
    numbers = {'a"b\\c\nd': 1.0, "\udcff" * 3: 2.5}
    (piece,) = exposition([LABELLED], Snapshot(Verdict.ready(), labelled={"refused": numbers}))
    assert piece == (
        "# HELP logferry_server_refused_total Logins\\nrefused \\\\.\n"
        "# TYPE logferry_server_refused_total counter\n"
        'logferry_server_refused_total{reason="a\\"b\\\\c\\nd"} 1\n'
        'logferry_server_refused_total{reason="\\\\udcff\\\\udcff\\\\udcff"} 2.5\n'
    )


def test_the_values_of_a_label_are_bounded_in_number_and_length() -> None:
    numbers = {"x" * 1000 + str(number): 1.0 for number in range(1000)}
    (piece,) = exposition([LABELLED], Snapshot(Verdict.ready(), labelled={"refused": numbers}))
    samples = piece.splitlines()[2:]
    assert len(samples) == MAX_LABEL_VALUES
    assert max(map(len, samples)) < 200
    assert f'logferry_server_refused_total{{reason="other"}} {1000 - MAX_LABEL_VALUES + 1}' in samples


def test_no_number_loses_precision() -> None:
    gauge = Metric(name="g", kind=Kind.GAUGE, unit="seconds", help="G.", exposed_as="g_seconds")
    for value, text in ((2**53 + 1, "9007199254740993"), (0.1, "0.1"), (1e-9, "1e-09"), (1.0, "1"), (-2.5, "-2.5")):
        (piece,) = exposition([gauge], Snapshot(Verdict.ready(), gauges={"g": value}))
        assert piece.splitlines()[-1] == f"g_seconds {text}"
