"""Files that are renamed, deleted, written to late, or found through a link: each line is stored once."""

import os
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from logferry.client.finding.patterns import Discovery
from logferry.client.recognition.rotated import RotatedFile, named_like_rotated_since
from tests.support.following import Scene, compress
from tests.support.processes import client, free_port
from tests.support.running import numbered_line, wait_until
from tests.support.shipping import append, log_line


def rotate(log: Path) -> Path:
    """Rename app.log to app.log.1, and older ones before that, as logrotate does; return the new name."""
    number = 1
    while log.with_name(f"{log.name}.{number}").exists():
        number += 1
    for older in range(number, 1, -1):
        log.with_name(f"{log.name}.{older - 1}").rename(log.with_name(f"{log.name}.{older}"))
    return log.rename(log.with_name(f"{log.name}.1"))


def rotations(log: Path) -> list[Path]:
    """Return all files of a name, the newest first."""
    return sorted(log.parent.glob(f"{log.name}*"))


# --- renamed, and another one created ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_a_file_that_is_renamed_is_read_to_its_end(scene: Scene, pattern: str) -> None:
    scene.names = [scene.folder / pattern]
    log = append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(log, range(10, 20))
            rotate(log)
            append(log, range(20, 30))
        run.settle()
    scene.conclude(range(30), proven=rotations(log))


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_files_that_are_renamed_again_and_again_before_they_are_read_are_all_read(scene: Scene, pattern: str) -> None:
    scene.names = [scene.folder / pattern]
    log = append(scene.log, range(10))
    with scene.running() as run:
        with run.paused():
            for number in range(1, 6):
                rotate(log)
                append(log, range(10 * number, 10 * number + 10))
                if number % 2:
                    run.look()
        run.settle()
    scene.conclude(range(60), proven=rotations(log))


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
@pytest.mark.parametrize("times", [1, 4])
def test_files_that_were_renamed_while_no_client_ran_are_all_read(scene: Scene, pattern: str, times: int) -> None:
    scene.names = [scene.folder / pattern]
    log = append(scene.log, range(10))
    scene.follow()
    append(log, range(10, 15))
    for number in range(1, times + 1):
        rotate(log)
        append(log, range(5 + 10 * number, 15 + 10 * number))
    scene.conclude(range(15 + 10 * times), proven=rotations(log))


@pytest.mark.parametrize("name", ["app-2024-01-15.log", "app.log-20240115", "kept", "app.log.bak"])
@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_whatever_its_new_name_a_renamed_file_is_read_to_its_end(scene: Scene, name: str, is_running: bool) -> None:
    log = append(scene.log, range(10))
    new = scene.folder / name

    def rename() -> None:
        append(log, range(10, 20))
        log.rename(new)
        append(log, range(20, 30))

    if is_running:
        with scene.running() as run:
            with run.paused():
                rename()
            run.settle()
    else:
        scene.follow()
        rename()
    scene.conclude(range(30), proven=[new, log])


@pytest.mark.parametrize("name", ["app.log.1", "kept"])
def test_a_file_with_nothing_shipped_when_the_client_ended_is_known_by_its_new_name(scene: Scene, name: str) -> None:
    log = append(scene.log, range(10))
    scene.reader_options = {"is_paused": True}
    with scene.running() as run:
        run.look()
    scene.reader_options = {}
    log.rename(scene.folder / name)
    append(log, range(10, 20))
    scene.conclude(range(20), proven=[scene.folder / name, log])


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
@pytest.mark.parametrize("times", [1, 3])
def test_files_that_were_found_but_not_read_when_the_client_ended_are_all_found_again(
    scene: Scene, pattern: str, times: int
) -> None:
    """Rotated before one client ran, not read by it, and rotated again before the next one runs."""
    scene.names = [scene.folder / pattern]
    log = append(scene.log, range(10))
    scene.follow()
    scene.reader_options = {"is_paused": True}
    for number in range(times):
        for start in range(20 * number + 10, 20 * number + 30, 10):
            rotate(log)
            append(log, range(start, start + 10))
        with scene.running() as run:
            run.look()
    scene.reader_options = {}
    scene.conclude(range(20 * times + 10), proven=rotations(log))


@pytest.mark.parametrize("archived", [(), (1,), (1, 2)], ids=["plain", "one compressed", "two compressed"])
def test_files_that_were_read_but_not_delivered_when_the_client_was_killed_are_all_found_again(
    scene: Scene, archived: tuple[int, ...]
) -> None:
    """The server is away all the time, so only its own checkpoints show the client what there was."""
    log = append(scene.log, range(10))
    scene.follow()
    for number in (1, 2, 3):
        rotate(log)
        append(log, range(10 * number, 10 * number + 10))
    for number in archived:
        compress(log.with_name(f"app.log.{number}"))
    words = ("--mode", "continuous", "--poll-interval", "0.02", "--backoff-max", "0.02")
    with client(log, free_port(), *words, folder=scene.tmp_path) as run:
        run.wait_for_stderr("failure 2 in a row")
        log.rename(log.with_name("app.log-20240115"))
        inode = append(log, range(40, 50)).stat().st_ino
        memory = scene.state / "checkpoints.json"
        wait_until(lambda: f'"inode":{inode},' in memory.read_text(), "it is remembered that there is a new one")
        run.kill()
    log.rename(log.with_name("app.log-20240116"))
    append(log, range(50, 60))
    scene.conclude(range(60), proven=[path for path in rotations(log) if path.suffix != ".gz"])


def test_a_name_that_is_missing_while_the_folder_is_listed_stays_followed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.names = [scene.folder / "*.log"]
    log, find, found = append(scene.log, range(10)), Discovery.find, list[list[str]]()

    def rotate_while_finding(discovery: Discovery) -> list[str]:
        if not found:
            rotate(log)
        found.append(find(discovery))
        if len(found) == 1:
            append(log, range(20, 30))
        return found[-1]

    with scene.running() as run:
        run.settle()
        with run.paused():
            append(log, range(10, 20))
            run.look()
            monkeypatch.setattr(Discovery, "find", rotate_while_finding)
            (scene.folder / "a-new-name").touch()
            wait_until(lambda: len(found) > 1, "the folder is listed")
        run.settle()
    assert found[0] == []
    assert len(scene.server.stored_lines()) == 30
    scene.conclude(range(30), proven=rotations(log))


def test_a_file_that_is_moved_to_another_folder_is_read_to_its_end(scene: Scene) -> None:
    log = append(scene.log, range(10))
    moved = scene.tmp_path / "archive" / "old.log"
    moved.parent.mkdir()
    with scene.running() as run:
        with run.paused():
            append(log, range(10, 20))
            log.rename(moved)
            append(log, range(20, 30))
        run.settle()
    scene.conclude(range(30), proven=[moved, log])


def test_files_that_swap_their_names_are_told_apart(scene: Scene) -> None:
    one, two, aside = (scene.folder / name for name in ("one.log", "two.log", "aside"))
    scene.names = [one, two]
    append(one, range(10))
    append(two, range(100, 110))
    with scene.running() as run:
        run.settle()
        one.rename(aside)
        two.rename(one)
        aside.rename(two)
        append(one, range(110, 120))
        append(two, range(10, 20))
        run.settle()
    append(one, range(120, 130))
    append(two, range(20, 30))
    scene.conclude([*range(30), *range(100, 130)], proven=[one, two])


def test_a_client_that_is_killed_between_rotations_resumes_in_all_files(scene: Scene) -> None:
    log = append(scene.log, range(10))
    words = ("--mode", "continuous", "--poll-interval", "0.02")
    written = 10
    for _ in range(3):
        with client(log, scene.server.port, *words, folder=scene.tmp_path) as run:
            wait_until(lambda: scene.server.stats.lines_stored >= written, "all is stored")  # noqa: B023
            append(log, range(written, written + 5))
            rotate(log)
            append(log, range(written + 5, written + 10))
            run.kill()
        rotate(log)
        append(log, range(written + 10, written + 20))
        written += 20
    scene.conclude(range(written), proven=rotations(log))


def test_a_rotated_file_is_found_although_an_older_one_was_written_to_after_it(scene: Scene) -> None:
    """Its writer had not noticed that it was rotated, while another one had the name; no client was running."""
    append(scene.log, range(10))
    scene.follow()
    oldest = scene.log.rename(scene.folder / "app.log.2")
    between = append(scene.log, range(20, 30)).rename(scene.folder / "app.log.1")
    append(oldest, range(10, 20))
    os.utime(oldest, ns=(0, between.stat().st_mtime_ns + 1_000_000_000))
    append(scene.log, range(30, 40))
    scene.conclude(range(40), proven=[oldest, between, scene.log])


def test_a_rotated_file_is_found_although_only_those_before_and_after_it_were_known_when_the_client_was_killed(
    scene: Scene,
) -> None:
    append(scene.log, range(10))
    scene.follow()
    oldest = scene.log.rename(scene.folder / "app.log.2")
    unknown = append(scene.log, range(10, 20)).rename(scene.tmp_path / "kept")
    append(scene.log, range(20, 30))
    scene.follow()
    between = unknown.rename(scene.folder / "app.log.1")
    scene.conclude(range(30), proven=[oldest, between, scene.log])


def test_files_that_are_rotated_while_rotated_ones_are_searched_are_all_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        numbers = iter(range(20, 50, 10))

        def rotating(*args: Any) -> list[RotatedFile]:
            found = named_like_rotated_since(*args)
            for start in islice(numbers, 1):
                rotate(scene.log)
                append(scene.log, range(start, start + 10))
            return found

        monkeypatch.setattr("logferry.client.recognition.rotated.named_like_rotated_since", rotating)
        rotate(scene.log)
        append(scene.log, range(10, 20))
        run.settle()
    scene.conclude(range(50), proven=rotations(scene.log))
    assert scene.server.stored_lines() == [numbered_line(number) for number in range(50)]


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_files_rotated_before_the_first_run_are_not_read_when_another_is_rotated(
    scene: Scene, is_running: bool
) -> None:
    old = append(scene.folder / "app.log.3", range(100, 110))
    older = append(scene.folder / "app.log.4", range(110, 120))
    for path in (old, older):
        os.utime(path, (0, path.stat().st_mtime - 3600))
    compress(older)
    append(scene.log, range(10))
    scene.follow()
    scene.log.rename(scene.folder / "app.log.2")
    append(scene.log, range(10, 20))
    scene.follow()
    with scene.running() as run:
        run.settle()
        rotated = scene.log.rename(scene.folder / "app.log.1")
        append(scene.log, range(20, 30))
        if is_running:
            run.settle()
    scene.conclude(range(30), proven=[rotated, scene.log])


def test_a_copy_of_a_rotated_file_that_was_shipped_is_not_read_when_both_are_older_than_the_newest(
    scene: Scene,
) -> None:
    append(scene.log, range(10))
    scene.follow()
    oldest = scene.log.rename(scene.folder / "app.log.2")
    append(scene.log, range(10, 20))
    scene.follow()
    shutil.copy(scene.log, scene.folder / "app.log.1")
    scene.conclude(range(20), proven=[oldest, scene.log])


def test_files_that_wait_behind_an_unread_one_are_known_by_what_they_are_after_a_restart(scene: Scene) -> None:
    """Two were rotated between two looks; one of them was touched while no client was running."""
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        run.reader.is_paused = True
        append(scene.log, range(10, 20))
        run.look()

        def between_two_looks() -> None:
            run.reader.after_poll = lambda: None
            scene.log.rename(scene.folder / "app.log.2")
            append(scene.log, range(20, 30)).rename(scene.folder / "app.log.1")
            append(scene.log, range(30, 40))

        run.reader.after_poll = between_two_looks
        run.look()
    between = scene.folder / "app.log.1"
    os.utime(between, (0, between.stat().st_mtime - 3600))
    scene.conclude(range(40), proven=[between, scene.log])


# --- deleted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_created", [True, False], ids=["created anew", "not created anew"])
def test_a_file_that_is_deleted_unread_is_read_to_its_end(scene: Scene, is_created: bool) -> None:
    log = append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(log, range(10, 20))
            log.unlink()
            run.look()
            if is_created:
                append(log, range(20, 30))
        run.settle()
    scene.conclude(range(30 if is_created else 20), proven=[log] if is_created else [])


def test_the_last_line_of_a_deleted_file_needs_no_newline(scene: Scene) -> None:
    log = scene.log
    log.write_bytes(log_line(0) + log_line(1)[:-1])
    with scene.running() as run:
        run.settle()
        log.unlink()
        wait_until(lambda: scene.server.stats.lines_stored == 2, "the rest is taken for a line")
    scene.conclude(range(2))


# --- late writes ------------------------------------------------------------------------------------------------------


def test_late_writes_to_a_renamed_file_are_read(scene: Scene) -> None:
    log = append(scene.log, range(10))
    with scene.running() as run, log.open("ab", buffering=0) as late:
        run.settle()
        rotated = rotate(log)
        append(log, range(100, 110))
        for number in range(10, 20):
            late.write(log_line(number))
            run.settle()
    scene.conclude([*range(20), *range(100, 110)], proven=[rotated, log])


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_late_writes_to_a_file_that_was_closed_long_ago_are_read(scene: Scene, pattern: str) -> None:
    scene.names = [scene.folder / pattern]
    scene.reader_options = {"rotated_quiet_s": 0.0}
    log = append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        rotated = rotate(log)
        append(log, range(100, 110))
        for number in range(10, 14):
            run.settle()
            wait_until(lambda: not is_open(rotated) or "*" in pattern, "the file is closed")
            append(rotated, [number])
            run.settle()
    scene.conclude([*range(14), *range(100, 110)], proven=[rotated, log])


def is_open(path: Path) -> bool:
    """Whether this process has a file open, under whatever name."""
    inode = path.stat().st_ino
    descriptors = [Path("/proc/self/fd") / number for number in os.listdir("/proc/self/fd")]
    return any(descriptor.exists() and descriptor.stat().st_ino == inode for descriptor in descriptors)


# --- links and folders ------------------------------------------------------------------------------------------------


def point(link: Path, target: Path) -> None:
    """Point a symbolic link to `target`, atomically."""
    aside = link.with_name("link-in-the-making")
    aside.symlink_to(target)
    aside.rename(link)


def test_a_link_that_changes_its_target_is_followed_there_and_back(scene: Scene) -> None:
    one, two = scene.tmp_path / "one", scene.tmp_path / "two"
    append(one, range(10))
    append(two, range(100, 110))
    point(scene.log, one)
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(one, range(10, 20))
            point(scene.log, two)
        append(two, range(110, 120))
        run.settle()
        point(scene.log, one)
        append(one, range(20, 30))
        run.settle()
    point(scene.log, two)
    append(two, range(120, 130))
    scene.conclude([*range(30), *range(100, 130)], proven=[one, two])


def test_a_file_behind_a_link_is_rotated_where_it_is(scene: Scene) -> None:
    real = scene.tmp_path / "real" / "app.log"
    real.parent.mkdir()
    append(real, range(10))
    scene.log.symlink_to(real)
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(real, range(10, 20))
            rotate(real)
            append(real, range(20, 30))
        run.settle()
    scene.conclude(range(30), proven=rotations(real))


def test_a_folder_that_is_swapped_by_a_link_as_kubernetes_does_is_followed(scene: Scene) -> None:
    first, second = scene.tmp_path / "first", scene.tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    append(first / "app.log", range(10))
    current = scene.folder / "current"
    current.symlink_to(first)
    scene.names = [current / "*.log"]
    with scene.running() as run:
        run.settle()
        append(first / "app.log", range(10, 20))
        append(second / "app.log", range(100, 110))
        point(current, second)
        run.settle()
        append(second / "app.log", range(110, 120))
        run.settle()
    scene.conclude([*range(20), *range(100, 120)], proven=[second / "app.log"])


@pytest.mark.parametrize("pattern", ["deep/app.log", "**/*.log"])
def test_a_folder_that_vanishes_and_comes_back_is_followed(scene: Scene, pattern: str) -> None:
    scene.names = [scene.folder / pattern]
    deep = scene.folder / "deep"
    deep.mkdir()
    log = append(deep / "app.log", range(10))
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(log, range(10, 20))
            shutil.rmtree(deep)
            run.look()
        run.settle()
        deep.mkdir()
        append(log, range(20, 30))
        run.settle()
        append(log, range(30, 40))
        run.settle()
    scene.conclude(range(40), proven=[log])


def test_a_folder_that_is_moved_away_and_back_changes_nothing(scene: Scene) -> None:
    deep, away = scene.folder / "deep", scene.tmp_path / "away"
    deep.mkdir()
    scene.names = [deep / "*.log"]
    log = append(deep / "app.log", range(10))
    with scene.running() as run:
        run.settle()
        deep.rename(away)
        append(away / "app.log", range(10, 20))
        run.look()
        away.rename(deep)
        append(log, range(20, 30))
        run.settle()
    scene.conclude(range(30), proven=[log])
