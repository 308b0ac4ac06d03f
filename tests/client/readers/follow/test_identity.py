"""Which file is which: reused inodes, rewritten files, identical files, tiny files, and files out of reach."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logferry.client.files.content import content
from logferry.errors import SourceError
from tests.support.following import Scene, created_with_inode_of
from tests.support.processes import ROOT, program
from tests.support.running import numbered_line, wait_until
from tests.support.shipping import append, log_line

SIZES = pytest.mark.parametrize("lines", [5, 10, 15], ids=["shorter", "equal", "longer"])


# --- inodes and content -----------------------------------------------------------------------------------------------


@SIZES
def test_an_inode_that_is_used_again_while_no_client_runs_is_another_file(scene: Scene, lines: int) -> None:
    append(scene.log, range(10))
    scene.follow()
    append(created_with_inode_of(scene.log), range(10, 10 + lines))
    scene.conclude(range(10 + lines), proven=[scene.log], unknown=[10 * len(log_line(0))])


@SIZES
def test_an_inode_that_another_followed_name_uses_again_is_another_file(scene: Scene, lines: int) -> None:
    scene.names = [scene.folder / "*.log"]
    append(scene.log, range(10))
    scene.follow()
    other = created_with_inode_of(scene.log).rename(scene.folder / "other.log")
    append(other, range(10, 10 + lines))
    append(scene.log, range(100, 110))
    gone = 10 * len(log_line(0))
    scene.conclude([*range(10 + lines), *range(100, 110)], proven=[other, scene.log], unknown=[gone])


def rewrite(path: Path, data: bytes) -> None:
    """Replace what is in a file, as an editor may do that keeps the inode."""
    with path.open("r+b") as file:
        file.truncate()
        file.write(data)


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
@SIZES
def test_a_file_that_is_rewritten_in_place_is_a_new_one(scene: Scene, lines: int, is_running: bool) -> None:
    append(scene.log, range(10))
    new = b"".join(map(log_line, range(10, 10 + lines)))
    with scene.running() as run:
        run.settle()
        if is_running:
            rewrite(scene.log, new)
            run.settle()
    if not is_running:
        rewrite(scene.log, new)
    scene.conclude(range(10 + lines), proven=[scene.log], unknown=[10 * len(log_line(0))])


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("lines", [10, 200])
def test_a_file_that_is_rewritten_with_the_same_size_and_beginning_is_a_new_one(
    scene: Scene, lines: int, is_running: bool
) -> None:
    """It is shipped whole: nothing shows which of its lines are meant to be the same."""
    append(scene.log, range(1000, 1000 + lines))
    new = scene.log.read_bytes()[: -len(log_line(1000))] + log_line(9999)
    assert len(new) == scene.log.stat().st_size
    with scene.running() as run:
        run.settle()
        if is_running:
            rewrite(scene.log, new)
            run.settle()
    if not is_running:
        rewrite(scene.log, new)
    numbers = range(1000, 1000 + lines)
    scene.conclude([*numbers, *numbers[:-1], 9999], proven=[scene.log], unknown=[len(new)])


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_twins_are_two_files(scene: Scene, is_running: bool) -> None:
    one, two = scene.folder / "one.log", scene.folder / "two.log"
    scene.names = [one, two]
    append(one, range(10))
    if not is_running:
        scene.follow()
        shutil.copy(one, two)
    with scene.running() as run:
        run.settle()
        if is_running:
            shutil.copy(one, two)
            run.settle()
        append(one, range(10, 15))
        append(two, range(10, 15))
        run.settle()
    append(one, range(100, 105))
    append(two, range(200, 205))
    scene.conclude([*range(15), *range(15), *range(100, 105), *range(200, 205)], proven=[one, two])


def dwarf_line(text: str) -> bytes:
    """Return how a line without a timestamp is stored."""
    return b'{"level": "UNKNOWN", "message": "%s", "timestamp": null}\n' % text.encode()


def test_tiny_files_are_shipped_immediately_and_told_apart(scene: Scene) -> None:
    """Two of twelve bytes and the same content; one is rewritten with other twelve bytes, one is rotated."""
    one, two = scene.folder / "one.log", scene.folder / "two.log"
    scene.names = [scene.folder / "*.log"]
    for path in (one, two):
        path.write_bytes(b"hello world\n")
    with scene.running() as run:
        run.settle()
        rewrite(one, b"HELLO WORLD\n")
        two.rename(scene.folder / "two.log.1")
        two.write_bytes(b"hello again\n")
        run.settle()
    scene.follow()
    rewrite(one, b"hello other\n")
    scene.follow()
    texts = ["hello world", "hello world", "HELLO WORLD", "hello again", "hello other"]
    scene.reckon(map(dwarf_line, texts), proven=[one, two, scene.folder / "two.log.1"], unknown=[12, 12])


def test_a_tiny_file_that_grows_a_byte_at_a_time_is_one_file(scene: Scene) -> None:
    line = log_line(7)
    with scene.running() as run:
        for end in range(1, len(line) + 1):
            with scene.log.open("ab") as file:
                file.write(line[end - 1 : end])
            if end % 8 == 0:
                run.look()
        run.settle()
    scene.conclude([7], proven=[scene.log])


# --- out of reach for a while -----------------------------------------------------------------------------------------


@contextmanager
def unreadable(monkeypatch: pytest.MonkeyPatch, path: Path, *, opening: bool) -> Iterator[None]:
    """Make opening or reading a file fail for the length of a `with`, which permissions would not do for root."""
    open_regular, pread = content.open_regular, os.pread

    def refuse_to_open(wanted: Path) -> int:
        if wanted == path:
            raise SourceError(str(path), "Permission denied")
        return open_regular(wanted)

    def refuse_to_read(fd: int, size: int, offset: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}") == str(path):
            raise OSError(5, "Input/output error")
        return pread(fd, size, offset)

    with monkeypatch.context() as patch:
        if opening:
            patch.setattr("logferry.client.files.content.fd_pool.open_regular", refuse_to_open)
        else:
            patch.setattr("logferry.client.files.content.fd_pool.os.pread", refuse_to_read)
        yield


@pytest.mark.parametrize("pattern", ["app.log", "*.log"])
def test_a_file_that_cannot_be_opened_for_a_while_is_read_afterwards(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, pattern: str
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    with scene.running() as run:
        with unreadable(monkeypatch, scene.log, opening=True):
            run.settle()
            scene.log.rename(scene.folder / "app.log.1")
            append(scene.log, range(100, 110))
            for _ in range(3):
                run.look()
            assert [found.problem for found in run.reader.report()] == ["Permission denied"]
        run.settle()
    assert caplog.text.count("Permission denied") == 1
    scene.conclude([*range(10), *range(100, 110)], proven=[scene.log, scene.folder / "app.log.1"])


@pytest.mark.parametrize("is_rotated", [False, True], ids=["in place", "rotated"])
def test_a_file_that_cannot_be_read_for_a_while_is_read_afterwards_and_delays_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_rotated: bool
) -> None:
    other = append(scene.folder / "other.log", range(200, 210))
    scene.names = [scene.log, other]
    append(scene.log, range(10))
    rotated = scene.folder / "app.log.1"
    with scene.running() as run:
        run.settle()
        with unreadable(monkeypatch, scene.log, opening=False):
            append(scene.log, range(10, 20))
            append(other, range(210, 220))
            wait_until(lambda: scene.server.stats.lines_stored == 30, "the other file is read")
            for _ in range(3):
                run.look()
        if is_rotated:
            scene.log.rename(rotated)
            append(scene.log, range(20, 30))
        run.settle()
    assert caplog.text.count("Input/output error") == 1
    scene.conclude(
        [*range(30 if is_rotated else 20), *range(200, 220)],
        proven=[scene.log, other, *([rotated] if is_rotated else [])],
    )


@pytest.mark.skipif(not shutil.which("setpriv") or os.geteuid() != 0, reason="needs root that gives up its rights")
def test_a_file_whose_permissions_are_removed_and_restored_is_read_afterwards(scene: Scene) -> None:
    """A real process that is not allowed to read everything: at the start, then while it follows."""
    append(scene.log, range(10)).chmod(0)
    words: list[str | Path] = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    words += [sys.executable, ROOT / "main.py", "--mode", "continuous", "--log-file", scene.log]
    words += ["--server-host", "127.0.0.1", "--server-port", str(scene.server.port), "--state-dir", scene.state]
    with program(*words, folder=scene.tmp_path) as run:
        run.wait_for_stderr("Permission denied")
        scene.log.chmod(0o600)
        wait_until(lambda: scene.server.stats.lines_stored == 10, "it is read")
        scene.log.chmod(0)
        append(scene.log, range(10, 20))
        wait_until(lambda: scene.server.stats.lines_stored == 20, "who has it open reads on")
        scene.log.rename(scene.folder / "app.log.1")
        append(scene.log, range(20, 30)).chmod(0)
        wait_until(lambda: run.stderr.count("Permission denied") == 2, "the problem is logged again")
        scene.log.chmod(0o600)
        wait_until(lambda: scene.server.stats.lines_stored == 30, "it is read")
        assert run.terminate() == 0
    scene.conclude(range(30), proven=[scene.log, scene.folder / "app.log.1"])


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
@pytest.mark.parametrize("pattern", ["app.log", "*.log"])
def test_a_name_that_is_a_folder_or_a_pipe_for_a_while_is_followed_again_afterwards(
    scene: Scene, make: Callable[[Path], None], pattern: str
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(scene.log, range(10, 20))
            scene.log.unlink()
            make(scene.log)
            run.look()
        run.settle()
        scene.log.rmdir() if scene.log.is_dir() else scene.log.unlink()
        append(scene.log, range(20, 30))
        run.settle()
    scene.conclude(range(30), proven=[scene.log])


def test_lines_of_a_name_that_comes_and_goes_a_hundred_times_are_each_stored_once(scene: Scene) -> None:
    """Each file is seen while it is there: that is all a reader can be asked for."""
    with scene.running() as run:
        for number in range(100):
            append(scene.log, [2 * number, 2 * number + 1])
            run.look()
            scene.log.unlink()
        run.settle()
    assert len(scene.server.stored_lines()) == 200
    append(scene.log, [200])
    scene.conclude(range(201), proven=[scene.log])
    assert scene.server.stored_lines()[-1] == numbered_line(200)
