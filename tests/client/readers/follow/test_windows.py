"""Unknown windows: bytes may have been written that nobody saw. What is accounted for is never reported."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from logferry.client.readers.follow.reader import MAX_SWEEP_PAUSE_S, FollowReader
from logferry.client.readers.follow.windows import FREEZE_S, UnknownWindows
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.last_look import FILE_NAME, LastLook
from logferry.durable import replace_file
from logferry.model.source import Source
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import WindowRow
from tests.support.following import Observed, Scene, compress, created_with_inode_of, settle_copies_at_once
from tests.support.running import DEADLINE_S, numbered_line, wait_until
from tests.support.shipping import append, input_settings, log_line

SIZE = len(log_line(0))  # of the first ten lines, each
LONGER = len(log_line(10))

PATTERNS = pytest.mark.parametrize("pattern", ["app.log", "app.log*"], ids=["name", "pattern"])


def recorded(scene: Scene) -> list[WindowRow]:
    """Return the unknown windows in the server's ledger."""
    with closing(Ledger(scene.server.data_dir, durable=False, read_only=True)) as ledger:
        sources = [known.id for known in Checkpoints(scene.state, read_only=True)]
        return [window for source in sources for window in ledger.windows(source, limit=10)]


@contextmanager
def frozen(reader: Observed) -> Iterator[None]:
    """Let the reader look at nothing for the length of a `with`."""
    gate = threading.Event()
    is_waiting = threading.Event()

    def wait() -> None:
        is_waiting.set()
        gate.wait(DEADLINE_S)

    reader.after_poll = wait
    assert is_waiting.wait(DEADLINE_S)
    try:
        yield
    finally:
        reader.after_poll = lambda: None
        gate.set()


def look_before(scene: Scene, seconds: float) -> None:
    """Pretend that the client last looked this long ago, and shipped all its files long before that."""
    then = time.time() - seconds
    os.utime(scene.state / FILE_NAME, (then, then))


# --- while no client runs ---------------------------------------------------------------------------------------------


def moved_away(log: Path) -> None:
    old = log.parent.parent / "old"
    old.mkdir()
    log.rename(old / "app.log-20260304")


def archived_unreadably(log: Path) -> None:
    log.with_name("app.log.1.lz4").write_bytes(b"what only another program reads")
    log.unlink()


def truncated(log: Path) -> None:
    os.truncate(log, 0)


def folder_replaced(log: Path) -> None:
    log.parent.rename(log.parent.parent / ".unmounted")
    log.parent.mkdir()


GONE = pytest.mark.parametrize(
    "disappear", [moved_away, Path.unlink, archived_unreadably, truncated, folder_replaced, created_with_inode_of]
)


@GONE
@pytest.mark.parametrize("pattern", ["app.log", "app.*", "../**/app.log"], ids=["name", "pattern", "deep pattern"])
def test_a_file_that_is_found_nowhere_at_the_start_is_reported(
    scene: Scene, disappear: Callable[[Path], object], pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    scene.follow()
    append(scene.log, range(10, 15))  # nobody sees these
    disappear(scene.log)
    append(scene.log, range(20, 23))
    scene.conclude([*range(10), *range(20, 23)], proven=[scene.log], unknown=[10 * SIZE])
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    (warning,) = [record.getMessage() for record in warnings if "follow.windows" in record.name]
    assert "app.log: what was written" in warning
    assert f"at byte {10 * SIZE} and later may be lost" in warning
    (window,) = recorded(scene)
    assert (window.start, window.last_look <= window.noticed) == (10 * SIZE, True)


def test_a_file_that_is_gone_without_a_successor_is_reported_whether_it_was_named_or_found(scene: Scene) -> None:
    found = scene.folder / "pod.log"
    scene.names = [scene.log, scene.folder / "pod*"]
    for path in (scene.log, found):
        append(path, range(10))
    scene.follow()
    scene.log.unlink()
    found.unlink()
    scene.conclude([*range(10), *range(10)], unknown=[10 * SIZE, 10 * SIZE])
    assert len(recorded(scene)) == 2


def test_a_window_is_reported_once_however_often_the_client_starts(scene: Scene) -> None:
    append(scene.log, range(10))
    scene.follow()
    scene.log.unlink()
    for _ in range(3):
        scene.follow()
    (window,) = scene.windows()
    assert window.count == 1
    assert len(recorded(scene)) == 1


def test_many_files_that_are_gone_are_recorded_with_a_few_writes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.names = [scene.folder / "*.log"]
    logs = [append(scene.folder / f"{number}.log", range(3)) for number in range(20)]
    scene.follow()
    for log in logs:
        log.unlink()
    written: list[int] = []

    def replace_and_count(path: Path, content: bytes) -> None:
        written.append(len(content))
        replace_file(path, content)

    monkeypatch.setattr("logferry.client.state.losses_file.replace_file", replace_and_count)
    scene.conclude(20 * [*range(3)], unknown=20 * [3 * SIZE])
    assert len(recorded(scene)) == 20
    assert len(written) < 10


def test_a_window_that_could_not_be_sent_is_sent_by_the_next_run(scene: Scene) -> None:
    append(scene.log, range(10))
    scene.follow()
    scene.log.unlink()
    with scene.running(port=1):
        pass
    assert recorded(scene) == []
    scene.follow()
    assert len(recorded(scene)) == 1


def test_a_file_that_comes_back_is_no_longer_unknown(scene: Scene) -> None:
    """A folder may be mounted later than the client starts."""
    append(scene.log, range(10))
    scene.follow()
    away = scene.folder.rename(scene.tmp_path / "away")
    scene.follow()
    assert len(scene.windows()) == 1
    away.rename(scene.folder)
    append(scene.log, range(10, 15))
    scene.conclude(range(15), proven=[scene.log])


def test_a_file_that_comes_back_and_is_lost_again_is_unknown_again(scene: Scene) -> None:
    append(scene.log, range(10))
    scene.follow()
    away = scene.folder.rename(scene.tmp_path / "away")
    scene.follow()
    away.rename(scene.folder)
    scene.follow()  # and nothing is written to it
    assert scene.windows() == []
    scene.log.unlink()
    scene.conclude(range(10), unknown=[10 * SIZE])
    assert len(recorded(scene)) == 2


@pytest.mark.parametrize("is_rotated", [False, True])
def test_a_file_that_is_found_again_while_the_client_runs_is_no_longer_unknown(scene: Scene, is_rotated: bool) -> None:
    append(scene.log, range(10))
    scene.follow()
    away = scene.folder.rename(scene.tmp_path / "away")
    scene.folder.mkdir()
    with scene.running() as run:
        run.settle()
        assert len(scene.windows()) == 1
        if is_rotated:
            append(away / "app.log", range(10, 15)).rename(away / "app.log.1")
            append(away / "app.log", range(15, 20))
        scene.folder.rmdir()
        away.rename(scene.folder)
        wait_until(lambda: not scene.windows(), "it is found")
        run.settle()
    scene.conclude(range(20 if is_rotated else 10), proven=[scene.log])


def test_a_file_that_was_quiet_for_days_and_comes_back_is_read_on_and_missed_later(scene: Scene) -> None:
    """Its absence was not reported, because such files are deleted by clean-ups; this one was only away."""
    append(scene.log, range(10))
    scene.follow()
    state = scene.state / "checkpoints.json"
    (known,) = Checkpoints(scene.state, read_only=True)
    state.write_text(state.read_text().replace(f'"seen_at":{known.seen_at}', f'"seen_at":{time.time() - 3 * 86_400}'))
    away = scene.folder.rename(scene.tmp_path / "away")
    scene.folder.mkdir()
    with scene.running() as run:
        run.settle()
        assert scene.windows() == []
        scene.folder.rmdir()
        away.rename(scene.folder)
        append(scene.log, range(10, 15))
        run.shipping.wait_for_acks(5)
    append(scene.log, range(15, 20))
    scene.log.unlink()
    scene.conclude(range(15), unknown=[10 * SIZE + 5 * LONGER])


def test_a_file_that_no_input_asks_for_any_more_is_not_missed(scene: Scene) -> None:
    other = append(scene.folder / "other.log", range(10))
    scene.names = [other]
    scene.follow()
    other.unlink()
    scene.names = [append(scene.log, range(10, 20))]
    scene.conclude(range(20))


def test_a_state_folder_of_a_version_that_did_not_record_its_looks_reports_nothing(scene: Scene) -> None:
    """Otherwise every file that was ever deleted would be reported after an upgrade."""
    append(scene.log, range(10))
    scene.follow()
    (scene.state / FILE_NAME).unlink()
    scene.log.unlink()
    scene.follow()
    assert scene.windows() == []
    scene.conclude(range(10))


def test_a_file_that_was_finished_for_days_is_not_missed_unless_nobody_looked_for_longer(scene: Scene) -> None:
    """A file with a date in its name, which a clean-up deletes."""
    scene.names = [scene.folder / "app-*.log"]
    files = [append(scene.folder / f"app-2026-03-0{day}.log", range(10 * day, 10 * day + 10)) for day in (1, 2)]
    scene.follow()
    state = scene.state / "checkpoints.json"
    for known in Checkpoints(scene.state, read_only=True):
        days = 3 if known.path == str(files[0]) else 1.5
        shipped_at = time.time() - days * 86_400
        state.write_text(state.read_text().replace(f'"seen_at":{known.seen_at}', f'"seen_at":{shipped_at}'))
    look_before(scene, 86_400)
    for path in files:
        path.unlink()
    scene.conclude(range(10, 30), unknown=[10 * LONGER])


# --- while a client runs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unread", [0, 5])
def test_a_truncation_without_a_copy_is_reported_also_if_all_that_was_seen_is_stored(scene: Scene, unread: int) -> None:
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        with run.paused():
            append(scene.log, range(10, 10 + unread))
            run.look()
            os.truncate(scene.log, 0)
        run.settle()
        append(scene.log, range(20, 25))
        run.settle()
        assert run.shipping.counters.unknown_windows == 1
    size = 10 * SIZE + unread * LONGER
    scene.conclude(
        [*range(10), *range(20, 25)],
        proven=[scene.log],
        lost=(lambda loss: (loss.start, loss.end) == (10 * SIZE, size)) if unread else None,
        unknown=[size],
    )
    assert [window.start for window in recorded(scene)] == [size]


def test_after_a_freeze_files_that_came_and_went_meanwhile_are_reported(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.client.readers.follow.windows.FREEZE_S", 0.0)
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        with frozen(run.reader):
            scene.log.unlink()
            append(scene.log, range(10, 15))
            scene.log.unlink()
            append(scene.log, range(20, 25))
        run.settle()
    assert [window.start for window in scene.windows()] == [10 * SIZE]


def test_a_regular_pause_between_two_looks_is_no_freeze() -> None:
    assert MAX_SWEEP_PAUSE_S <= FREEZE_S * 2 / 3, "the sweep itself takes time, too"


def test_a_deleted_file_that_is_still_read_stays_the_source_that_acks_move(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of its source would be read again from a file that nobody can find."""
    monkeypatch.setattr("logferry.client.readers.follow.windows.FREEZE_S", 0.0)
    append(scene.log, range(10))
    with scene.running() as run, scene.log.open("ab") as writer:
        run.settle()
        with frozen(run.reader):
            scene.log.unlink()
            append(scene.log, range(20, 25))
        run.settle()
        (window,) = scene.windows()
        checkpoints = run.reader._windows._checkpoints
        checkpoints.save()
        assert checkpoints.known_source(window.source) is run.reader._registry.source_ids[window.source].source
        for number in range(10, 15):
            writer.write(log_line(number))
        writer.flush()
        run.settle()
    scene.reckon(map(numbered_line, [*range(15), *range(20, 25)]), unknown=[10 * SIZE])


def test_the_last_look_is_known_after_a_kill(scene: Scene) -> None:
    append(scene.log, range(10))
    before = time.time()
    scene.follow()
    looked_at = (scene.state / FILE_NAME).stat().st_mtime
    assert before - 0.1 <= looked_at <= time.time()


def test_a_start_that_is_killed_before_the_files_are_judged_has_not_looked(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(scene.log, range(10))
    scene.follow()
    scene.log.unlink()
    look_before(scene, 1000)
    looked_at = (scene.state / FILE_NAME).stat().st_mtime
    with monkeypatch.context() as killed:
        killed.setattr(UnknownWindows, "begin", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            FollowReader([input_settings(scene.log)], last_look=LastLook(scene.state))
    assert (scene.state / FILE_NAME).stat().st_mtime == looked_at
    scene.conclude(range(10), unknown=[10 * SIZE])
    assert [window.last_look for window in scene.windows()] == [looked_at]


# --- nobody reads warnings that come every night ----------------------------------------------------------------------


def create(scene: Scene) -> None:
    """logrotate with `create` and `rotate 2`."""
    for number in (2, 1):
        if (old := scene.log.with_name(f"app.log.{number}")).exists():
            old.unlink() if number == 2 else old.rename(scene.log.with_name(f"app.log.{number + 1}"))
    scene.log.rename(scene.log.with_name("app.log.1"))
    scene.log.touch()


def copytruncate(scene: Scene) -> None:
    """logrotate with `copytruncate` and `rotate 2`."""
    for number in (2, 1):
        if (old := scene.log.with_name(f"app.log.{number}")).exists():
            old.unlink() if number == 2 else old.rename(scene.log.with_name(f"app.log.{number + 1}"))
    shutil.copy(scene.log, scene.log.with_name("app.log.1"))
    os.truncate(scene.log, 0)


def compressing(scene: Scene) -> None:
    """logrotate with `create` and `compress`, and without `delaycompress`."""
    scene.log.with_name("app.log.2.gz").unlink(missing_ok=True)
    if (old := scene.log.with_name("app.log.1.gz")).exists():
        old.rename(scene.log.with_name("app.log.2.gz"))
    compress(scene.log.rename(scene.log.with_name("app.log.1")))
    scene.log.touch()


def compressing_later(scene: Scene) -> None:
    """logrotate with `create`, `compress` and `delaycompress`."""
    scene.log.with_name("app.log.2.gz").unlink(missing_ok=True)
    if (old := scene.log.with_name("app.log.1")).exists():
        compress(old.rename(scene.log.with_name("app.log.2")))
    scene.log.rename(scene.log.with_name("app.log.1"))
    scene.log.touch()


ROTATIONS = pytest.mark.parametrize("rotate", [create, copytruncate, compressing, compressing_later])


@ROTATIONS
@PATTERNS
@pytest.mark.parametrize("ways", ["running", "stopped", "both"])
def test_ordinary_rotation_is_silent(
    scene: Scene, rotate: Callable[[Scene], None], pattern: str, ways: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six nights, with old rotations deleted; some or all while the client runs, each followed by a restart."""
    settle_copies_at_once(monkeypatch, 1.0)  # longer than the copying takes on a busy machine
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    for night in range(1, 7):
        is_running = ways == "running" or (ways == "both" and night % 2)
        with scene.running() as run:
            run.settle()
            if is_running:
                rotate(scene)
                append(scene.log, range(10 * night, 10 * night + 10))
                run.settle()
        if not is_running:
            rotate(scene)
            append(scene.log, range(10 * night, 10 * night + 10))
    scene.conclude(range(70))


@PATTERNS
def test_a_file_that_was_rotated_and_stored_before_the_stop_may_be_deleted(scene: Scene, pattern: str) -> None:
    scene.names = [scene.folder / pattern]
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        rotated = scene.log.rename(scene.log.with_name("app.log.1"))
        append(scene.log, range(10, 20))
        run.settle()
    rotated.unlink()
    scene.conclude(range(20), proven=[scene.log])


def test_a_rotated_file_that_its_writer_still_had_open_at_the_stop_is_missed(scene: Scene) -> None:
    append(scene.log, range(10))
    with scene.log.open("ab"):
        with scene.running() as run:
            run.settle()
            rotated = scene.log.rename(scene.log.with_name("app.log.1"))
            append(scene.log, range(10, 20))
            run.settle()
        rotated.unlink()
    scene.conclude(range(20), unknown=[10 * SIZE])


def test_a_file_that_is_deleted_while_the_client_reads_it_is_not_missed(scene: Scene) -> None:
    append(scene.log, range(10))
    with scene.running() as run:
        run.settle()
        scene.log.unlink()
        run.settle()
    scene.conclude(range(10))


def test_a_live_file_with_a_rotated_name_is_settled_only_while_it_is_stored_to_its_end(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.client.readers.follow.windows._SETTLE_INTERVAL_S", 0.0)
    worker, other = append(scene.folder / "worker.log", range(10)), append(scene.folder / "worker-1.log", range(10, 20))
    scene.names = [worker, other]

    def source() -> Source:
        assert scene.reader is not None
        (file,) = scene.reader._registry.names[str(other)].files
        return file.source

    with scene.running() as run:
        run.settle()
        wait_until(lambda: run.shipping.is_over or source().is_settled, "it is caught up")
        with run.paused():
            append(other, range(20, 60))
            run.look()
            assert not source().is_settled
        run.settle()
    scene.conclude(range(60), proven=[worker, other])
