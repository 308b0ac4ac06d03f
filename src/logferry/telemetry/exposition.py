"""The metrics of one snapshot in the text format of Prometheus (version 0.0.4). Pure: numbers in, text out.

Owns the format. The table of metrics says what exists, the snapshot what it is now. The text has one series a metric,
or a few if the metric has a label or is a histogram; never one a file, a source or a client.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from logferry.telemetry.latency import LatencyHistogram
from logferry.telemetry.status_source import Snapshot
from logferry.telemetry.table import Kind, Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# Whatever counts by label, a metric shows at most this many series; the others are added up under `other`.
MAX_LABEL_VALUES: Final = 50
OTHER: Final = "other"
_MAX_LABEL_CHARS: Final = 100


def exposition(table: Iterable[Metric], snapshot: Snapshot) -> Iterator[str]:
    """Yield the text of each metric of the table that the snapshot has, with its HELP and TYPE."""
    for metric in table:
        lines = list(_samples(metric, snapshot))
        if lines:
            name, help_text = metric.exposed_as, metric.help.replace("\\", r"\\").replace("\n", r"\n")
            head = (f"# HELP {name} {help_text}", f"# TYPE {name} {metric.kind.value}")
            yield "\n".join((*head, *lines, ""))


def _samples(metric: Metric, snapshot: Snapshot) -> Iterator[str]:
    name = metric.exposed_as
    if metric.label:
        for value, number in sorted(_bounded(snapshot.labelled.get(metric.name, {})).items()):
            yield f'{name}{{{metric.label}="{_escaped(value)}"}} {_number(number)}'
    elif metric.kind is Kind.HISTOGRAM:
        if metric.name in snapshot.histograms:
            yield from _histogram(name, snapshot.histograms[metric.name])
    else:
        numbers = snapshot.counters if metric.kind is Kind.COUNTER else snapshot.gauges
        if metric.name in numbers:
            yield f"{name} {_number(numbers[metric.name])}"


def _histogram(name: str, latency: LatencyHistogram) -> Iterator[str]:
    for bound, count in latency.cumulative():
        yield f'{name}_bucket{{le="{bound:.3g}"}} {count}'
    yield f'{name}_bucket{{le="+Inf"}} {latency.count}'
    yield f"{name}_sum {_number(latency.sum_s)}"
    yield f"{name}_count {latency.count}"


def _bounded(numbers: Mapping[str, float]) -> Mapping[str, float]:
    if len(numbers) <= MAX_LABEL_VALUES:
        return numbers
    kept = dict(list(numbers.items())[: MAX_LABEL_VALUES - 1])
    return kept | {OTHER: sum(numbers.values()) - sum(number for value, number in kept.items() if value != OTHER)}


def _number(number: float) -> str:
    """Return a number that loses nothing; whole numbers without a fraction."""
    return str(int(number)) if number == int(number) else repr(float(number))


def _escaped(value: str) -> str:
    safe = value[:_MAX_LABEL_CHARS].encode("utf-8", "backslashreplace").decode()
    return safe.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
