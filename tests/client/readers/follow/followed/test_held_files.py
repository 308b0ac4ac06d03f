"""Files without their name are held until they are acked, and no longer; or as long as the user allows."""

import logging
import os
import shutil
from pathlib import Path

import pytest

from tests.faults.chaos_proxy import DOWN, chaos_proxy
from tests.support.following import Run, Scene
from tests.support.processes import client
from tests.support.running import numbered_line, wait_until
from tests.support.shipping import append, log_line, losses

LINE = len(log_line(1000))


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report held files immediately, and do not wait for the end of a line that no process writes."""
    monkeypatch.setattr("logferry.client.readers.follow.followed.held._HELD_WARNING_S", 0.0)
    monkeypatch.setattr("logferry.client.readers.follow.abandonment._UNWRITTEN_QUIET_S", 0.0)


def held(run: Run) -> tuple[int, int]:
    """Return how many files are held, and how many of their bytes are not acked, as the metrics say."""
    gauges = run.shipping.metrics.total().gauges
    return gauges.held_files, gauges.held_bytes


def is_read(inode: int) -> bool:
    """Whether this process has a file open for reading, with or without a name."""
    return any(_is_descriptor_of(descriptor, inode) for descriptor in os.listdir("/proc/self/fd"))


def _is_descriptor_of(descriptor: str, inode: int) -> bool:
    try:
        flags = int(Path(f"/proc/self/fdinfo/{descriptor}").read_text().split()[3], 8)
        return flags & os.O_ACCMODE == os.O_RDONLY and os.stat(f"/proc/self/fd/{descriptor}").st_ino == inode
    except OSError:
        return False  # closed since


def test_what_renamed_and_deleted_files_hold_is_counted_and_logged(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    append(scene.log, range(1000, 1005))
    with scene.running() as run:
        run.settle()
        assert held(run) == (0, 0)
        with run.paused():
            append(scene.log, range(1005, 1010))
            scene.log.rename(scene.folder / "app.log.1")
            append(scene.log, range(1010, 1020))
            run.look()
            assert held(run) == (1, 5 * LINE)
            scene.log.unlink()
            append(scene.log, range(1020, 1030))
            run.look()
            assert held(run) == (2, 15 * LINE)
        wait_until(lambda: held(run) == (0, 0), "nothing is held any more")
    logged = [record.message for record in caplog.records if "holding" in record.message]
    assert logged == [
        f"holding 1 renamed or deleted files open: {5 * LINE} of their bytes are not acked",
        "no longer holding any renamed or deleted file",
    ]
    scene.conclude(range(1000, 1030), proven=[scene.log, scene.folder / "app.log.1"])


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "renamed"])
def test_a_descriptor_is_released_as_soon_as_the_last_byte_is_acked_and_not_before(
    scene: Scene, is_deleted: bool
) -> None:
    append(scene.log, range(10))
    inode = scene.log.stat().st_ino
    with chaos_proxy(scene.server.port) as proxy, scene.running(port=proxy.port) as run:
        run.settle()
        proxy.stall(DOWN)
        append(scene.log, range(10, 20))
        scene.log.unlink() if is_deleted else scene.log.rename(scene.folder / "app.log.1")
        append(scene.log, range(20, 30))
        wait_until(lambda: scene.server.stats.lines_stored == 20, "all of it is stored, and no ack of that has come")
        run.look()
        assert is_read(inode)
        assert held(run)[0] == 1
        proxy.flow(DOWN)
        wait_until(lambda: not is_read(inode), "the old file is released")
        wait_until(lambda: held(run) == (0, 0), "nothing is held any more")
        run.settle()
    scene.conclude(range(30), proven=[scene.log])


def test_a_deleted_file_is_read_for_as_long_as_a_process_has_it_open_for_writing(scene: Scene) -> None:
    """However quiet it is: the disk would not get its bytes back in any case."""
    scene.reader_options = {"rotated_quiet_s": 0.0}
    append(scene.log, range(10))
    inode = scene.log.stat().st_ino
    with scene.running() as run, scene.log.open("ab", buffering=0) as late:
        run.settle()
        scene.log.unlink()
        append(scene.log, range(100, 110))
        for number in range(10, 15):
            run.settle()
            late.write(log_line(number))
        run.settle()
        for number in range(1, 4):  # files that come and go in the meantime are closed
            rotated = scene.log.rename(scene.folder / f"app.log.{number}")
            append(scene.log, range(100 + 10 * number, 110 + 10 * number))
            wait_until(lambda: not is_read(rotated.stat().st_ino), "the rotated file is released")  # noqa: B023
        run.settle()
        assert is_read(inode)
        late.close()
        wait_until(lambda: not is_read(inode), "the deleted file is released")
    scene.conclude([*range(15), *range(100, 140)], proven=scene.folder.iterdir())


def test_beyond_the_bound_the_oldest_held_bytes_are_dropped_logged_and_in_the_ledger(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Of three files with ten unread lines each, 15 lines may be held; of the first, five lines were read before."""
    append(scene.log, range(1000, 1005))
    with scene.running(max_held_bytes=15 * LINE) as run:
        run.settle()
        with run.paused():
            append(scene.log, range(1005, 1015))
            for number in range(1, 4):
                run.look()
                scene.log.rename(scene.folder / f"app.log.{number}")
                append(scene.log, range(1005 + 10 * number, 1015 + 10 * number))
        run.settle()
        assert run.shipping.counters.bytes_given_up == 20 * LINE
        problems = run.shipping.stop().problems
    assert problems == (f"{20 * LINE} bytes of rotated or deleted files were dropped (--max-held-bytes)",)
    assert caplog.text.count("are lost: given up: more than") == 2
    assert {(loss.start, loss.end) for loss in losses(scene.server)} == {(5 * LINE, 15 * LINE), (0, 10 * LINE)}
    scene.conclude(
        [*range(1000, 1005), *range(1025, 1045)],
        proven=[scene.folder / "app.log.3", scene.log],
        lost=lambda loss: f"more than {15 * LINE} bytes were held" in loss.reason,
    )
    for name in ("app.log.1", "app.log.2"):
        verdict = scene.verdict(scene.folder / name)
        assert verdict.losses
        assert (verdict.missing, verdict.altered, verdict.repeated) == ([], [], 0)


def test_what_was_dropped_before_a_kill_is_not_stored_as_a_new_file(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint lags behind what the server has: it does not say that the file is finished."""
    monkeypatch.setattr("logferry.client.state.checkpoints.SAVE_INTERVAL_S", 1000.0)
    append(scene.log, range(5))
    rotated, killed = scene.folder / "app.log.1", scene.tmp_path / "killed"
    with scene.running(max_held_bytes=5 * LINE) as run:
        run.settle()
        with run.paused():
            append(scene.log, range(5, 15))
            run.look()
            scene.log.rename(rotated)
        wait_until(lambda: losses(scene.server), "the server knows the loss")
        shutil.copytree(scene.state, killed)
    shutil.rmtree(scene.state)
    killed.rename(scene.state)
    append(scene.log, range(20, 25))
    scene.conclude(
        [*range(5), *range(20, 25)],
        proven=[scene.log],
        lost=lambda loss: f"more than {5 * LINE} bytes were held" in loss.reason,
    )


def test_without_a_bound_everything_is_held(scene: Scene) -> None:
    with scene.running() as run:
        with run.paused():
            for number in range(20):
                append(scene.log, range(100 * number, 100 * number + 100))
                run.look()
                scene.log.unlink()
        run.settle()
    append(scene.log, [2000])
    scene.conclude(range(2001), proven=[scene.log])


def test_dropping_held_bytes_makes_the_exit_code_3(scene: Scene) -> None:
    """A real client that gets no more acks has a full window in flight; the rest of the file is dropped."""
    append(scene.log, [0])
    words = ("--mode", "continuous", "--max-held-bytes", "1", "--poll-interval", "0.02", "--batch-size", "auto")
    with (
        chaos_proxy(scene.server.port) as proxy,
        client(scene.log, proxy.port, *words, folder=scene.tmp_path) as run,
    ):
        wait_until(lambda: scene.server.stats.lines_stored == 1, "it is connected")
        proxy.stall(DOWN)
        append(scene.log, range(1, 400_000))
        size = scene.log.stat().st_size
        scene.log.unlink()
        append(scene.log, [400_000])
        run.wait_for_stderr("is a new file now")
        proxy.flow(DOWN)
        wait_until(lambda: losses(scene.server), "the loss is stored")
        wait_until(lambda: numbered_line(400_000) in scene.server.stored_lines(), "and what came after")
        assert run.terminate() == 3
        assert "bytes of rotated or deleted files were dropped (--max-held-bytes)" in run.stderr
    (loss,) = losses(scene.server)
    assert loss.end == size
    stored = scene.server.stored_lines()[:-1]
    assert sum(len(log_line(number)) for number in range(len(stored))) == loss.start
    scene.conclude([*range(len(stored)), 400_000], proven=[scene.log], lost=lambda loss: loss.end == size)
