"""Running the client in a test: settings, numbered lines in a log file, a run in a thread, and what became of them."""

import dataclasses
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.client.net.waiting.wakeup import StopSignal
from logferry.client.run import Outcome, ship
from logferry.config import InputSettings, ShipSettings, load
from logferry.protocol.messages.reports import RecordedLoss
from logferry.server.storage.disk.integrity.source_report import report
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.table import Counters
from tests.support.running import DEADLINE_S, RunningServer, numbered_line, wait_until

# Settings of a client: each mode with each form on the wire.
EVERY_WAY = [
    pytest.param({"resilient": resilient, "compress": compress}, id=f"{mode}-{wire}")
    for resilient, mode in ((False, "basic"), (True, "resilient"))
    for compress, wire in ((False, "plain"), (True, "gzip"))
]


def log_line(number: int) -> bytes:
    """Return a line of a log file; the client renders it as `numbered_line(number)`."""
    return b"2024-01-15 08:23:45 INFO line %d\n" % number


def append(path: Path, numbers: Iterable[int]) -> Path:
    """Append the lines of `numbers` to a log file; return it."""
    with path.open("ab") as file:
        file.writelines(map(log_line, numbers))
    return path


_INPUT_FIELDS = {field.name for field in dataclasses.fields(InputSettings)}


def input_settings(*names: Path | str, **changes: Any) -> InputSettings:
    """Return the defaults of an input of these names, and `changes`."""
    (settings,) = load(ShipSettings, {}, {}).inputs
    return dataclasses.replace(settings, **({"log_file": tuple(map(str, names))} | changes))


def ship_settings(log_file: Path | Sequence[Path | str], port: int, **changes: Any) -> ShipSettings:
    """Return the defaults of `logferry ship` towards a loopback port, with limits that suit a test, and `changes`.

    There is one input, for one file or several; what changes it is named like the other settings.
    """
    names = [str(log_file)] if isinstance(log_file, Path) else [str(name) for name in log_file]
    settings = load(ShipSettings, {}, {})
    base: dict[str, Any] = {"server_host": "127.0.0.1", "server_port": port}
    # The engine's tests speak the plain protocol; each run has a memory of its own, unless a test says otherwise.
    base |= {"ack": "line", "state_dir": Path(names[0]).parent / f"state-{secrets.token_hex(4)}"}
    quick = {"poll_interval": 0.02, "connect_timeout": 2.0, "ack_timeout": 5.0, "health_interval": 0.05}
    own = {name: changes.pop(name) for name in _INPUT_FIELDS & changes.keys()}
    if "host" in own:  # the inputs have the name of the client
        changes["host"] = own["host"]
    base["inputs"] = (input_settings(*names, **own),)
    return dataclasses.replace(settings, **(base | quick | changes))


class Shipping:
    """A run of the client in a thread."""

    def __init__(self, settings: ShipSettings) -> None:
        self.metrics = Metrics()
        self._settings = settings
        self._stop = StopSignal()
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = ship(self._settings, metrics=self.metrics, stop=self._stop)
        except BaseException as error:
            self._error = error
        finally:
            self._stop.close()

    @property
    def counters(self) -> Counters:
        """What it has counted so far."""
        return self.metrics.total().counters

    @property
    def is_over(self) -> bool:
        """Whether it has ended, well or badly."""
        return not self._thread.is_alive()

    def result(self) -> Outcome:
        """Wait for its end; return the outcome, or raise what it raised."""
        self._thread.join(DEADLINE_S)
        assert self.is_over, f"the client has not ended: {self.counters}"
        if self._error is not None:
            raise self._error
        assert self._outcome is not None
        return self._outcome

    def stop(self) -> Outcome:
        """Ask for an end, then `result`."""
        self.request_stop()
        return self.result()

    def request_stop(self) -> None:
        """Ask for an end."""
        self._stop.request()

    def wait_for_acks(self, lines: int) -> None:
        """Wait until so many lines are acked."""
        wait_until(
            lambda: self.is_over or self.counters.lines_acked >= lines,
            lambda: f"{lines} lines are acked: {self.counters}",
        )
        assert self.counters.lines_acked >= lines, self.counters


@contextmanager
def shipping(log_file: Path | Sequence[Path | str], port: int, **changes: Any) -> Iterator[Shipping]:
    """Run a client for the length of a `with`; however that ends, the client ends too."""
    run = Shipping(ship_settings(log_file, port, **{"shutdown_timeout": 5.0, **changes}))
    try:
        yield run
    finally:
        run.request_stop()
        run._thread.join(DEADLINE_S)


@dataclasses.dataclass(frozen=True, slots=True)
class Conservation:
    """What became of lines that were sent once each."""

    missing: int = 0
    repeated: int = 0
    altered: int = 0
    reordered: int = 0


def conservation(numbers: Iterable[int], stored: Sequence[bytes]) -> Conservation:
    """Compare what was stored with the numbered lines that were sent, in order. Repeats may come at any place."""
    position = {numbered_line(number): index for index, number in enumerate(numbers)}
    first_seen = dict.fromkeys(line for line in stored if line in position)
    known = sum(line in position for line in stored)
    highest, reordered = -1, 0
    for line in first_seen:
        reordered += position[line] < highest
        highest = max(highest, position[line])
    return Conservation(
        missing=len(position) - len(first_seen),
        repeated=known - len(first_seen),
        altered=len(stored) - known,
        reordered=reordered,
    )


def assert_conserved(numbers: Iterable[int], stored: Sequence[bytes], *, retried: int = 0) -> None:
    """Fail unless every line is there, unaltered, in order, and none more often than `retried` lines allow."""
    found = conservation(numbers, stored)
    assert found == Conservation(repeated=found.repeated), found
    assert found.repeated <= retried, f"{found}, but only {retried} lines were sent again"


def once(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Return changes of settings for a client that delivers exactly once, with one memory for the whole test."""
    return {"ack": "auto", "state_dir": tmp_path / "state", **changes}


def losses(server: RunningServer) -> list[RecordedLoss]:
    """Return what the server's ledger says is lost, of all sources."""
    with closing(sqlite3.connect(server.data_dir / "ledger.sqlite3")) as ledger:
        ids = [row[0] for row in ledger.execute("SELECT id FROM sources")]
    return [loss for source in ids for loss in report(server.data_dir, source, after=0).losses]


def count_lines(log: Path) -> int:
    """Return how many lines a file has."""
    return log.read_bytes().count(b"\n")


def the_segment(server: RunningServer) -> Path:
    """Return the only segment that a server has."""
    (segment,) = server.data_dir.glob("segments/**/*.ndjson")
    return segment


@dataclasses.dataclass
class Printed:
    """What a command of `logferry` did."""

    code: int
    out: str
    err: str
