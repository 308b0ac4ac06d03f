"""What a running client says of itself, on disk: `STATE_DIR/status.json`, for `logferry status` and for people.

    {"version": 1,
    "client": {<ClientReport>},
    "files": [
    {<FileReport>},
    ...
    ]}

Values that are the default of their field are left out. The file is replaced at once, but never synced: nothing depends
on it, and after a crash of the machine it may be empty. It is written at the start, at the end, and in between when
something has changed: at most once a second, and never so often that writing takes more than a fiftieth of the time,
however many files there are; while nobody counts anything (Metrics.changed) its thread sleeps. So it may be old;
whoever reads it compares it with the disk (inspect.py).
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from logferry.client.readers.base import Reader
from logferry.client.status.connection_state import Link, LinkState
from logferry.config import ShipSettings
from logferry.durable import replace_file
from logferry.errors import StateError, cause_of
from logferry.model.file_report import FileReport
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.table import Counters, Gauges

logger = logging.getLogger(__name__)

VERSION: Final = 1
STATUS_FILE: Final = "status.json"

# People read it, so there is no use in more; and a write is followed by so many times the processor time that it took
# without one. (Not of the time that it took: in a busy client that is mostly waiting for the other threads.)
WRITE_INTERVAL_S: Final = 1.0
_PAUSE_PER_WRITE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientReport:
    """What a client says of itself. Times are Unix times, 0 for never; sizes are bytes.

    `directory` is what relative names of files are relative to. `outcome` says how a run ended that has ended, "" that
    all went well. `lines_per_second` are those that were acked in the second, or longer, before `written_at`.
    """

    pid: int
    mode: str
    server: str
    started_at: float
    written_at: float
    directory: str = ""
    ended_at: float = 0.0
    outcome: str = ""
    lines_per_second: float = 0.0
    queue_lines: int = 0
    held_files: int = 0
    held_bytes: int = 0
    link: LinkState = field(default_factory=LinkState)
    counters: Counters = field(default_factory=Counters)


@dataclass(frozen=True, slots=True)
class Status:
    """All that the file holds."""

    client: ClientReport
    files: tuple[FileReport, ...]


@dataclass(frozen=True, slots=True)
class _Moment:
    """What is cheap to look at, and differs whenever there is something to write."""

    counters: Counters
    gauges: Gauges
    lines_per_second: float
    link: LinkState
    revision: int


Said = TypeVar("Said", ClientReport, FileReport, LinkState, Counters)

# The names of the fields of each, with their defaults; what has none has one that nothing is equal to.
_DEFAULTS: Final = {
    kind: tuple(
        (each.name, each.default if each.default_factory is MISSING else each.default_factory())
        for each in fields(kind)
    )
    for kind in (ClientReport, FileReport, LinkState, Counters)
}


class StatusWriter:
    """Writes the status of one run from a thread of its own: no file, and no number of them, delays the engine."""

    def __init__(
        self,
        folder: Path,
        settings: ShipSettings,
        reader: Reader,
        *,
        metrics: Metrics,
        link: Link,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        work_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        """`clock` gives seconds from anywhere, `wall_clock` Unix time, `work_clock` what this thread has worked."""
        self._path = folder / STATUS_FILE
        self._settings = settings
        self._reader = reader
        self._metrics = metrics
        self._link = link
        self._clock = clock
        self._wall_clock = wall_clock
        self._work_clock = work_clock
        self._started_at = wall_clock()
        self._directory = _working_directory()
        self._written: _Moment | None = None
        self._is_quiet = False  # nothing was new at the last look
        self._looked_at = clock()
        self._acked_then = 0
        self._next_look = clock()
        self._cannot_write = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status-writer", daemon=True)
        self.problems: Sequence[str] = ()  # for the run to set: what went wrong although it ended well

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._metrics.changed.set()
        self._thread.join()
        outcome = (str(error) or repr(error)) if error else "; ".join(self.problems)
        try:
            self._write(self._look(), ended_at=self._wall_clock(), outcome=outcome)
        except Exception:  # likewise; how the run ended is more than what is said of it
            logger.exception("the end is not in the status")

    def write_if_due(self) -> None:
        """Write, if something has changed and the last time was long enough ago."""
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + WRITE_INTERVAL_S
        self._metrics.changed.clear()
        moment = self._look()
        self._is_quiet = moment == self._written
        if self._is_quiet:
            return
        work_before = self._work_clock()
        self._write(moment)
        pause_s = _PAUSE_PER_WRITE * (self._work_clock() - work_before)
        self._next_look = max(self._next_look, self._clock() + pause_s)

    def _run(self) -> None:
        try:
            self.write_if_due()
            while not self._stop.wait(max(0.0, self._next_look - self._clock())):
                self.write_if_due()
                if self._is_quiet and not self._stop.is_set():  # asked after `changed` was cleared
                    self._wait_for_change()
        except Exception:  # the top of a worker; a client that cannot say what it does still does it
            logger.exception("the status is not written any more")

    def _wait_for_change(self) -> None:
        """Wait until something is counted; what is new is told a second later, by its speed in that second."""
        self._metrics.changed.wait()
        self._looked_at = self._clock()
        self._next_look = self._looked_at + WRITE_INTERVAL_S

    def _look(self) -> _Moment:
        snapshot = self._metrics.total()
        acked, now = snapshot.counters.lines_acked, self._clock()
        seconds = now - self._looked_at
        lines_per_second = round((acked - self._acked_then) / seconds, 1) if seconds else 0.0
        self._acked_then, self._looked_at = acked, now
        return _Moment(
            snapshot.counters,
            snapshot.gauges,
            lines_per_second,
            self._link.state,
            self._reader.revision,
        )

    def _write(self, moment: _Moment, *, ended_at: float = 0.0, outcome: str = "") -> None:
        client = ClientReport(
            pid=os.getpid(),
            mode=self._settings.mode,
            server=f"{self._settings.server_host}:{self._settings.server_port}",
            started_at=self._started_at,
            written_at=self._wall_clock(),
            directory=self._directory,
            ended_at=ended_at,
            outcome=outcome,
            lines_per_second=moment.lines_per_second,
            queue_lines=moment.gauges.queue_lines,
            held_files=moment.gauges.held_files,
            held_bytes=moment.gauges.held_bytes,
            link=moment.link,
            counters=moment.counters,
        )
        try:
            replace_file(self._path, encode(Status(client, tuple(self._reader.report()))), is_synced=False)
        except OSError as error:
            self._tell_cannot_write(cause_of(error))
        else:
            self._written = moment
            self._cannot_write = ""

    def _tell_cannot_write(self, reason: str) -> None:
        if reason != self._cannot_write:
            logger.warning("cannot write %s: %s; `logferry status` will tell what was before", self._path, reason)
        self._cannot_write = reason


def encode(status: Status) -> bytes:
    """Return the text of the file. It is made a line at a time: one call for all of it would keep out other threads."""
    client = json.dumps(_told(status.client), default=_told)
    files = ",\n".join(json.dumps(_told(report)) for report in status.files)
    return f'{{"version": {VERSION},\n"client": {client},\n"files": [\n{files}\n]}}\n'.encode()


def decode(data: bytes) -> Status:
    """Return what the file says. Raises ValueError, TypeError or KeyError for what is not a status."""
    content = json.loads(data)
    if content["version"] != VERSION:
        raise ValueError(f"its version is {content['version']!r}, this program knows {VERSION}")
    client = dict(content["client"])
    parts = {"link": _made(LinkState, client.pop("link", {})), "counters": _made(Counters, client.pop("counters", {}))}
    return Status(
        _made(ClientReport, {**client, **parts}), tuple(_made(FileReport, entry) for entry in content["files"])
    )


def read(folder: Path) -> Status | None:
    """Return what the client of a state folder has said last; None when it never said anything.

    Raises StateError when it cannot be read, or understood.
    """
    path = folder / STATUS_FILE
    try:
        return decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {cause_of(error)}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StateError(f"cannot understand {path}: {error}") from None


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # deleted


def _told(said: Any) -> dict[str, object]:
    """Return what differs from the defaults."""
    values = ((name, getattr(said, name), default) for name, default in _DEFAULTS[type(said)])
    return {name: value for name, value, default in values if value != default}


def _made(kind: type[Said], entry: Any) -> Said:
    """Return what was told; what a later version tells besides is passed over. Raises ValueError or TypeError."""
    if not isinstance(entry, dict):
        raise TypeError(f"{kind.__name__} is {entry!r}")
    made = kind(**{name: entry[name] for name, _ in _DEFAULTS[kind] if name in entry})
    for each in fields(kind):
        value = getattr(made, each.name)
        if type(value) is not each.type and not (each.type is float and type(value) is int):
            raise TypeError(f"{each.name} of {kind.__name__} is {value!r}")
    return made
