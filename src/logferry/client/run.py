"""One run of the client: connects reader, engine, output, checkpoints and status, and shuts them down in order.

Owns nothing that outlives the run. The modules of a mode are imported when that mode is chosen: a client starts without
the modules of other modes, which halves its start-up time.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from logferry.client.delivery.batches.batches import RenderingProducer
from logferry.client.delivery.engine.engine import DeliveryEngine
from logferry.client.delivery.output import Output
from logferry.client.delivery.outputs.selection import output_for, output_for_several, stored_extents
from logferry.client.delivery.servers.server_choice import Reason
from logferry.client.delivery.servers.servers import Servers
from logferry.client.finding.fifos import only_fifo, open_fifo
from logferry.client.finding.foreign_links import follow_foreign_links
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.waiting.readiness import Readiness, Wait, poll
from logferry.client.net.waiting.wakeup import StopSignal
from logferry.client.readers.base import Reader
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.known_losses import KnownLosses
from logferry.client.status.acknowledged import read as read_acknowledged
from logferry.client.status.connection_state import WAITING, ConnectionTracker
from logferry.client.status.writer import StatusWriter
from logferry.client.tls_reload import watching_tls
from logferry.config import STANDARD_INPUT, InputSettings, ShipSettings
from logferry.errors import DeliveryAbandoned
from logferry.progress import Progress
from logferry.telemetry.heartbeat import Heartbeat
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.report_line import Reporter, shortcomings
from logferry.telemetry.service_manager import supervised

if TYPE_CHECKING:
    from logferry.client.proof.self_heal import SelfHealer

# A repair notices the end of the run within a tenth of a second, except while it renders an extent.
_HEALER_STOP_S: Final = 2.0

_ROOT_STATE_DIR: Final = Path("/var/lib/logferry")


Reconfigure = Callable[[Sequence[InputSettings]], None]
Reloading = Callable[[Reconfigure], AbstractContextManager[None]]
"""A context manager that passes changed inputs to a reader, as Reloads.delivering_to does."""

Watching = Callable[[Callable[[], Progress]], AbstractContextManager[None]]
"""A context manager that shows how far a run has come, from what it is called with."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run that delivered everything it read; `problems` lists what was refused or unreadable."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A reader, and what only some readers can do: change their inputs, or list the files that may be disposed of.

    `unacked` names what was read and is not acked, after a run that ended well: nothing, unless the client has a fault.
    `is_repeatable` says that what the reader reads still exists afterwards: another run can read it again, and so can
    this one if a server has lost it.
    """

    reader: Reader
    is_repeatable: bool = True
    reconfigure: Reconfigure | None = None
    asks_always: bool = False
    disposable: Callable[[], Sequence[Path]] = tuple
    progress: Callable[[], Progress] | None = None
    unacked: Callable[[], Sequence[str]] = tuple


def ship(
    settings: ShipSettings,
    *,
    metrics: Metrics,
    stop: StopSignal,
    reloading: Reloading | None = None,
    watching: Watching = lambda _: nullcontext(),
) -> Outcome:
    """Ship the log files of `settings`. Returns when the server has answered every line that was read.

    `reloading` changes the inputs of a client that follows files; `watching` sees how far a run comes that has an end.

    Raises ConfigError if files of TLS cannot be used, StateError if another process uses the state folder, AddressError
    if metrics cannot be served there, SourceError if a file cannot be opened, DeliveryAbandoned if lines could not be
    delivered.
    """
    follow_foreign_links(settings.follow_foreign_links)
    endpoints = Endpoint.all_of(settings)
    folder = state_dir(settings.state_dir)
    connection = ConnectionTracker(on_change=metrics.changed.set, progress=metrics.answered_lines)
    checkpoints = Checkpoints(folder)
    try:
        known_losses = KnownLosses(folder, acknowledged=lambda: read_acknowledged(folder).number)
    except BaseException:
        checkpoints.close()
        raise
    try:
        opened = _open_reader(settings, checkpoints, known_losses, metrics)
        servers = _servers(endpoints, settings, checkpoints.client_id, connection)
        try:
            with StatusWriter(folder, settings, opened.reader, metrics=metrics, connection=connection) as status:
                heartbeat = Heartbeat("the delivery engine")
                serving = _serving_numbers(settings, opened.reader, metrics, connection, heartbeat)
                tls_watch = watching_tls(servers.present, metrics)
                watched = watching(opened.progress) if opened.progress else nullcontext()
                reporting = supervised(heartbeat.verdict, partial(_describe, connection, metrics))
                with (
                    serving,
                    tls_watch as load_tls,
                    _delivering(reloading, opened.reconfigure, load_tls),
                    watched,
                    reporting,
                ):
                    outcome = _ship(
                        *(servers, settings, opened, checkpoints, known_losses, metrics, stop, connection, heartbeat)
                    )
                status.problems = outcome.problems
                return outcome
        finally:
            opened.reader.close()
    finally:
        known_losses.close()
        checkpoints.close()


def _describe(connection: ConnectionTracker, metrics: Metrics) -> str:
    """Return how the client is, in one line, for its supervisor."""
    state, lag = connection.state, metrics.lag
    error = f": {state.error}" if state.state == WAITING and state.error else ""
    files = f"{lag.files} files, " if lag.files else ""
    return f"{state.state} ({state.server}){error}; {files}{metrics.answered_lines()} lines answered"


def _servers(
    endpoints: Sequence[Endpoint], settings: ShipSettings, client_id: str, connection: ConnectionTracker
) -> Servers:
    """Return the servers of the run, which report to `connection` which of them is in use."""

    def note_use(server: str, reason: Reason | None) -> None:
        choice = servers.choice
        connection.uses(
            server,
            reason.value if reason else "",
            is_preferred=not choice.current,
            why_not_first=choice.why_not_first,
        )

    servers = Servers.of(endpoints, settings, client_id, on_use=note_use)
    note_use(str(servers.present), None)
    return servers


def _serving_numbers(
    settings: ShipSettings, reader: Reader, metrics: Metrics, connection: ConnectionTracker, heartbeat: Heartbeat
) -> AbstractContextManager[object]:
    """Serve the numbers over HTTP inside a `with`, if that is wanted. Raises AddressError."""
    if settings.http is None:
        return nullcontext()
    from logferry.client.status.source import serving_numbers

    return serving_numbers(settings, reader, metrics, connection, heartbeat)


def _delivering(
    reloading: Reloading | None, reconfigure: Reconfigure | None, load_tls: Callable[[], None]
) -> AbstractContextManager[None]:
    if not (reloading and reconfigure):
        return nullcontext()

    def apply(inputs: Sequence[InputSettings]) -> None:
        load_tls()
        reconfigure(inputs)

    return reloading(apply)


def state_dir(asked_for: Path | None) -> Path:
    """Return the folder for checkpoints: the requested one, or the user's (XDG Base Directory Specification)."""
    if asked_for is not None:
        return asked_for
    return _ROOT_STATE_DIR if os.geteuid() == 0 else _user_state_dir()


def state_dirs() -> list[Path]:
    """Return the folders where a client of this machine, run by this user or by root, keeps its state by default."""
    return [_ROOT_STATE_DIR, _user_state_dir()]


def _user_state_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "logferry"


def _ship(
    servers: Servers,
    settings: ShipSettings,
    opened: _Opened,
    checkpoints: Checkpoints,
    known_losses: KnownLosses,
    metrics: Metrics,
    stop: StopSignal,
    connection: ConnectionTracker,
    heartbeat: Heartbeat,
) -> Outcome:
    if not opened.is_repeatable and settings.max_attempts is None:
        settings = replace(settings, max_attempts=0)  # to give up would lose what was read, and break the producer
    is_disposing = settings.delete_after or settings.move_after is not None
    if is_disposing:
        from logferry.client.proof.retire import warn_of_folders

        warn_of_folders(opened.disposable())
    producer = _producer(settings, opened.reader, known_losses, metrics)
    reporter = Reporter(metrics, interval_s=settings.metrics_interval) if settings.metrics_interval else None
    if reporter:
        reporter.start()
    try:
        _deliver(
            *(servers, producer, settings, checkpoints, known_losses, metrics, stop, connection, opened, heartbeat)
        )
    finally:
        heartbeat.rest()
        producer.flush_logs()
        if reporter:
            reporter.stop()
    if settings.mode == "batch" and producer.error is None and not producer.is_complete:
        raise DeliveryAbandoned("stopped before the end of the input; what was read is acked")
    problems = [*_problems(producer, opened.reader, metrics), *opened.unacked()]
    if not problems and is_disposing:
        from logferry.client.proof.retire import dispose

        checkpoints.save()
        for path in opened.disposable():
            problems += dispose(path, settings, checkpoints)
    return Outcome(tuple(problems))


def _producer(settings: ShipSettings, reader: Reader, known_losses: KnownLosses, metrics: Metrics) -> RenderingProducer:
    limits: list[int] = []
    if settings.resilient:
        from logferry.client.delivery.batches import prefetch

        limits.append(prefetch.max_batch_lines(settings.buffer_size))
    if settings.max_bytes_per_second:
        from logferry.client.delivery.outputs import pacing

        limits.append(pacing.max_batch_lines(settings.max_bytes_per_second))
    if not limits:
        return RenderingProducer(reader, metrics=metrics, known_losses=known_losses)
    return RenderingProducer(reader, metrics=metrics, known_losses=known_losses, max_lines=min(limits))


def _deliver(
    servers: Servers,
    producer: RenderingProducer,
    settings: ShipSettings,
    checkpoints: Checkpoints,
    known_losses: KnownLosses,
    metrics: Metrics,
    stop: StopSignal,
    connection: ConnectionTracker,
    opened: _Opened,
    heartbeat: Heartbeat,
) -> None:
    """Deliver all batches of the producer. Raises DeliveryAbandoned."""
    if servers.are_several:
        output: Output = output_for_several(servers.endpoints, settings, checkpoints, servers.choice)
    else:
        output = output_for(servers.present, settings, checkpoints)
    parts: dict[str, Any] = {"metrics": metrics, "stop": stop, "checkpoints": checkpoints, "observer": connection}
    parts |= {"stored_extents": partial(stored_extents, lambda: servers.present, settings, checkpoints.client_id)}
    parts |= {
        "known_losses": known_losses,
        "reconciles": opened.is_repeatable,
        "asks_always": opened.asks_always,
        "poll": _resting_meanwhile(heartbeat) if settings.http else poll,
    }
    heartbeat.beat()
    with _healing(servers, settings, checkpoints, metrics, stop) as parts["on_damage"]:
        if settings.resilient:
            from logferry.client.delivery.resilient import deliver_resilient

            deliver_resilient(producer, output, settings, servers=servers, **parts)
        else:
            DeliveryEngine(producer, output, settings, servers=servers.choice, **parts).run()


def _resting_meanwhile(heartbeat: Heartbeat) -> Wait:
    """Return a wait in which the engine may stay for any time; between two of them it must not."""

    def wait(interest: Readiness, timeout_s: float) -> dict[int, int]:
        heartbeat.rest()
        try:
            return poll(interest, timeout_s)
        finally:
            heartbeat.beat()

    return wait


@contextmanager
def _healing(
    servers: Servers, settings: ShipSettings, checkpoints: Checkpoints, metrics: Metrics, stop: StopSignal
) -> Iterator[Callable[[str], None]]:
    """Give what repairs a damaged source; at the end of the run, wait for the repairs in progress."""
    healers: dict[Endpoint, SelfHealer] = {}

    def repair(source_id: str) -> None:
        server = servers.present
        if server not in healers:
            from logferry.client.proof.self_heal import SelfHealer  # most runs never need it

            healers[server] = SelfHealer(server, settings, checkpoints, metrics=metrics)
        healers[server].damaged(source_id)

    try:
        yield repair
        for healer in healers.values():
            healer.finish(is_stopping=lambda: stop.is_requested)
    finally:
        for healer in healers.values():
            healer.stop(_HEALER_STOP_S)


def _open_reader(
    settings: ShipSettings, checkpoints: Checkpoints, known_losses: KnownLosses, metrics: Metrics
) -> _Opened:
    if STANDARD_INPUT in settings.inputs[0].log_file:
        from logferry.client.readers.stdin import StdinReader

        stdin = StdinReader(settings.inputs[0])
        return _Opened(stdin, is_repeatable=False, unacked=stdin.unacked)
    if (fifo := only_fifo(settings.inputs)) is not None:
        from logferry.client.readers.stdin import StdinReader

        fd = open_fifo(fifo, outlives_writers=settings.mode == "continuous")
        reader = StdinReader(settings.inputs[0], fd, name=fifo, closes_fd=True)
        return _Opened(reader, is_repeatable=False, unacked=reader.unacked)
    from logferry.client.recognition.recognise import Recogniser

    if settings.mode == "batch":
        from logferry.client.readers.batch import BatchReader

        batch = BatchReader(
            settings.inputs,
            recogniser=Recogniser(checkpoints) if settings.resume else None,
            max_open_files=settings.max_open_files,
        )
        return _Opened(
            batch,
            asks_always=bool(batch.paths),
            disposable=lambda: batch.paths,
            progress=batch.progress,
            unacked=batch.unacked,
        )
    from logferry.client.finding.inotify import FolderWatcher
    from logferry.client.readers.follow.reader import FollowReader
    from logferry.client.state.last_look import LastLook

    follow = FollowReader(
        settings.inputs,
        recogniser=Recogniser(checkpoints),
        metrics=metrics,
        max_held_bytes=settings.max_held_bytes,
        max_open_files=settings.max_open_files,
        watcher=FolderWatcher.create(),
        last_look=LastLook(state_dir(settings.state_dir)),
        known_losses=known_losses,
    )
    return _Opened(follow, reconfigure=follow.reconfigure)


def _problems(producer: RenderingProducer, reader: Reader, metrics: Metrics) -> list[str]:
    problems = [*reader.problems, *shortcomings(metrics.total().counters)]
    return [str(producer.error), *problems] if producer.error else problems
