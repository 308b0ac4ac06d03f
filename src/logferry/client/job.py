"""One run of the client, put together from its parts: which reader, which shipper, and what came of it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from logferry.client.batch_reader import BatchReader
from logferry.client.checkpoint import Checkpoints
from logferry.client.disposal import dispose
from logferry.client.feed import FileFeed
from logferry.client.follow_reader import FollowReader
from logferry.client.reader import Reader
from logferry.client.recall import Recall
from logferry.client.resilient_shipper import ResilientShipper, max_batch_lines
from logferry.client.shipper import Shipper
from logferry.client.stop import StopSignal
from logferry.config import ShipSettings
from logferry.errors import GaveUp
from logferry.metrics import Metrics, Reporter

_ROOT_STATE_DIR: Final = Path("/var/lib/logferry")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended that delivered all it read; `problems` says what could not be read or was refused."""

    problems: tuple[str, ...]


def ship(settings: ShipSettings, *, metrics: Metrics, stop: StopSignal) -> Outcome:
    """Ship the log file as `settings` say. Returns when every line read is answered.

    Raises StateError when another process uses the state folder, SourceError when the file cannot be opened, GaveUp
    when lines could not be delivered.
    """
    checkpoints = Checkpoints(state_dir(settings.state_dir))
    try:
        reader = _open_reader(settings, checkpoints)
        try:
            return _ship(settings, reader, checkpoints, metrics, stop)
        finally:
            reader.close()
    finally:
        checkpoints.close()


def state_dir(asked_for: Path | None) -> Path:
    """Return the folder for checkpoints: the one asked for, or the user's (XDG Base Directory Specification)."""
    if asked_for is not None:
        return asked_for
    if os.geteuid() == 0:
        return _ROOT_STATE_DIR
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "logferry"


def _ship(
    settings: ShipSettings, reader: Reader, checkpoints: Checkpoints, metrics: Metrics, stop: StopSignal
) -> Outcome:
    max_lines = max_batch_lines(settings.buffer_size) if settings.resilient else None
    feed = FileFeed(reader, metrics=metrics, max_lines=max_lines)
    kind = ResilientShipper if settings.resilient else Shipper
    shipper = kind(feed, settings, metrics=metrics, stop=stop, checkpoints=checkpoints)
    reporter = Reporter(metrics, interval_s=settings.metrics_interval) if settings.metrics_interval else None
    if reporter:
        reporter.start()
    try:
        shipper.run()
    finally:
        if reporter:
            reporter.stop()
    if settings.mode == "batch" and feed.error is None and not feed.is_complete:
        raise GaveUp("stopped before the end of the file; what was read is acked")
    problems = _problems(feed, metrics)
    if not problems and (settings.delete_after or settings.move_after):
        checkpoints.save()
        problems += dispose(settings, checkpoints)
    return Outcome(tuple(problems))


def _open_reader(settings: ShipSettings, checkpoints: Checkpoints) -> Reader:
    recall = Recall(checkpoints)
    if settings.mode == "batch":
        return BatchReader(
            settings.log_file,
            max_line_bytes=settings.max_line_bytes,
            recall=recall if settings.resume else None,
        )
    return FollowReader(
        settings.log_file,
        max_line_bytes=settings.max_line_bytes,
        recall=recall,
        start_at_end=settings.start_at == "end",
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
