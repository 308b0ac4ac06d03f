"""One run of the client, put together from its parts: which reader, which output, and what came of it."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from logferry.client.delivery.batches import RenderingProducer
from logferry.client.delivery.outputs.selection import output_for, stored_extents
from logferry.client.delivery.prefetch import max_batch_lines
from logferry.client.delivery.presets import deliver_basic, deliver_resilient
from logferry.client.finding.inotify import FolderWatcher
from logferry.client.net.wakeup import StopSignal
from logferry.client.readers.base import Reader
from logferry.client.readers.batch import BatchReader
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.readers.stdin import StdinReader
from logferry.client.recognition.recognise import Recogniser
from logferry.client.reload import Reloads
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.status.connection_state import ConnectionTracker
from logferry.client.status.writer import StatusWriter
from logferry.config import STANDARD_INPUT, ShipSettings
from logferry.errors import DeliveryAbandoned
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.report_line import Reporter, shortcomings

_ROOT_STATE_DIR: Final = Path("/var/lib/logferry")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended that delivered all it read; `problems` says what could not be read or was refused."""

    problems: tuple[str, ...]


def ship(settings: ShipSettings, *, metrics: Metrics, stop: StopSignal, reloads: Reloads | None = None) -> Outcome:
    """Ship the log file as `settings` say. Returns when every line read is answered.

    `reloads` change the inputs of a client that follows files.

    Raises StateError when another process uses the state folder, SourceError when the file cannot be opened,
    DeliveryAbandoned when lines could not be delivered.
    """
    folder, connection = state_dir(settings.state_dir), ConnectionTracker(on_change=metrics.changed.set)
    checkpoints = Checkpoints(folder)
    try:
        reader = _open_reader(settings, checkpoints, metrics)
        try:
            with StatusWriter(folder, settings, reader, metrics=metrics, connection=connection) as status:
                with _delivering(reloads, reader):
                    outcome = _ship(settings, reader, checkpoints, metrics, stop, connection)
                status.problems = outcome.problems
                return outcome
        finally:
            reader.close()
    finally:
        checkpoints.close()


def _delivering(reloads: Reloads | None, reader: Reader) -> AbstractContextManager[None]:
    if reloads is None or not isinstance(reader, FollowReader):
        return nullcontext()
    return reloads.delivering_to(reader.reconfigure)


def state_dir(asked_for: Path | None) -> Path:
    """Return the folder for checkpoints: the one asked for, or the user's (XDG Base Directory Specification)."""
    if asked_for is not None:
        return asked_for
    if os.geteuid() == 0:
        return _ROOT_STATE_DIR
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "logferry"


def _ship(
    settings: ShipSettings,
    reader: Reader,
    checkpoints: Checkpoints,
    metrics: Metrics,
    stop: StopSignal,
    connection: ConnectionTracker,
) -> Outcome:
    max_lines = max_batch_lines(settings.buffer_size) if settings.resilient else None
    producer = RenderingProducer(reader, metrics=metrics, max_lines=max_lines)
    deliver = deliver_resilient if settings.resilient else deliver_basic
    reporter = Reporter(metrics, interval_s=settings.metrics_interval) if settings.metrics_interval else None
    if reporter:
        reporter.start()
    try:
        deliver(
            producer,
            output_for(settings, checkpoints),
            settings,
            metrics=metrics,
            stop=stop,
            checkpoints=checkpoints,
            stored_extents=partial(stored_extents, settings),
            observer=connection,
        )
    finally:
        if reporter:
            reporter.stop()
    if settings.mode == "batch" and producer.error is None and not producer.is_complete:
        raise DeliveryAbandoned("stopped before the end of the input; what was read is acked")
    problems = _problems(producer, reader, metrics)
    if not problems and (settings.delete_after or settings.move_after) and isinstance(reader, BatchReader):
        from logferry.client.proof.retire import dispose  # it needs the verifier, which no other client does

        checkpoints.save()
        for path in reader.paths:
            problems += dispose(path, settings, checkpoints)
    return Outcome(tuple(problems))


def _open_reader(settings: ShipSettings, checkpoints: Checkpoints, metrics: Metrics) -> Reader:
    if STANDARD_INPUT in settings.inputs[0].log_file:
        return StdinReader(settings.inputs[0])
    if settings.mode == "batch":
        return BatchReader(
            settings.inputs,
            recogniser=Recogniser(checkpoints) if settings.resume else None,
            max_open_files=settings.max_open_files,
        )
    return FollowReader(
        settings.inputs,
        recogniser=Recogniser(checkpoints),
        metrics=metrics,
        max_held_bytes=settings.max_held_bytes,
        max_open_files=settings.max_open_files,
        watcher=FolderWatcher.create(),
    )


def _problems(producer: RenderingProducer, reader: Reader, metrics: Metrics) -> list[str]:
    problems = [*reader.problems, *shortcomings(metrics.total().counters)]
    return [str(producer.error), *problems] if producer.error else problems
