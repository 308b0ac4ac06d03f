"""What wakes the reader, and what it does while nothing happens: next to nothing, however many files there are."""

import os
import select
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.client.finding.inotify import FolderWatcher
from logferry.client.readers.follow.reader import FollowReader
from tests.support.builders import Clock
from tests.support.following import Scene
from tests.support.reading import read
from tests.support.running import wait_until
from tests.support.shipping import append, input_settings, log_line

# --- changes ----------------------------------------------------------------------------------------------------------

# Each makes ten lines more, with the numbers from 100 on, in a folder whose app.log has ten lines.
Change = Callable[[Path], object]


def append_a_line(folder: Path) -> None:
    """The simplest thing."""
    append(folder / "app.log", range(100, 110))


def finish_a_line(folder: Path) -> None:
    """A line comes in two pieces."""
    append(folder / "app.log", range(100, 109))
    with (folder / "app.log").open("ab", buffering=0) as file:
        file.write(log_line(109)[:20])
        file.write(log_line(109)[20:])


def create_a_file(folder: Path) -> None:
    """A file that did not exist."""
    append(folder / "new.log", range(100, 110))


def create_a_folder(folder: Path) -> None:
    """A file in a folder in a folder that did not exist."""
    (folder / "a" / "b").mkdir(parents=True)
    append(folder / "a" / "b" / "new.log", range(100, 110))


def move_a_file_in(folder: Path) -> None:
    """A file that was written elsewhere."""
    append(folder.parent / "elsewhere", range(100, 110)).rename(folder / "new.log")


def move_a_folder_in(folder: Path) -> None:
    """A whole folder that was filled elsewhere."""
    (folder.parent / "elsewhere").mkdir()
    append(folder.parent / "elsewhere" / "new.log", range(100, 110))
    (folder.parent / "elsewhere").rename(folder / "a")


def rename_and_create(folder: Path) -> None:
    """A rotation."""
    (folder / "app.log").rename(folder / "app.log.1")
    append(folder / "app.log", range(100, 110))


def delete_and_create(folder: Path) -> None:
    """What some do in place of a rotation."""
    (folder / "app.log").unlink()
    append(folder / "app.log", range(100, 110))


def replace(folder: Path) -> None:
    """What editors do."""
    append(folder / "aside", range(100, 110)).replace(folder / "app.log")


def copy_and_truncate(folder: Path) -> None:
    """What logrotate does with copytruncate."""
    shutil.copy(folder / "app.log", folder / "app.log.1")
    os.truncate(folder / "app.log", 0)
    append(folder / "app.log", range(100, 110))


def write_late(folder: Path) -> None:
    """A writer that has not noticed a rotation."""
    with (folder / "app.log").open("ab", buffering=0) as late:
        (folder / "app.log").rename(folder / "app.log.1")
        append(folder / "app.log", range(100, 105))
        late.write(b"".join(map(log_line, range(105, 110))))


CHANGES = pytest.mark.parametrize(
    "change",
    [
        *(append_a_line, finish_a_line, create_a_file, create_a_folder, move_a_file_in, move_a_folder_in),
        *(rename_and_create, delete_and_create, replace, copy_and_truncate, write_late),
    ],
    ids=lambda change: change.__name__.replace("_", " "),
)


@CHANGES
def test_the_kernel_reports_a_change_long_before_the_next_sweep(scene: Scene, change: Change) -> None:
    """Far more time than any test may take passes between two sweeps."""
    scene.names = [scene.folder / "**" / "*.log"]
    append(scene.log, range(10))
    with scene.running(poll_interval=3600.0):
        wait_until(lambda: scene.server.stats.lines_stored == 10, "the first lines are stored")
        change(scene.folder)
        wait_until(lambda: scene.server.stats.lines_stored == 20, "the others are stored")
    scene.conclude([*range(10), *range(100, 110)], proven=scene.folder.rglob("*.log*"))


@CHANGES
def test_where_the_kernel_reports_nothing_a_sweep_finds_the_change(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    monkeypatch.setattr("logferry.client.finding.inotify.FolderWatcher.create", lambda: None)
    scene.names = [scene.folder / "**" / "*.log"]
    append(scene.log, range(10))
    with scene.running():
        wait_until(lambda: scene.server.stats.lines_stored == 10, "the first lines are stored")
        change(scene.folder)
        wait_until(lambda: scene.server.stats.lines_stored == 20, "the others are stored")
    scene.conclude([*range(10), *range(100, 110)], proven=scene.folder.rglob("*.log*"))


# --- nothing happens --------------------------------------------------------------------------------------------------

FILES = 200
STAT_S = 250e-6  # long enough for these files to take as much time as ten thousand


class Calls:
    """Counts the file system calls in a folder; each check of a file takes a moment of a fake clock."""

    def __init__(self, folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        self.asked: set[str] = set()  # of which files
        self._folder = str(folder)
        self._clock = clock
        for name in ("stat", "open", "scandir"):
            monkeypatch.setattr(os, name, self._counting(name, getattr(os, name)))

    def _counting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **options: Any) -> Any:
            if isinstance(path, str | Path) and str(path).startswith(self._folder):
                self.counts[name] += 1
                if str(path) != self._folder:
                    self.asked.add(str(path))
                    self._clock.now += STAT_S
            return real(path, *args, **options)

        return call

    def start(self) -> None:
        """Forget what was counted before."""
        self.counts.clear()
        self.asked.clear()


def quiet_scene(scene: Scene) -> Clock:
    """Write many files, to be read by a reader whose clock is this."""
    scene.names = [scene.folder / "*.log"]
    for number in range(FILES):
        append(scene.folder / f"{number:03}.log", [number])
    clock = Clock()
    scene.reader_options = {"clock": clock}
    return clock


def test_quiet_files_are_not_opened_and_sweeps_take_a_hundredth_of_the_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = quiet_scene(scene)
    polls = 100
    with scene.running() as run, monkeypatch.context() as patch:
        run.settle()
        calls = Calls(scene.folder, clock, patch)

        def half_a_second_passes() -> None:
            clock.now += 0.5

        run.reader.after_poll = half_a_second_passes
        begin, began_at = run.reader.polls, clock.now
        wait_until(lambda: run.reader.polls >= begin + polls, "many looks")
        lasted, counts = clock.now - began_at, calls.counts.copy()
    sweep_s = FILES * STAT_S
    assert FILES < counts["stat"] < FILES * (2 + lasted / (100 * sweep_s)) + 2 * (run.reader.polls - begin)
    assert counts["stat"] < FILES * polls / 5, "most looks ask about no file at all"
    assert counts["open"] == counts["scandir"] == 0
    scene.reader_options = {}
    scene.conclude(range(FILES), proven=[scene.folder / "000.log"])


def test_only_the_one_of_many_files_that_has_grown_is_checked(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = quiet_scene(scene)
    grown = scene.folder / "077.log"
    with scene.running() as run, monkeypatch.context() as patch:
        run.settle()
        calls = Calls(scene.folder, clock, patch)
        run.look()  # at everything, for the last time before the clock goes on, which it does not
        calls.start()
        append(grown, [1000])
        wait_until(lambda: scene.server.stats.lines_stored == FILES + 1, "it is stored")
        run.settle()
        assert calls.asked == {str(grown)}
    scene.reader_options = {}
    scene.conclude([*range(FILES), 1000], proven=[grown])


# --- patience ---------------------------------------------------------------------------------------------------------

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only inotify reports changes")


@contextmanager
def following(
    *names: Path, clock: Clock, watcher: FolderWatcher | None = None, **changes: Any
) -> Iterator[FollowReader]:
    """Follow names with a clock that stands still, until everything is read that there is now.

    What was changed just now is looked at again and again; so it was long ago.
    """
    for place in {place for name in names for place in (name, name.parent) if place.exists()}:
        os.utime(place, (1e9, 1e9))
    watcher = watcher or FolderWatcher.create()
    reader = FollowReader([input_settings(*names, **changes)], watcher=watcher, clock=clock)
    try:
        look(reader)
        yield reader
    finally:
        reader.close()


def look(reader: FollowReader) -> bytes:
    """Poll until the files that were found are watched; return what was read."""
    found = b""
    for _ in range(3):
        reader._next_sweep = reader._clock()  # a sweep takes no time by this clock
        reader.poll()
        found += read(reader)
    return found


@linux_only
def test_a_quiet_file_is_checked_every_few_seconds_because_the_kernel_reports_all_else(tmp_path: Path) -> None:
    clock = Clock()
    with following(append(tmp_path / "app.log", [0]), clock=clock) as reader:
        assert reader.patience_s == 5.0
        clock.now += 2.0
        assert reader.patience_s == 3.0
        clock.now += 4.0
        assert reader.patience_s == 0.0
        reader.poll()
        assert read(reader) == b""
        assert reader.patience_s == 5.0


@linux_only
def test_a_missing_name_and_a_pattern_without_files_need_no_polling_either(tmp_path: Path) -> None:
    clock = Clock()
    with following(tmp_path / "app.log", tmp_path / "*.txt", clock=clock) as reader:
        assert reader.patience_s == 5.0
        append(tmp_path / "app.log", [1])
        poll = select.poll()
        for fd in reader.wake_fds:
            poll.register(fd, select.POLLIN)
        assert poll.poll(0)
        reader.poll()
        assert read(reader) == log_line(1)


@linux_only
def test_a_file_that_was_read_again_and_again_needs_no_polling_either(tmp_path: Path) -> None:
    clock, log = Clock(), append(tmp_path / "app.log", [0])
    with following(log, clock=clock) as reader:
        for number in range(1, 4):
            append(log, [number])
            reader.poll()
            assert read(reader) == log_line(number)
            assert reader.patience_s == 5.0


def test_without_a_watcher_the_files_are_checked_every_poll_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderWatcher, "create", lambda: None)
    with following(append(tmp_path / "app.log", [0]), clock=Clock()) as reader:
        assert reader.patience_s == 0.0


def by_a_link(tmp_path: Path) -> Path:
    """The kernel may report changes of the target, but not of a link on the way to the target."""
    append(tmp_path / "real.log", [0])
    (tmp_path / "app.log").symlink_to(tmp_path / "real.log")
    return tmp_path / "app.log"


def below_a_link(tmp_path: Path) -> Path:
    """A link to a folder may be changed."""
    (tmp_path / "real").mkdir()
    append(tmp_path / "real" / "app.log", [0])
    (tmp_path / "link").symlink_to(tmp_path / "real")
    return tmp_path / "link" / "app.log"


def with_two_names(tmp_path: Path) -> Path:
    """The kernel reports a write through the other name to the other folder."""
    (tmp_path / "other").mkdir()
    log = append(tmp_path / "app.log", [0])
    (tmp_path / "other" / "app.log").hardlink_to(log)
    return log


def in_no_folder(tmp_path: Path) -> Path:
    """A folder that is missing cannot be watched."""
    return tmp_path / "missing" / "app.log"


@linux_only
@pytest.mark.parametrize("make", [by_a_link, below_a_link, with_two_names, in_no_folder])
def test_what_the_kernel_may_not_report_is_checked_every_poll_interval(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    with following(make(tmp_path), clock=Clock()) as reader:
        assert reader.patience_s == 0.0


@linux_only
def test_a_file_system_that_other_hosts_write_to_is_checked_every_poll_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.client.finding.mounts.file_system", lambda *_: "nfs4")
    with following(append(tmp_path / "app.log", [0]), clock=Clock()) as reader:
        assert reader.patience_s == 0.0


@linux_only
def test_a_file_that_is_a_mount_point_is_checked_every_poll_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = append(tmp_path / "app.log", [0])
    monkeypatch.setattr("logferry.client.finding.mounts.mount_points", lambda _: frozenset({os.path.realpath(log)}))
    with following(log, clock=Clock()) as reader:
        assert reader.patience_s == 0.0


@linux_only
def test_a_second_hard_link_to_a_file_ends_the_patience(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", [0])
    with following(log, clock=Clock()) as reader:
        (tmp_path / "other.log").hardlink_to(log)
        reader.poll()
        assert reader.patience_s == 0.0


@linux_only
def test_an_event_that_may_continue_is_checked_every_poll_interval(tmp_path: Path) -> None:
    clock, log = Clock(), append(tmp_path / "app.log", [0])
    with following(log, clock=clock, multiline="timestamp") as reader:
        assert reader.patience_s == 0.0
        clock.now += 60.0
        assert look(reader) == log_line(0)
        assert reader.patience_s == 5.0


@linux_only
def test_a_renamed_file_that_is_not_acked_is_checked_every_poll_interval(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", [0])
    with following(log, clock=Clock()) as reader:
        append(log, [1])
        log.rename(tmp_path / "app.log.1")
        reader.poll()
        chunk = reader.read(max_lines=None)
        assert chunk is not None
        assert reader.patience_s == 0.0
        chunk.source.committed = chunk.end


@linux_only
def test_a_finished_rotated_file_needs_no_polling_and_late_writes_to_it_are_reported(tmp_path: Path) -> None:
    clock, log = Clock(), append(tmp_path / "app.log", [0])
    with following(log, clock=clock) as reader:
        log.rename(tmp_path / "app.log.1")
        append(log, [1])
        reader.poll()
        assert read(reader) == log_line(1)
        assert reader.patience_s == 0.0
        clock.now += 100.0
        look(reader)
        for path in (log, tmp_path / "app.log.1", tmp_path):
            os.utime(path, (1e9, 1e9))
        look(reader)
        assert reader.patience_s == 5.0
        append(tmp_path / "app.log.1", [2])
        reader.poll()
        assert read(reader) == log_line(2)


@linux_only
def test_new_inputs_are_used_immediately(tmp_path: Path) -> None:
    other = append(tmp_path / "other.log", [7])
    with following(append(tmp_path / "app.log", [0]), clock=Clock()) as reader:
        reader.reconfigure([input_settings(other)])
        poll = select.poll()
        for fd in reader.wake_fds:
            poll.register(fd, select.POLLIN)
        assert poll.poll(0)
        reader.poll()
        assert read(reader) == log_line(7)
        assert not poll.poll(0)
