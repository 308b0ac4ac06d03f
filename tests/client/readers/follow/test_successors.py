"""Files that are replaced by a longer copy of themselves, or renamed, copied and deleted: each line is stored once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.readers.follow.test_copytruncate import between_two_looks
from tests.client.readers.follow.test_identity import dwarf_line
from tests.support.following import Scene
from tests.support.running import numbered_line
from tests.support.shipping import append, log_line

PATTERNS = pytest.mark.parametrize("pattern", ["app.log", "app.log*"], ids=["name", "pattern"])

Look = Callable[[], None]


def nothing() -> None:
    """Look at nothing: no client runs."""


# --- replaced ---------------------------------------------------------------------------------------------------------


def rename_over(log: Path, new: bytes, look: Look) -> None:
    """Write a hidden file and rename it over the log, as rsync and sed -i do."""
    aside = log.with_name(".app.log.Xa3f")
    aside.write_bytes(new)
    look()
    aside.rename(log)


def keep_a_backup(log: Path, new: bytes, look: Look) -> None:
    """Keep the old file beside the new one, as sed -i.bak does."""
    log.rename(log.with_name("old-app.bak"))
    look()
    rename_over(log, new, look)


def write_anew(log: Path, new: bytes, look: Look) -> None:
    """Rename the old file, write the new one piece by piece, and delete the old one, as vim does."""
    backup = log.rename(log.with_name("app.log~"))
    look()
    write_in_pieces(log, new, look)
    backup.unlink()


def write_in_place(log: Path, new: bytes, look: Look) -> None:
    """Truncate the file and write it again, as cp and rsync --inplace do."""
    log.write_bytes(b"")
    look()
    write_in_pieces(log, new, look)


def write_in_pieces(log: Path, new: bytes, look: Look) -> None:
    """Append a little more than a third at a time."""
    step = len(new) // 3 + 1
    for start in range(0, len(new), step):
        with log.open("ab") as file:
            file.write(new[start : start + step])
        look()


REPLACE = pytest.mark.parametrize("replace", [rename_over, keep_a_backup, write_anew, write_in_place])


@PATTERNS
@REPLACE
def test_a_file_that_is_replaced_by_a_longer_copy_of_itself_is_read_on(
    scene: Scene, pattern: str, replace: Callable[[Path, bytes, Look], None]
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(20))
    with scene.running() as run:
        for number in range(20, 50, 10):
            run.settle()
            new = b"".join(map(log_line, range(number, number + 10)))
            replace(scene.log, scene.log.read_bytes() + new, run.look)
        run.settle()
        append(scene.log, range(50, 60))
    scene.conclude(range(60), proven=[scene.log] if replace is not write_anew or pattern == "app.log" else [])


@PATTERNS
@REPLACE
@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_is_replaced_by_a_longer_copy_while_no_client_runs_is_read_on(
    scene: Scene, pattern: str, times: int, replace: Callable[[Path, bytes, Look], None]
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(20))
    scene.follow()
    for number in range(times):
        new = b"".join(map(log_line, range(20 + 10 * number, 30 + 10 * number)))
        replace(scene.log, scene.log.read_bytes() + new, nothing)
    scene.conclude(range(20 + 10 * times), proven=[scene.log])


@pytest.mark.parametrize("more", [0, 10], ids=["equal", "longer"])
def test_what_was_not_read_of_a_file_is_read_from_the_copy_that_replaced_it(scene: Scene, more: int) -> None:
    append(scene.log, range(20))
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(scene.log, range(20, 30))
            run.look()
            new = b"".join(map(log_line, range(30, 30 + more)))
            rename_over(scene.log, scene.log.read_bytes() + new, run.look)
        run.settle()
    scene.conclude(range(30 + more), proven=[scene.log])


def test_a_writer_that_still_has_the_file_that_was_replaced_is_listened_to(scene: Scene) -> None:
    append(scene.log, range(20))
    with scene.log.open("ab", buffering=0) as late, scene.running() as run:
        run.settle()
        rename_over(scene.log, scene.log.read_bytes() + log_line(100), run.look)
        run.settle()
        late.write(log_line(20))
        append(scene.log, [101])
        run.settle()
        late.write(log_line(21))
        run.settle()
    scene.follow()
    expected = [*range(22), 100, 101]
    assert sorted(scene.server.stored_lines()) == sorted(map(numbered_line, expected))


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_a_file_whose_lines_were_edited_is_another_file(scene: Scene, is_running: bool) -> None:
    """It is shipped whole, as a file that is edited in place is: nothing shows which lines are meant to be the same.

    If no client ran, nobody knows what else the former file held; that is an unknown window, without any byte.
    """
    append(scene.log, range(20))
    size = scene.log.stat().st_size
    edited = scene.log.read_bytes().replace(b"line 3\n", b"line 300\n") + log_line(20)
    with scene.running() as run:
        run.settle()
        if is_running:
            rename_over(scene.log, edited, run.look)
            run.settle()
    if not is_running:
        rename_over(scene.log, edited, nothing)
    numbers = [300 if number == 3 else number for number in range(21)]
    scene.conclude(
        [*range(20), *numbers],
        proven=[scene.log] if is_running else [],
        unknown=() if is_running else (size,),
    )


def test_a_short_file_that_is_deleted_and_begins_alike_again_is_another_file(scene: Scene) -> None:
    """A banner is no proof."""
    scene.log.write_bytes(b"started\n")
    with scene.running() as run:
        run.settle()
        scene.log.unlink()
        run.look()
        scene.log.write_bytes(b"started\nready\n")
        run.settle()
    scene.follow()
    scene.reckon(map(dwarf_line, ["started", "started", "ready"]), proven=[scene.log])


def test_a_file_that_was_rotated_is_not_succeeded_by_one_that_begins_alike(scene: Scene) -> None:
    """The new file has its own lines, although they are the same."""
    append(scene.log, range(20))
    with scene.running() as run:
        run.settle()
        rotated = scene.log.rename(scene.folder / "app.log.1")
        append(scene.log, range(25))
        run.settle()
    scene.conclude([*range(20), *range(25)], proven=[rotated, scene.log])


# --- renamed, copied and deleted --------------------------------------------------------------------------------------


def rename_copy(log: Path, look: Look, *, new: range, name: str = "app.log.1") -> Path:
    """Rename the log, let its writer begin another one, copy it to a rotated name, and delete it: renamecopy."""
    aside = log.rename(log.with_name("app.log.tmp"))
    look()
    append(log, new)
    look()
    copy = log.with_name(name)
    write_in_pieces(copy, aside.read_bytes(), look)
    aside.unlink()
    look()
    return copy


@PATTERNS
@pytest.mark.parametrize("quiet_s", [60.0, 0.0], ids=["held", "closed"])
@pytest.mark.parametrize("looks", ["always", "after", "never"])
def test_a_file_that_is_renamed_copied_and_deleted_is_stored_once(
    scene: Scene, pattern: str, looks: str, quiet_s: float
) -> None:
    scene.names = [scene.folder / pattern]
    scene.reader_options = {"rotated_quiet_s": quiet_s}
    append(scene.log, range(20))
    with scene.running() as run:
        run.settle()
        if looks == "always":
            rename_copy(scene.log, run.look, new=range(20, 25))
        elif looks == "after":
            between_two_looks(run, lambda: rename_copy(scene.log, nothing, new=range(20, 25)))
        run.settle()
    if looks == "never":
        rename_copy(scene.log, nothing, new=range(20, 25))
    scene.conclude(range(25), proven=[scene.log])


def test_what_was_not_read_before_a_file_was_renamed_copied_and_deleted_is_stored_once(scene: Scene) -> None:
    append(scene.log, range(20))
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(scene.log, range(20, 30))
            run.look()
            rename_copy(scene.log, run.look, new=range(30, 35))
        run.settle()
    scene.conclude(range(35), proven=[scene.log])


# --- copied to a name that only begins like the original --------------------------------------------------------------


@PATTERNS
@pytest.mark.parametrize("name", ["app.log0", "app.log~", "app.log.save"])
@pytest.mark.parametrize("unread", [0, 10])
def test_a_copy_with_any_appendix_to_the_name_is_read_on_when_the_original_is_truncated(
    scene: Scene, pattern: str, name: str, unread: int
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(20))
    copy = scene.folder / name
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(scene.log, range(20, 20 + unread))
            run.look()
            write_in_pieces(copy, scene.log.read_bytes(), run.look)
            scene.log.write_bytes(b"")
            run.look()
        append(scene.log, range(100, 105))
        run.settle()
    scene.conclude([*range(20 + unread), *range(100, 105)], proven=[copy, scene.log])


def test_a_copy_with_any_appendix_to_the_name_is_known_after_a_restart(scene: Scene) -> None:
    scene.names = [scene.folder / "app.log*"]
    append(scene.log, range(20))
    scene.follow()
    append(scene.log, range(20, 30))
    copy = scene.folder / "app.log0"
    copy.write_bytes(scene.log.read_bytes())
    scene.log.write_bytes(b"")
    append(scene.log, range(100, 105))
    scene.conclude([*range(30), *range(100, 105)], proven=[copy, scene.log])
