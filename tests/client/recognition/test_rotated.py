"""Rotated files: those that had a followed name before are found, whatever they are called now."""

import functools
import logging
import os
import shutil
import time
from pathlib import Path

import pytest

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings, Listing
from logferry.client.readers.follow import reader as follow_reader
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.recognition.recognise import Recogniser
from logferry.client.recognition.rotated import RotatedFiles, named_like_rotated_since
from logferry.client.state.checkpoint import Checkpoint
from logferry.client.state.checkpoints import Checkpoints
from tests.client.recognition.test_recognise import Memory
from tests.support.running import RunningServer, numbered_line, wait_until
from tests.support.shipping import (
    append,
    assert_conserved,
    shipping,
)

pytestmark = pytest.mark.usefixtures("quick_backoff")


def test_only_plain_files_with_names_of_rotated_ones_are_taken_for_such(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", [1])
    rotated = [
        "app.log.1",
        "app.log.12",
        "app.log-20240115",
        "app-2024-01-15.log",
        "app.1.log",
        "app.log.2024-01-15T08:00",
    ]
    others = [
        *("app.log.1.gz", "app.log.gz", "app.log.bak", "app.log.swp", ".app.log.1", "app.logs.1", "xapp.log.1"),
        *("app.log.1~", "error.log.1", "app-server.log", "application.log", "app.log.1.zst", "app.log.part"),
    ]
    for name in rotated + others:
        append(tmp_path / name, [2])
    (tmp_path / "app.log.7").mkdir()
    assert {found.path.name for found in named_like_rotated_since(log, 0, set(), FolderListings())} == set(rotated)


# --- rotated while the client was stopped -----------------------------------------------------------------------------


def run_client(tmp_path: Path, server: RunningServer, lines: int, *, resilient: bool = False) -> None:
    """Follow app.log until the server has this many lines in all; then stop."""
    with shipping(
        tmp_path / "app.log",
        server.port,
        ack="auto",
        state_dir=tmp_path / "state",
        mode="continuous",
        resilient=resilient,
    ) as run:
        wait_until(lambda: run.is_over or len(server.stored_lines()) >= lines, f"{lines} lines are stored")
        run.stop()


def rotate(tmp_path: Path, rotations: int = 1) -> None:
    """Shift app.log, app.log.1... by one, as logrotate does."""
    for number in range(rotations - 1, 0, -1):
        (tmp_path / f"app.log.{number}").rename(tmp_path / f"app.log.{number + 1}")
    (tmp_path / "app.log").rename(tmp_path / "app.log.1")


def age(path: Path, seconds: float) -> None:
    """Make a file look as if it was last written this long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


@pytest.mark.parametrize("name", ["app.log.old", "app_1.log", "20240115-app.log", "app.log_20240115-082345"])
def test_a_file_rotated_meanwhile_is_read_whatever_the_scheme(tmp_path: Path, server: RunningServer, name: str) -> None:
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    append(log, range(10, 20)).rename(tmp_path / name)
    append(log, range(20, 30))
    run_client(tmp_path, server, 30)
    assert_conserved(range(30), server.stored_lines())


def test_a_file_rotated_once_meanwhile_is_read_to_its_end_first(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    append(log, range(10, 20))
    rotate(tmp_path)
    append(log, range(20, 30))
    run_client(tmp_path, server, 30)
    assert_conserved(range(30), server.stored_lines())


@pytest.mark.parametrize("resilient", [False, True])
def test_files_rotated_several_times_meanwhile_are_read_in_their_order(
    tmp_path: Path, server: RunningServer, resilient: bool
) -> None:
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10, resilient=resilient)
    append(log, range(10, 20))
    for rotation in range(1, 5):
        rotate(tmp_path, rotation)
        append(log, range(10 + 10 * rotation, 20 + 10 * rotation))
    run_client(tmp_path, server, 60, resilient=resilient)
    assert_conserved(range(60), server.stored_lines())
    run_client(tmp_path, server, 60, resilient=resilient)
    append(log, [60])
    run_client(tmp_path, server, 61, resilient=resilient)
    assert_conserved(range(61), server.stored_lines())


def test_a_file_that_was_rotated_in_the_tick_of_the_clock_in_which_its_predecessor_was_last_seen_is_read(
    tmp_path: Path, server: RunningServer
) -> None:
    """The kernel gives a file the time of its last tick, which may be before that of a clock that was asked earlier."""
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    (checkpoint,) = Checkpoints(tmp_path / "state", read_only=True)
    log.unlink()
    rotated = append(tmp_path / "app.log.1", range(10, 20))
    then_ns = int(checkpoint.seen_at * 1e9) - 4_000_000
    os.utime(rotated, ns=(then_ns, then_ns))
    append(log, range(20, 30))
    run_client(tmp_path, server, 30)
    assert_conserved(range(30), server.stored_lines())


def test_a_rotated_file_is_found_by_its_content_under_a_name_of_its_own(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    append(log, range(10, 20))
    log.rename(tmp_path / "kept-for-audit")
    append(log, range(20, 30))
    run_client(tmp_path, server, 30)
    assert_conserved(range(30), server.stored_lines())


def test_files_rotated_before_the_first_run_are_not_read(tmp_path: Path, server: RunningServer) -> None:
    append(tmp_path / "app.log.1", range(100, 110))
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    append(log, range(10, 20))
    run_client(tmp_path, server, 20)
    assert_conserved(range(20), server.stored_lines())


def test_an_older_file_that_is_touched_is_not_taken_for_one_that_was_rotated(
    tmp_path: Path, server: RunningServer
) -> None:
    """app.log is still the file it was, so nothing can have been rotated."""
    old = append(tmp_path / "app.log.1", range(100, 110))
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    old.touch()
    append(log, range(10, 20))
    run_client(tmp_path, server, 20)
    assert_conserved(range(20), server.stored_lines())


def test_compressed_and_foreign_siblings_are_left_alone(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    append(log, range(10, 20))
    rotate(tmp_path)
    for name in ("app.log.2.gz", "app.log.bak", "other.log.1", "app.log.1.tmp"):
        append(tmp_path / name, range(500, 510))
    append(log, range(20, 30))
    run_client(tmp_path, server, 30)
    assert_conserved(range(30), server.stored_lines())
    assert caplog.text.count("was rotated in the meantime") == 1


def test_a_new_file_with_the_inode_of_one_that_was_deleted_is_shipped(tmp_path: Path, server: RunningServer) -> None:
    """File systems reuse inodes immediately; the inode of an old file says nothing about the new one."""
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    inode = log.stat().st_ino
    log.write_bytes(b"")  # the same inode, as if deleted and created anew, and rotated since
    append(log, range(10, 20))
    rotate(tmp_path)
    append(log, range(20, 30))
    assert (tmp_path / "app.log.1").stat().st_ino == inode
    run_client(tmp_path, server, 30)
    assert_conserved(range(30), server.stored_lines())


@pytest.mark.parametrize("unread", [0, 10])
def test_a_copy_made_before_the_file_was_truncated_is_the_rest_of_it_and_not_shipped_again(
    tmp_path: Path, server: RunningServer, unread: int
) -> None:
    """What logrotate does with copytruncate; further copies of the same file are not read."""
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    append(log, range(10, 10 + unread))
    shutil.copy(log, tmp_path / "app.log.1")
    log.write_bytes(b"")
    append(log, range(10 + unread, 30))
    run_client(tmp_path, server, 30)
    assert_conserved(range(30), server.stored_lines())
    append(log, [30])
    run_client(tmp_path, server, 31)
    assert_conserved(range(31), server.stored_lines())


def test_a_twin_of_a_file_that_was_rotated_is_shipped_as_the_other_file_that_it_is(
    tmp_path: Path, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    rotate(tmp_path)
    shutil.copy(tmp_path / "app.log.1", tmp_path / "app.log.2")
    append(log, range(10, 20))
    run_client(tmp_path, server, 30)
    assert_conserved(range(20), server.stored_lines(), retried=10)


def test_a_half_shipped_rotated_file_is_known_by_the_followed_name(tmp_path: Path, server: RunningServer) -> None:
    """It was opened as app.log.1, for the first time; at the next start it is app.log.2, and still not done."""
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    rotate(tmp_path)
    append(log, range(10, 20))
    rotate(tmp_path, 2)
    append(log, range(20, 30))
    run_client(tmp_path, server, 30)
    checkpoints = Checkpoints(tmp_path / "state", read_only=True)
    assert {checkpoint.path for checkpoint in checkpoints} == {str(log)}
    append(tmp_path / "app.log.1", range(30, 40))  # its writer has not noticed
    (tmp_path / "app.log.2").unlink()
    rotate(tmp_path, 2)
    append(log, range(40, 50))
    run_client(tmp_path, server, 50)
    stored = server.stored_lines()
    assert sorted(stored) == sorted(map(numbered_line, range(50)))


def test_a_rotated_file_that_is_shipped_and_gone_is_finished_in_the_checkpoints_too(
    tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = append(tmp_path / "app.log", range(10))
    run_client(tmp_path, server, 10)
    rotate(tmp_path)
    append(log, range(10, 20))
    monkeypatch.setattr(follow_reader, "FollowReader", functools.partial(FollowReader, rotated_quiet_s=0.05))
    with shipping(log, server.port, ack="auto", state_dir=tmp_path / "state", mode="continuous") as run:
        run.wait_for_acks(10)
        log.with_name("app.log.1").unlink()
        wait_until(lambda: _finished(tmp_path) == {"app.log": 1}, "the rotated file is closed", deadline_s=5)
        run.stop()


def _finished(tmp_path: Path) -> dict[str, int]:
    finished: dict[str, int] = {}
    for checkpoint in Checkpoints(tmp_path / "state", read_only=True):
        name = Path(checkpoint.path).name
        finished[name] = finished.get(name, 0) + checkpoint.is_finished
    return finished


@pytest.mark.parametrize("offset_s", [-86400 * 400, 86400 * 400], ids=["back", "forward"])
def test_a_clock_that_was_set_in_between_hides_no_file(
    tmp_path: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch, offset_s: float
) -> None:
    real = time.time
    log = append(tmp_path / "app.log", range(10))
    monkeypatch.setattr("logferry.client.state.checkpoints.time.time", lambda: real() + offset_s)
    run_client(tmp_path, server, 10)
    monkeypatch.undo()
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(tmp_path / "state"))
    append(log, range(10, 20))
    for rotation in range(1, 4):
        rotate(tmp_path, rotation)
        append(log, range(10 + 10 * rotation, 20 + 10 * rotation))
    run_client(tmp_path, server, 50)
    assert_conserved(range(50), server.stored_lines())


# --- which files are taken for rotated ones, without a client ---------------------------------------------------------


def test_a_copy_of_the_file_that_still_has_the_name_is_not_one_that_was_rotated(tmp_path: Path) -> None:
    """Nothing was rotated since: the copy is newer than the file that was rotated before, and yet had no name."""
    memory = Memory()
    log = append(tmp_path / "app.log", range(10))
    memory.ship(log)
    before = log.rename(tmp_path / "app.log.1")
    memory.ship(append(log, range(20, 30)))
    shutil.copy(log, tmp_path / "app.log.2")
    age(before, 10)
    found = RotatedFiles(Recogniser(memory.checkpoints)).since_last_run(log)
    assert [file.path for file in found] == [before]


@pytest.mark.parametrize("earlier_ns", [0, 1])
def test_a_file_of_the_time_from_which_on_a_rotation_is_certain_had_the_name_whatever_it_holds(
    tmp_path: Path, earlier_ns: int
) -> None:
    memory = Memory()
    log = append(tmp_path / "app.log", range(10))
    memory.ship(log)
    twin = Path(shutil.copy(log, tmp_path / "app.log.1"))
    certain_ns = twin.stat().st_mtime_ns
    os.utime(twin, ns=(certain_ns, certain_ns - earlier_ns))
    found = RotatedFiles(Recogniser(memory.checkpoints)).since([log], 0, set(), present=str(log), certain_ns=certain_ns)
    assert [file.path for file in found] == ([] if earlier_ns else [twin])


_MANY = 60


class Busy(FolderListings):
    """Listings of a folder in which something is renamed all the time: every look lists it again."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def listing(self, folder: str) -> Listing:
        """See FolderListings."""
        self.looks += 1
        self.forget(folder)
        return super().listing(folder)


def test_a_start_beside_many_rotated_files_lists_their_folder_a_few_times(tmp_path: Path) -> None:
    """Where files are renamed all the time, the folder is listed at each look, for each of hundreds of checkpoints."""
    memory, folders = Memory(), Busy()
    log = tmp_path / "app.log"
    for number in range(_MANY):
        memory.ship(append(log, range(number, number + 10)))
        log.rename(tmp_path / f"app.log.{_MANY - number}")
    found = RotatedFiles(Recogniser(memory.checkpoints, folders)).since_last_run(log)
    assert len(found) == _MANY
    assert folders.looks < 10


def test_a_file_that_is_renamed_during_the_search_is_found_under_its_new_name(tmp_path: Path) -> None:
    memory, folders = Memory(), FolderListings()
    log = tmp_path / "app.log"
    for number in range(3):
        memory.ship(append(log, range(number, number + 10)))
        log.rename(tmp_path / f"app.log.{3 - number}")
    rotated = RotatedFiles(Recogniser(memory.checkpoints, folders))
    stale = {str(tmp_path): folders.listing(str(tmp_path))}
    for number in range(3, 0, -1):
        (tmp_path / f"app.log.{number}").rename(tmp_path / f"app.log.{number + 1}")
    known = memory.checkpoints.of_path(str(log))
    names = {found.path.name for each in known if (found := rotated._find(each, [log], dict(stale)))}
    assert names == {"app.log.2", "app.log.3", "app.log.4"}


def test_a_start_beside_many_copies_compares_each_with_its_own_checkpoint_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()
    log = tmp_path / "app.log"
    for number in range(_MANY):
        memory.ship(append(log, range(number, number + 10)))
        shutil.copy(log, tmp_path / f"app.log.{_MANY - number}")
        log.unlink()
    compared: list[str] = []
    is_continued_in = Recogniser.is_continued_in

    def noting(self: Recogniser, file: SourceFile, checkpoint: Checkpoint) -> bool:
        compared.append(checkpoint.id)
        return is_continued_in(self, file, checkpoint)

    monkeypatch.setattr(Recogniser, "is_continued_in", noting)
    found = RotatedFiles(Recogniser(memory.checkpoints))._copies_of(
        memory.checkpoints.of_path(str(log)), [log], frozenset()
    )
    assert len(found) == _MANY
    assert len(compared) == _MANY
