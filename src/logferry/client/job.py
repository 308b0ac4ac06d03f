"""One run of the client, put together from its parts: which reader, which shipper, and what came of it."""

from collections.abc import Callable
from dataclasses import dataclass

from logferry.client.feed import FileFeed
from logferry.client.file_reader import BatchReader, FollowReader, Reader
from logferry.client.resilient_shipper import ResilientShipper, max_batch_lines
from logferry.client.shipper import Shipper
from logferry.client.stop import StopSignal
from logferry.config import ShipSettings
from logferry.errors import GaveUp
from logferry.metrics import Metrics, Reporter


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended that delivered all it read; `problems` says what could not be read or was refused."""

    problems: tuple[str, ...]


def ship(settings: ShipSettings, *, metrics: Metrics, stop: StopSignal) -> Outcome:
    """Ship the log file as `settings` say. Returns when every line read is answered.

    Raises SourceError when the file cannot be opened, GaveUp when lines could not be delivered.
    """
    reader = _open_reader(settings)
    reporter = Reporter(metrics, interval_s=settings.metrics_interval) if settings.metrics_interval else None
    max_lines = max_batch_lines(settings.buffer_size) if settings.resilient else None
    feed = FileFeed(reader, metrics=metrics, max_lines=max_lines)
    shipper = (ResilientShipper if settings.resilient else Shipper)(feed, settings, metrics=metrics, stop=stop)
    if reporter:
        reporter.start()
    try:
        shipper.run()
    finally:
        if reporter:
            reporter.stop()
        reader.close()
    if settings.mode == "batch" and feed.error is None and not feed.is_complete:
        raise GaveUp("stopped before the end of the file; what was read is acked")
    return Outcome(tuple(_problems(feed, metrics)))


def _open_reader(settings: ShipSettings) -> Reader:
    if settings.mode == "batch":
        return BatchReader(settings.log_file, max_line_bytes=settings.max_line_bytes)
    return FollowReader(
        settings.log_file, max_line_bytes=settings.max_line_bytes, start_at_end=settings.start_at == "end"
    )


def _problems(feed: FileFeed, metrics: Metrics) -> list[str]:
    counters = metrics.total().counters
    found: list[tuple[int, Callable[[int], str]]] = [
        (counters.lines_rejected, lambda n: f"{n} lines were refused by the server"),
        (counters.lines_cut, lambda n: f"{n} lines were too long and were cut"),
        (counters.bytes_lost, lambda n: f"{n} bytes of the file were gone before they were read"),
    ]
    problems = [sentence(count) for count, sentence in found if count]
    return [str(feed.error), *problems] if feed.error else problems
