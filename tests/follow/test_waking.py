"""What wakes the reader, and what it does while nothing happens: next to nothing, however many files there are."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import Clock
from tests.following import Scene
from tests.shipping import append, log_line
from tests.support import wait_until

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
def test_the_kernel_tells_of_a_change_long_before_it_is_time_to_look(scene: Scene, change: Change) -> None:
    """Far more seconds than any test may take go by between two looks."""
    scene.names = [scene.folder / "**" / "*.log"]
    append(scene.log, range(10))
    with scene.running(poll_interval=3600.0):
        wait_until(lambda: scene.server.stats.lines_stored == 10, "the first lines are stored")
        change(scene.folder)
        wait_until(lambda: scene.server.stats.lines_stored == 20, "the others are stored")
    scene.conclude([*range(10), *range(100, 110)], proven=scene.folder.rglob("*.log*"))


@CHANGES
def test_where_the_kernel_tells_of_nothing_a_change_is_found_by_looking(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    monkeypatch.setattr("logferry.client.watcher.Watcher.create", lambda: None)
    scene.names = [scene.folder / "**" / "*.log"]
    append(scene.log, range(10))
    with scene.running():
        wait_until(lambda: scene.server.stats.lines_stored == 10, "the first lines are stored")
        change(scene.folder)
        wait_until(lambda: scene.server.stats.lines_stored == 20, "the others are stored")
    scene.conclude([*range(10), *range(100, 110)], proven=scene.folder.rglob("*.log*"))


# --- nothing happens --------------------------------------------------------------------------------------------------

FILES = 200
STAT_S = 250e-6  # so long that these files take as much time as ten thousand


class Calls:
    """Counts what is asked of the file system about a folder; each look at a file takes a moment of a fake clock."""

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


def test_quiet_files_are_not_opened_and_looked_at_so_rarely_that_it_takes_a_hundredth_of_the_time(
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


def test_of_many_files_only_the_one_that_has_grown_is_looked_at(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
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
