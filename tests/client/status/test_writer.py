"""What a client says of itself on disk: all of it, soon, and so rarely that it costs nothing."""

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from logferry import durable
from logferry.client.status import writer
from logferry.client.status.connection_state import ConnectionTracker
from logferry.client.status.inspect import inspect
from logferry.client.status.snapshot import ClientReport, Status, decode, encode, read
from logferry.client.status.writer import StatusWriter
from logferry.model.file_report import FileReport
from logferry.telemetry.metrics import Metrics
from logferry.telemetry.table import Counters
from tests.support.builders import Clock
from tests.support.running import RunningServer, fill, wait_until
from tests.support.shipping import append, ship_settings, shipping
from tests.support.statuses import NOW, many

pytestmark = pytest.mark.usefixtures("quick_backoff")


class Reports:
    """A reader of which nothing is used but what it says; saying it takes `seconds_per_file` of the clock."""

    def __init__(self, clock: Clock, *files: FileReport, seconds_per_file: float = 0.0) -> None:
        self._clock = clock
        self._seconds_per_file = seconds_per_file
        self.files = list(files)
        self.revision = 0
        self.asked = 0
        self.failure: Exception | None = None

    def report(self) -> list[FileReport]:
        self.asked += 1
        self._clock.now += self._seconds_per_file * len(self.files)
        if self.failure:
            raise self.failure
        return self.files


class Writing:
    """A StatusWriter without its thread, and all that it looks at."""

    def __init__(self, folder: Path, *files: FileReport, seconds_per_file: float = 0.0) -> None:
        self.folder = folder
        self.clock = Clock()
        self.pauses: list[int] = []
        self.metrics = Metrics(clock=self.clock)
        self.link = ConnectionTracker(clock=self.clock)
        self.reader = Reports(self.clock, *files, seconds_per_file=seconds_per_file)
        self.writer = StatusWriter(
            folder,
            ship_settings(folder / "app.log", 9000, mode="continuous"),
            self.reader,  # type: ignore[arg-type]  # it asks for nothing else
            metrics=self.metrics,
            connection=self.link,
            clock=self.clock,
            wall_clock=self.clock,
            work_clock=self.clock,
            pause=lambda: self.pauses.append(1),
        )

    def look(self, times: int = 1) -> None:
        """Let a second pass and the writer look, so many times."""
        for _ in range(times):
            self.clock.now += 1
            self.writer.write_if_due()

    @property
    def status(self) -> Status:
        """What is on the disk."""
        return decode((self.folder / "status.json").read_bytes())


def test_what_was_said_is_what_is_read(tmp_path: Path) -> None:
    files = (
        FileReport("/var/log/app.log", state="unreadable", problem="Permission denied"),
        FileReport("/l/\udcff\n\x1b[2J", "/l/é", "ab", 1, 2, 30, 20, 10, "held", "late", "json", 12.5),
    )
    writing = Writing(tmp_path, *files)
    writing.metrics.add(lines_read=5, lines_acked=4, bytes_lost=3)
    writing.metrics.set_held(1, 20)
    writing.metrics.set_queue_lines(9)
    writing.link.failed("cannot connect")
    writing.look()
    client, said = writing.status.client, writing.status.files
    assert said == files
    assert client.counters == Counters(lines_read=5, lines_acked=4, bytes_lost=3)
    assert (client.pid, client.mode, client.server) == (os.getpid(), "continuous", "127.0.0.1:9000")
    assert (client.held_files, client.held_bytes, client.queue_lines) == (1, 20, 9)
    assert client.link == writing.link.state
    assert (client.written_at, client.ended_at, client.directory) == (writing.clock.now, 0.0, os.getcwd())


def test_what_is_said_of_a_file_is_short() -> None:
    client = ClientReport(pid=1, mode="continuous", server="localhost:9000", started_at=NOW, written_at=NOW)
    size = len(encode(Status(client, tuple(many(10_000)))))
    assert size < 10_000 * 250
    assert len(encode(Status(client, ()))) < 200, "a default is not told"


def test_a_write_is_made_in_small_pieces_between_which_others_may_run(tmp_path: Path) -> None:
    writing = Writing(tmp_path, *many(1000))
    writing.look()
    reports, sums, texts = 1000 / 20, 1000 / 20, 1000 / 10
    assert len(writing.pauses) == reports + sums + texts


def test_ten_thousand_quiet_files_are_not_even_looked_at(tmp_path: Path) -> None:
    writing = Writing(tmp_path, *many(10_000), seconds_per_file=1e-5)
    writing.look(times=10_000)
    assert writing.reader.asked == 1


CHANGES: list[Callable[[Writing], object]] = [
    lambda writing: writing.metrics.add(lines_read=1),
    lambda writing: writing.metrics.acked(1, 0.1),
    lambda writing: writing.metrics.add(bytes_lost=1),
    lambda writing: writing.metrics.set_held(1, 0),
    lambda writing: writing.metrics.set_queue_lines(1),
    lambda writing: writing.link.failed("no"),
    lambda writing: setattr(writing.reader, "revision", 1),
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_written_within_a_second(tmp_path: Path, change: Callable[[Writing], object]) -> None:
    writing = Writing(tmp_path, FileReport("/var/log/app.log"))
    writing.look()
    change(writing)
    writing.reader.files = [FileReport("/var/log/app.log", size=7)]
    writing.look()
    assert writing.status.files[0].size == 7


class Waited(threading.Event):
    """Knows how often somebody has begun to wait for it without an end."""

    times = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.times += timeout is None
        return super().wait(timeout)


def test_while_nothing_is_counted_the_writer_sleeps_and_what_is_counted_then_wakes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WRITE_INTERVAL_S", 0.01)
    metrics, changed = Metrics(), Waited()
    metrics.changed = changed  # type: ignore[misc]
    link, reader = ConnectionTracker(on_change=changed.set), Reports(Clock())
    settings = ship_settings(tmp_path / "app.log", 9000, mode="continuous")
    changes: list[Callable[[], object]] = [
        lambda: metrics.add(lines_acked=1),
        lambda: metrics.set_held(1, 2),
        lambda: link.failed("no"),
    ]
    with StatusWriter(tmp_path, settings, reader, metrics=metrics, connection=link):  # type: ignore[arg-type]
        for times, change in enumerate(changes, 1):
            wait_until(lambda: changed.times >= times, "the writer sleeps")  # noqa: B023
            before = reader.asked
            change()
            wait_until(lambda: reader.asked > before, "it has written")  # noqa: B023
        wait_until(lambda: changed.times > len(changes), "the writer sleeps again")
    client = decode((tmp_path / "status.json").read_bytes()).client
    assert (client.counters.lines_acked, client.held_bytes, client.link.error) == (1, 2, "no")


def test_the_speed_after_a_quiet_time_is_not_that_of_the_quiet_time(tmp_path: Path) -> None:
    writing = Writing(tmp_path)
    writing.look(times=100)
    writing.metrics.add(lines_acked=50)
    writing.writer._wait_for_change()
    writing.look()
    assert writing.status.client.lines_per_second == 50.0


def test_more_than_one_change_a_second_is_written_once(tmp_path: Path) -> None:
    writing = Writing(tmp_path)
    for _ in range(1000):
        writing.clock.now += 0.01
        writing.metrics.add(lines_read=1)
        writing.writer.write_if_due()
    assert 9 <= writing.reader.asked <= 11


def test_ten_thousand_busy_files_take_a_fiftieth_of_the_time_at_most(tmp_path: Path) -> None:
    writing = Writing(tmp_path, *many(10_000), seconds_per_file=5e-5)  # half a second for all
    began = writing.clock.now
    while writing.clock.now < began + 300:
        writing.metrics.add(lines_read=1)
        writing.look()
    assert 300 / 0.5 / 50 * 0.8 < writing.reader.asked <= 300 / 0.5 / 50 + 1


def test_the_speed_is_that_of_the_last_interval_and_ends_at_zero(tmp_path: Path) -> None:
    writing = Writing(tmp_path)
    writing.look()
    for _ in range(3):
        writing.metrics.acked(200, 0.1)
        writing.look()
        assert writing.status.client.lines_per_second == 200.0
    asked = writing.reader.asked
    writing.look(times=100)
    assert writing.status.client.lines_per_second == 0.0
    assert writing.reader.asked == asked + 1, "once it is quiet, nothing is written"


def test_a_full_disk_is_logged_once_and_the_write_is_retried(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writing = Writing(small_disk, *many(10))
    fill(small_disk / "filler")
    writing.look(times=5)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "No space left on device" in caplog.text
    (small_disk / "filler").unlink()
    writing.look()
    assert len(writing.status.files) == 10


def test_nothing_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("synced"))
    writing = Writing(tmp_path)
    writing.look()
    assert writing.status.files == ()


def test_a_reader_that_fails_to_say_how_far_it_is_never_ends_a_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writing = Writing(tmp_path)
    writing.reader.failure = RuntimeError("deque mutated during iteration")
    with writing.writer:
        wait_until(lambda: "is no longer written" in caplog.text, "the thread has ended")
    assert "cannot write how the run ended" in caplog.text


@pytest.mark.parametrize("resilient", [False, True], ids=["basic", "resilient"])
def test_a_run_says_how_it_ended(tmp_path: Path, server: RunningServer, resilient: bool) -> None:
    log, folder = append(tmp_path / "app.log", range(100)), tmp_path / "state"
    with shipping(log, server.port, resilient=resilient, state_dir=folder, ack="auto") as run:
        run.result()
    status = read(folder)
    assert status is not None
    client, (file,) = status.client, status.files
    assert (client.outcome, client.counters.lines_acked, client.link.delivery) == ("", 100, "exactly once")
    assert client.started_at <= client.ended_at <= client.written_at
    assert (file.path, file.offset, file.committed) == (str(log), log.stat().st_size, log.stat().st_size)
    assert inspect(folder, now=client.written_at).problems == ()


def test_a_run_that_gave_up_says_why(tmp_path: Path) -> None:
    log, folder = append(tmp_path / "app.log", range(100)), tmp_path / "state"
    with shipping(log, 1, state_dir=folder, max_attempts=2) as run, pytest.raises(Exception, match="gave up"):
        run.result()
    found = inspect(folder, now=NOW)
    assert "gave up after 2 failures in a row" in found.client.outcome
    assert found.problems == (f"not running: {found.client.outcome}",)


def test_a_file_may_be_replaced_without_being_synced_and_is_still_replaced_atomically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    durable.replace_file(path, b"old", is_synced=False)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output error"):
        durable.replace_file(path, b"new", is_synced=False)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["status.json"]
