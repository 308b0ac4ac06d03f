"""Files that are copied and truncated, or rotated and compressed: the copy is read in place of what was not read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.following import Run, Scene, compress, settle_copies_at_once
from tests.support.running import numbered_line
from tests.support.shipping import append, log_line

PATTERNS = pytest.mark.parametrize("pattern", ["app.log", "app.log*"], ids=["name", "pattern"])


def copytruncate(log: Path, number: int = 1) -> Path:
    """Copy a file and truncate it, as logrotate does; return the copy."""
    copy = Path(shutil.copy(log, log.with_name(f"{log.name}.{number}")))
    log.write_bytes(b"")
    return copy


# --- copied and truncated ---------------------------------------------------------------------------------------------


@PATTERNS
@pytest.mark.parametrize(("read", "unread"), [(0, 10), (10, 0), (10, 10)])
@pytest.mark.parametrize("new", [0, 5, 50], ids=["empty", "shorter", "longer again"])
def test_what_was_not_read_of_a_truncated_file_is_read_from_its_copy(
    scene: Scene, pattern: str, read: int, unread: int, new: int
) -> None:
    """Also if the file is longer again when it is looked at; and the copy is not shipped a second time."""
    scene.names = [scene.folder / pattern]
    scene.log.touch()
    with scene.running() as run:
        append(scene.log, range(read))
        run.settle()
        with run.paused():
            append(scene.log, range(read, read + unread))
            run.look()
            copy = copytruncate(scene.log)
            append(scene.log, range(read + unread, read + unread + new))
        run.settle()
    scene.conclude(range(read + unread + new), proven=[copy, scene.log])


@PATTERNS
@pytest.mark.parametrize("new", [0, 50], ids=["empty", "longer again"])
def test_a_file_that_was_copied_and_truncated_while_no_client_ran_is_read_from_its_copy(
    scene: Scene, pattern: str, new: int
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    scene.follow()
    append(scene.log, range(10, 20))
    copy = copytruncate(scene.log)
    append(scene.log, range(20, 20 + new))
    scene.conclude(range(20 + new), proven=[copy, scene.log])


@PATTERNS
@pytest.mark.parametrize("copies", [1, 3])
def test_a_copy_that_is_older_than_what_is_remembered_of_its_file_is_read_all_the_same(
    scene: Scene, pattern: str, copies: int
) -> None:
    """The client remembers, then it is killed before it looks: the content of the copy decides, not its time."""
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    scene.follow()
    made = []
    for number in range(copies):
        append(scene.log, range(10 + 10 * number, 20 + 10 * number))
        made.append(copytruncate(scene.log, copies - number))
        age(made[-1], 60 - number)
    append(scene.log, range(10 + 10 * copies, 15 + 10 * copies))
    scene.conclude(range(15 + 10 * copies), proven=[*made, scene.log])


@PATTERNS
@pytest.mark.parametrize("is_rotated", [False, True], ids=["in place", "renamed"])
def test_a_copy_is_read_on_although_what_its_file_holds_now_is_known_too(
    scene: Scene, pattern: str, is_rotated: bool
) -> None:
    """The client is killed when it has shipped some of what came after the truncation, but not the rest of the copy."""
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    scene.follow()
    before = checkpoint_lines(scene)
    append(scene.log, range(10, 20))
    copy = copytruncate(scene.log)
    append(scene.log, range(20, 30))
    kept = copy.rename(scene.tmp_path / "kept")
    scene.follow()  # what it says of the copied file is then undone: the kill came before that was saved
    kept.rename(copy)
    forget_since(scene, before)
    rotated = scene.log.rename(scene.folder / "app.log.0") if is_rotated else scene.log
    append(scene.log, range(30, 40))
    scene.conclude(range(40), proven=[copy, rotated, scene.log])


def checkpoint_lines(scene: Scene) -> dict[str, str]:
    """Return the lines of the client's memory, by the id of the source."""
    lines = (scene.state / "checkpoints.json").read_text().splitlines()
    return {str(entry["id"]): line for line in lines if "id" in (entry := json.loads(line))}


def forget_since(scene: Scene, before: dict[str, str]) -> None:
    """Append earlier checkpoints of the sources, so that these count again."""
    with (scene.state / "checkpoints.json").open("a") as file:
        file.writelines(line + "\n" for line in before.values())


def age(path: Path, seconds: float) -> None:
    """Make a file look as if it was last written this long ago."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


@PATTERNS
def test_copies_of_several_rotations_are_each_read_once(scene: Scene, pattern: str) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    with scene.running() as run:
        for number in range(1, 4):
            run.settle()
            with run.paused():
                append(scene.log, range(20 * number - 10, 20 * number))
                run.look()
                for older in range(number - 1, 0, -1):
                    scene.log.with_name(f"app.log.{older}").rename(scene.log.with_name(f"app.log.{older + 1}"))
                copytruncate(scene.log)
                append(scene.log, range(20 * number, 20 * number + 10))
        run.settle()
    scene.conclude(range(70), proven=scene.folder.iterdir())


def test_an_unfinished_copy_is_not_taken_for_a_separate_file(scene: Scene) -> None:
    scene.names = [scene.folder / "app.log*"]
    append(scene.log, range(1000))
    with scene.running() as run:
        run.settle()
        content = scene.log.read_bytes()
        copy = scene.log.with_name("app.log.1")
        with copy.open("wb", buffering=0) as file:
            for piece in (b"", content[:1], content[1:100], content[100:20_000], content[20_000:]):
                file.write(piece)
                run.look()
        scene.log.write_bytes(b"")
        append(scene.log, range(1000, 1010))
        run.settle()
    scene.conclude(range(1010), proven=[copy, scene.log])


def test_lines_that_are_written_while_the_copy_is_made_are_in_it_too(scene: Scene) -> None:
    scene.names = [scene.folder / "app.log*"]
    append(scene.log, range(100))
    with scene.running() as run:
        run.settle()
        copy = Path(shutil.copy(scene.log, scene.log.with_name("app.log.1")))
        run.look()
        for number in range(100, 105):
            append(scene.log, [number])
            append(copy, [number])  # the copying program gets that far
            run.look()
        scene.log.write_bytes(b"")
        append(scene.log, range(105, 110))
        run.settle()
    scene.conclude(range(110), proven=[copy, scene.log])


def test_a_copy_of_a_file_that_is_not_truncated_is_a_separate_file(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_copies_at_once(monkeypatch)
    scene.names = [scene.folder / "app.log*"]
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        copy = Path(shutil.copy(scene.log, scene.log.with_name("app.log.1")))
        run.settle()
        append(scene.log, range(10, 20))
        run.settle()
    scene.conclude([*range(20), *range(10)], proven=[copy, scene.log])


def test_what_was_written_between_the_copy_and_the_truncation_is_reported_lost(scene: Scene) -> None:
    """No shipper can have it, unless it has read it before; how much that is was seen, though."""
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        with run.paused():
            copy = Path(shutil.copy(scene.log, scene.log.with_name("app.log.1")))
            append(scene.log, range(10, 12))
            run.look()
            scene.log.write_bytes(b"")
        run.settle()
        append(scene.log, range(12, 20))
        run.settle()
        problems = run.shipping.stop().problems
    assert problems == (f"{2 * len(log_line(10))} bytes were gone before they were read",)
    scene.conclude([*range(10), *range(12, 20)], proven=[copy, scene.log])


def test_a_file_that_is_truncated_without_a_copy_loses_its_unread_bytes_and_reports_that(scene: Scene) -> None:
    append(scene.log, range(10))
    size = scene.log.stat().st_size
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(scene.log, range(10, 15))
            run.look()
            scene.log.write_bytes(b"")
            append(scene.log, range(20, 40))
        run.settle()
    assert run.shipping.counters.bytes_lost == 5 * len(log_line(10))
    scene.conclude(
        [*range(10), *range(20, 40)],
        proven=[scene.log],
        lost=lambda loss: (loss.start, loss.end) == (size, size + 5 * len(log_line(10))),
        unknown=[size + 5 * len(log_line(10))],
    )


# --- compressed -------------------------------------------------------------------------------------------------------


@PATTERNS
@pytest.mark.parametrize("unread", [0, 10])
def test_a_rotated_file_that_is_compressed_while_it_is_followed_is_read_once(
    scene: Scene, pattern: str, unread: int
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(scene.log, range(10, 10 + unread))
            rotated = scene.log.rename(scene.log.with_name("app.log.1"))
            append(scene.log, range(100, 110))
            run.look()
            archive = compress(rotated)
        run.settle()
    scene.conclude([*range(10 + unread), *range(100, 110)], proven=[scene.log, archive])


@PATTERNS
@pytest.mark.parametrize("make_room", [copytruncate, lambda log: log.rename(log.with_name("app.log.1"))])
def test_a_file_that_was_rotated_and_compressed_while_no_client_ran_is_read_from_the_archive(
    scene: Scene, pattern: str, make_room: Callable[[Path], Path]
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    scene.follow()
    append(scene.log, range(10, 20))
    archive = compress(make_room(scene.log))
    append(scene.log, range(20, 30))
    scene.conclude(range(30), proven=[scene.log, archive])


def test_an_archive_of_a_file_that_was_followed_under_the_name_of_a_rotated_one_is_read_on(scene: Scene) -> None:
    """It was rotated before it was seen for the first time, shipped as app.log.1, and is app.log.2.gz now."""
    scene.names = [scene.folder / "app.log*"]
    first = append(scene.log, range(10)).rename(scene.folder / "app.log.1")
    append(scene.log, range(100, 110))
    scene.follow()
    older = first.rename(scene.folder / "app.log.2")
    newer = scene.log.rename(first)
    append(older, range(10, 20))  # its writer has not noticed
    compress(older)
    append(scene.log, range(110, 120))
    scene.conclude([*range(20), *range(100, 120)], proven=[newer, scene.log])


def test_archives_that_a_pattern_matches_are_not_followed(scene: Scene) -> None:
    scene.names = [scene.folder / "*"]
    append(scene.log, range(10))
    for suffix, begin in ((".bz2", b"BZh91AY"), (".xz", b"\xfd7zXZ\0"), (".zst", b"\x28\xb5\x2f\xfd")):
        (scene.folder / f"app.log.1{suffix}").write_bytes(begin + b"\n" * 100)
    compress(append(scene.folder / "app.log.2", range(100, 110)))
    scene.conclude(range(10), proven=[scene.log])


def between_two_looks(run: Run, action: Callable[[], object]) -> None:
    """Do something between two looks of a client, and wait until it has looked again."""

    def act_once() -> None:
        run.reader.after_poll = lambda: None
        action()

    run.reader.after_poll = act_once
    run.look()


@PATTERNS
@pytest.mark.parametrize("times", [2, 4])
@pytest.mark.parametrize("is_rotated", [False, True], ids=["in place", "renamed"])
def test_a_file_that_was_copied_and_truncated_again_and_again_between_two_looks_is_read_from_all_copies(
    scene: Scene, pattern: str, times: int, is_rotated: bool
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    files = [scene.log]

    def copy_and_truncate() -> None:
        for number in range(times):
            append(scene.log, range(10 + 10 * number, 20 + 10 * number))
            files.append(copytruncate(scene.log, times - number))
        append(scene.log, range(1000, 1010))
        if is_rotated:
            files.append(scene.log.rename(scene.folder / "app.log.0"))
            append(scene.log, range(1010, 1020))

    with scene.running() as run:
        run.settle()
        between_two_looks(run, copy_and_truncate)
        run.settle()
    numbers = [*range(10 + 10 * times), *range(1000, 1020 if is_rotated else 1010)]
    scene.reckon(map(numbered_line, numbers))
    scene.conclude(numbers, proven=files)


def test_a_copy_that_is_compressed_before_the_truncation_is_seen_is_read_once(scene: Scene) -> None:
    """It was seen before, and looked like a copy that was being made."""
    scene.names = [scene.folder / "app.log*"]
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        copy = Path(shutil.copy(scene.log, scene.folder / "app.log.1"))
        run.look()

        def truncate_and_compress() -> None:
            compress(copy)
            scene.log.write_bytes(b"")
            append(scene.log, range(10, 20))

        between_two_looks(run, truncate_and_compress)
        run.settle()
    scene.conclude(range(20), proven=[scene.log])


def test_the_archive_of_what_a_truncated_file_held_next_is_not_read_beside_it(scene: Scene) -> None:
    append(scene.log, range(10))

    def copy_truncate_and_compress() -> None:
        copytruncate(scene.log, 2)
        append(scene.log, range(10, 20))
        compress(scene.log.rename(scene.folder / "app.log.1"))
        append(scene.log, range(20, 30))

    with scene.running() as run:
        run.settle()
        between_two_looks(run, copy_truncate_and_compress)
        run.settle()
    scene.conclude(range(30), proven=[scene.log])


# --- compressed, and killed -------------------------------------------------------------------------------------------


def set_modified(path: Path, nanoseconds: int) -> None:
    """Set the time when a file was last written to."""
    os.utime(path, ns=(nanoseconds, nanoseconds))


@PATTERNS
@pytest.mark.parametrize("unit", [1, 1_000_000_000], ids=["exact", "in whole seconds"])
def test_what_a_truncated_file_held_next_is_read_from_its_archive_however_close_the_copy_is_in_time(
    scene: Scene, pattern: str, unit: int
) -> None:
    """The client was killed before it had saved anything about that; some tools keep no fractions of a second."""
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    scene.follow()
    append(scene.log, range(10, 20))
    copy = copytruncate(scene.log, 2)
    append(scene.log, range(20, 30))
    modified_ns = copy.stat().st_mtime_ns
    set_modified(scene.log, modified_ns // unit * unit)
    archive = compress(scene.log.rename(scene.folder / "app.log.1"))
    append(scene.log, range(30, 40))
    scene.conclude(range(40), proven=[copy, archive, scene.log])


def test_an_unread_copy_is_known_by_its_archive_after_a_restart(scene: Scene) -> None:
    scene.log.touch()
    with scene.running() as run:
        run.settle()
        run.reader.is_paused = True
        append(scene.log, range(10))
        run.look()
        copy = copytruncate(scene.log)
        append(scene.log, range(10, 20))
        run.look()
    archive = compress(copy)
    scene.conclude(range(20), proven=[archive, scene.log])


def test_a_file_that_was_empty_when_it_was_last_seen_is_not_read_from_its_archive_too(scene: Scene) -> None:
    scene.log.touch()

    def rotate_and_compress() -> None:
        append(scene.log, range(10))
        compress(scene.log.rename(scene.folder / "app.log.1"))
        append(scene.log, range(10, 20))

    with scene.running() as run:
        run.settle()
        between_two_looks(run, rotate_and_compress)
        run.settle()
    scene.conclude(range(20), proven=[scene.log])


def test_an_archive_of_what_was_shipped_is_not_read_when_only_an_older_file_is_left_of_the_name(scene: Scene) -> None:
    """The one that was followed last goes on under its new name, and one whose writer still has it is older."""
    scene.names = [scene.log, scene.folder / "app.log.1"]
    with append(scene.log, range(10)).open("ab"), scene.running() as run:
        run.settle()
        scene.log.rename(scene.folder / "app.log.3")
        append(scene.log, range(10, 20))
        run.settle()
        shipped = scene.log.rename(scene.folder / "app.log.2")
        append(scene.log, range(20, 30))
        run.settle()
        compress(shipped)
        run.settle()
        rotated = scene.log.rename(scene.folder / "app.log.1")
        run.settle()
        append(scene.log, range(30, 40))
        run.settle()
    scene.conclude(range(40), proven=[rotated, scene.log])
