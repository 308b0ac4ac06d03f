"""Files that are gone before they could be opened: each is counted, logged and remembered; no other file is."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logferry.client.finding.inotify import Changes, FolderWatcher
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.state.known_losses import KnownLosses
from logferry.telemetry.metrics import Metrics
from tests.support.builders import Clock
from tests.support.reading import read
from tests.support.shipping import append, input_settings, log_line

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


class Following:
    """A reader that follows `*.log` and `app.txt` in a folder, with a file of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        append(folder / "old.log", range(3))
        append(folder / "app.txt", range(3))
        self.metrics, self.known = Metrics(), KnownLosses(None)
        self.reader = FollowReader(
            [input_settings(folder / "*.log", folder / "app.txt")],
            metrics=self.metrics,
            watcher=FolderWatcher.create(),
            known_losses=self.known,
            clock=Clock(),
        )
        self.look()

    def look(self) -> bytes:
        self.reader.poll()
        return read(self.reader)

    @property
    def missed(self) -> int:
        return self.metrics.total().counters.files_missed


@pytest.fixture
def following(tmp_path: Path) -> Iterator[Following]:
    folder = tmp_path / "log"
    folder.mkdir()
    made = Following(folder)
    yield made
    made.reader.close()


def test_each_file_that_was_written_and_deleted_between_two_looks_is_reported(
    following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for name in ("a.log", "a.log", "b.log"):
            append(following.folder / name, range(10)).unlink()
        following.look()
    assert following.missed == 3
    assert f"{following.folder}/a.log was written and gone" in caplog.text
    known = {loss.path: loss.count for loss in following.known}
    assert known == {f"{following.folder}/a.log": 2, f"{following.folder}/b.log": 1}
    following.look()
    assert following.missed == 3


def move_away(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")


def overwrite(path: Path) -> None:
    append(path.parent / "new", range(20, 30)).rename(path)


def rename_and_delete(path: Path) -> None:
    path.rename(path.with_suffix(".tmp")).unlink()


@pytest.mark.parametrize("end", [Path.unlink, move_away, overwrite, rename_and_delete])
def test_a_file_may_go_in_any_way(following: Following, end: Callable[[Path], object]) -> None:
    end(append(following.folder / "a.log", range(10)))
    following.look()
    assert following.missed == 1


def test_a_file_that_was_written_under_another_name_is_reported_under_the_one_that_is_followed(
    following: Following,
) -> None:
    append(following.folder / "tmp", range(10)).rename(following.folder / "a.log").unlink()
    following.look()
    assert [loss.path for loss in following.known] == [f"{following.folder}/a.log"]


def test_a_file_that_was_announced_by_one_look_and_gone_before_it_was_opened_is_reported(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size is known if the file went between two system calls."""
    path = append(following.folder / "a.log", range(10))
    size = path.stat().st_size
    opener = following.reader._opener
    open_file = opener.open

    def too_late(*args: object, **options: object) -> object:
        path.unlink(missing_ok=True)
        return open_file(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(opener, "open", too_late)
    following.look()
    following.look()
    assert following.missed == 1
    assert [loss.size for loss in following.known] == [size]
    assert following.metrics.total().counters.bytes_lost == size


def test_a_new_file_in_place_of_one_that_is_read_is_reported_too(following: Following) -> None:
    log = following.folder / "app.txt"
    log.rename(following.folder / "app.txt.1")
    append(log, range(10, 20)).unlink()
    append(log, range(20, 30))
    assert following.look() == b"".join(map(log_line, range(20, 30)))
    assert following.missed == 1


class AfterRead:
    """Does something right after the events were read, before anything is listed; and something else before that."""

    def __init__(self, following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now: Callable[[], object] = lambda: None
        self._following = following
        self._take_changes = following.reader._watch._watcher.read  # type: ignore[union-attr]
        monkeypatch.setattr(following.reader._watch._watcher, "read", self.read)

    def read(self) -> Changes:
        changes = self._take_changes()
        now, self.now = self.now, lambda: None
        now()
        return changes

    def look(self, now: Callable[[], object]) -> bytes:
        """Look, and do something after the events were read; another event ensures that names are looked for."""
        (self._following.folder / "noise").touch()
        (self._following.folder / "noise").unlink()
        self.now = now
        return self._following.look()


@pytest.fixture
def after_read(following: Following, monkeypatch: pytest.MonkeyPatch) -> AfterRead:
    return AfterRead(following, monkeypatch)


def create(path: Path) -> Path:
    return append(path, range(10))


def create_as_temporary(path: Path) -> Path:
    return append(path.with_suffix(".tmp"), range(10)).rename(path)


def create_empty(path: Path) -> Path:
    path.touch()
    return path


LINES = b"".join(map(log_line, range(10)))


@pytest.mark.parametrize("make", [create, create_as_temporary])
@pytest.mark.parametrize("end", [Path.unlink, move_away, overwrite, rename_and_delete, lambda path: None])
@pytest.mark.parametrize("is_at_once", [True, False], ids=["before its events", "after its events"])
def test_a_file_that_was_read_before_its_events_is_not_reported(
    following: Following,
    after_read: AfterRead,
    make: Callable[[Path], Path],
    end: Callable[[Path], object],
    is_at_once: bool,
) -> None:
    path = following.folder / "a.log"
    assert after_read.look(lambda: make(path)) == LINES
    if is_at_once:
        end(path)
        following.look()
    else:
        after_read.look(lambda: end(path))
    for _ in range(3):
        following.look()
    path.unlink(missing_ok=True)
    following.look()
    assert following.missed == 0


def test_a_file_that_gets_its_wanted_name_after_its_events_were_read_is_not_reported(
    following: Following, after_read: AfterRead
) -> None:
    path = following.folder / "a.log"
    temporary = create(path.with_suffix(".tmp"))
    assert after_read.look(lambda: temporary.rename(path)) == LINES
    path.unlink()
    following.look()
    assert following.missed == 0


def test_nothing_is_reported_of_events_some_of_which_are_missing(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(following.folder / "a.log").unlink()
    changes = following.reader._watch._watcher.read()  # type: ignore[union-attr]
    changes.overflow = True
    monkeypatch.setattr(following.reader._watch._watcher, "read", lambda: changes)
    following.look()
    assert following.missed == 0


def test_of_files_of_one_name_those_that_were_not_read_are_reported(
    following: Following, after_read: AfterRead
) -> None:
    """Three came and went, and the second one was read."""
    path = following.folder / "a.log"

    def replace() -> None:
        path.unlink()
        create(path)

    create(path)
    assert after_read.look(replace) == LINES
    path.unlink()
    create(path).unlink()
    following.look()
    assert following.missed == 2


@pytest.mark.parametrize("is_first_empty", [True, False])
def test_of_files_of_one_name_the_one_that_was_read_is_the_one_with_content(
    following: Following, after_read: AfterRead, is_first_empty: bool
) -> None:
    """The empty one is no loss, whichever of them was opened."""
    path = following.folder / "a.log"

    def replace() -> None:
        path.unlink()
        (create if is_first_empty else create_empty)(path)

    (create_empty if is_first_empty else create)(path)
    read_first = after_read.look(replace)
    path.unlink()
    read_first += following.look()
    assert (read_first, following.missed) == ((LINES, 0) if is_first_empty else (b"", 1))


def test_a_file_that_was_known_under_a_name_that_nobody_wants_is_reported_under_the_one_that_is_wanted(
    following: Following,
) -> None:
    path = following.folder / "a.log"
    temporary = create(path.with_suffix(".tmp"))
    following.look()
    temporary.rename(path).unlink()
    following.look()
    assert [loss.path for loss in following.known] == [str(path)]


def test_a_file_that_is_read_is_not_reported_however_often_it_is_renamed(following: Following) -> None:
    path = following.folder / "old.log"
    for name in ("b.log", "c.txt", "d.log"):
        path = path.rename(following.folder / name)
    path.unlink()
    for _ in range(3):
        following.look()
    assert following.missed == 0


def rotate(log: Path) -> None:
    log.rename(log.with_name("app.txt.1"))
    append(log, range(100, 110))


def copy_and_truncate(log: Path) -> None:
    copy = log.with_name("app.txt.1")
    copy.write_bytes(log.read_bytes())
    os.truncate(log, 0)
    copy.unlink()


def write_and_leave(log: Path) -> None:
    append(log.with_name("a.log"), range(10))


def touch_and_delete(log: Path) -> None:
    log.with_name("a.log").touch()
    log.with_name("a.log").unlink()


def delete_what_nobody_asked_for(log: Path) -> None:
    append(log.with_name("a.tmp"), range(10)).unlink()


def replace_atomically(log: Path) -> None:
    append(log.with_name(".old.log.new"), range(20)).rename(log.with_name("old.log"))


def make_a_folder(log: Path) -> None:
    log.with_name("a.log").mkdir()
    log.with_name("a.log").rmdir()


ORDINARY = [
    rotate,
    copy_and_truncate,
    write_and_leave,
    touch_and_delete,
    delete_what_nobody_asked_for,
    replace_atomically,
    make_a_folder,
]


@pytest.mark.parametrize("change", ORDINARY)
def test_what_is_ordinary_is_not_reported(following: Following, change: Callable[[Path], object]) -> None:
    change(following.folder / "app.txt")
    for _ in range(3):
        following.look()
    for path in following.folder.iterdir():
        path.unlink()
    following.look()
    assert following.missed == 0


def test_a_file_that_is_deleted_right_after_it_was_opened_is_read(
    following: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = append(following.folder / "a.log", range(10))
    opener = following.reader._opener
    open_file = opener.open

    def just_in_time(*args: object, **options: object) -> object:
        file = open_file(*args, **options)  # type: ignore[arg-type]
        path.unlink(missing_ok=True)
        return file

    monkeypatch.setattr(opener, "open", just_in_time)
    assert following.look() == b"".join(map(log_line, range(10)))
    monkeypatch.setattr(opener, "open", open_file)
    following.look()
    assert following.missed == 0
