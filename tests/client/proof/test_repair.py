"""`logferry repair` and self-healing: real segments are damaged, and every line is there again, once.

Each test ends in a conservation check, and with `verify` and `fsck` that find nothing.
"""

import contextlib
import gzip
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_NOT_DELIVERED
from logferry.cli.dispatch import main
from logferry.client.proof import repair
from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS, VERIFY_OPTIONS
from logferry.protocol.messages.repairs import DamagedExtent
from tests.client.proof.test_verify import deliver, flip, judge, remove_a_line, replace_in
from tests.support.fakes import FakeServer, ack_every_line
from tests.support.processes import free_port
from tests.support.running import RunningServer, running_server, wait_until
from tests.support.shipping import Printed, append, assert_conserved, once, shipping, the_segment
from tests.support.stores import problems, segments_of

pytestmark = pytest.mark.usefixtures("quick_backoff", "logging_restored")


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing but the command line decide."""
    for option in (*SHIP_OPTIONS, *SERVE_OPTIONS, *VERIFY_OPTIONS):
        monkeypatch.delenv(option.env, raising=False)
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(tmp_path / "state"))


Run = Callable[..., Printed]


@pytest.fixture
def run_repair(capfd: pytest.CaptureFixture[str], server: RunningServer) -> Run:
    """Run `logferry repair`."""

    def run(*files: Path, words: tuple[str, ...] = (), port: int = 0) -> Printed:
        capfd.readouterr()
        names = [word for file in files for word in ("--log-file", str(file))]
        where = ("--server-host", "127.0.0.1", "--server-port", str(port or server.port))
        return Printed(main(["repair", "--log-level", "warning", *names, *where, *words]), *capfd.readouterr())

    return run


def assert_whole(server: RunningServer, log: Path, count: int) -> None:
    """Fail unless every line is stored once, and both checks find nothing."""
    assert_conserved(range(count), server.stored_lines())
    assert set(problems(server.data_dir)) == {""}
    verdict = judge(log, server)
    assert (verdict.is_proven, verdict.stored) == (True, count), verdict


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a byte is flipped": lambda path: flip(path, 500),
    "it is deleted": lambda path: path.unlink(),
    "it is cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a line is removed": remove_a_line,
    "a line is repeated": lambda path: path.write_bytes(path.read_bytes()[:76] + path.read_bytes()),
}


# --- the command


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_repaired_and_verify_and_fsck_are_clean(
    tmp_path: Path, damage: Callable[[Path], object], run_repair: Run, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server, self_heal=False)
    damage(the_segment(server))
    assert not judge(log, server).is_proven
    printed = run_repair(log)
    assert printed.code == 0
    assert printed.out.splitlines()[1].split()[2:] == ["1", "1", "repaired"]
    append(log, [100])
    deliver(log, server, resume=True)  # what an open segment has too much is cut off before the next line
    assert_whole(server, log, 101)
    again = run_repair(log, words=("--json",))
    (found,) = json.loads(again.out)
    assert (again.code, found["damaged"], found["repaired"], found["problems"]) == (0, 0, 0, [])


RENDERINGS: dict[str, dict[str, Any]] = {
    "multiline": {"multiline": "timestamp"},
    "raw": {"format": "raw"},
    "with fields and redaction": {"field": (("a", "b"),), "redact": ("line",)},
    "filtered": {"exclude_line": ("line [1-4]",)},
    "gzip frames": {"compress": True, "resilient": True},
}


@pytest.mark.parametrize("settings", RENDERINGS.values(), ids=RENDERINGS.keys())
def test_a_source_is_repaired_as_it_was_rendered(
    tmp_path: Path, settings: dict[str, Any], run_repair: Run, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(60))
    deliver(log, server, **settings)
    before = server.stored_lines()
    the_segment(server).unlink()
    assert run_repair(log).code == 0
    assert server.stored_lines() == before
    assert judge(log, server).is_proven
    assert problems(server.data_dir) == [""]


def test_only_damaged_extents_are_sent_and_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_repair: Run
) -> None:
    monkeypatch.setattr("logferry.server.storage.admission.EXTENT_BYTES", 4096)
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", 8192)
    log = append(tmp_path / "app.log", range(3000))
    with running_server(tmp_path, data_dir=tmp_path / "small", segment_bytes=40_000) as server:
        deliver(log, server)
        segments = segments_of(server.data_dir)
        flip(segments[1], 100)
        segments[2].unlink()
        verdict = judge(log, server)
        printed = run_repair(log, port=server.port, words=("--json",))
        (found,) = json.loads(printed.out)
        assert found["damaged"] == found["repaired"] == len(verdict.altered) + len(verdict.missing)
        assert found["damaged"] < 20
        assert server.stats.extents_repaired == found["repaired"]
        assert_whole(server, log, 3000)


def test_a_repair_beside_a_client_that_follows_the_file_disturbs_nothing(
    tmp_path: Path, run_repair: Run, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(100))
    with shipping(log, server.port, **once(tmp_path, mode="continuous", self_heal=False)) as run:
        run.wait_for_acks(100)
        the_segment(server).unlink()
        append(log, range(100, 200))
        run.wait_for_acks(200)
        assert run_repair(log).code == 0
        append(log, range(200, 300))
        run.wait_for_acks(300)
    assert_whole(server, log, 300)


@pytest.mark.parametrize("rotated", ["app.log.1", "app.log.1.gz", "elsewhere.txt"])
def test_a_rotated_file_is_found_by_the_name_that_it_had(
    tmp_path: Path, rotated: str, run_repair: Run, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server)
    log.rename(tmp_path / rotated.removesuffix(".gz"))
    if rotated.endswith(".gz"):
        compress(tmp_path / "app.log.1")
    append(log, [100])
    the_segment(server).unlink()
    assert run_repair(log).code == 0
    assert_conserved(range(100), server.stored_lines())
    assert problems(server.data_dir) == [""]


def compress(path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def test_a_file_that_was_shipped_twice_is_repaired_twice(
    tmp_path: Path, run_repair: Run, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(50))
    deliver(log, server)
    deliver(log, server, resume=False)
    the_segment(server).unlink()
    assert run_repair(log).code == 0
    assert len(server.stored_lines()) in (50, 100)
    assert problems(server.data_dir) == [""]


def test_an_extent_that_renders_to_more_than_any_server_accepts_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_repair: Run, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server, self_heal=False)
    flip(the_segment(server), 500)
    with monkeypatch.context() as patch:
        patch.setattr("logferry.client.net.conversation.reports.MAX_REPAIR_BYTES", 1000)
        printed = run_repair(log)
    assert (printed.code, "larger than the server accepts" in printed.out) == (EXIT_INCOMPLETE, True)
    assert run_repair(log).code == 0
    assert_conserved(range(100), server.stored_lines())


def test_more_damaged_extents_than_are_listed_at_a_time_are_all_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_repair: Run
) -> None:
    monkeypatch.setattr("logferry.server.storage.admission.EXTENT_BYTES", 1024)
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", 2048)
    monkeypatch.setattr("logferry.client.proof.repair._MOST", 3)
    log = append(tmp_path / "app.log", range(500))
    with running_server(tmp_path, data_dir=tmp_path / "small") as server:
        deliver(log, server, self_heal=False)
        the_segment(server).unlink()
        assert run_repair(log, port=server.port).code == 0
        assert server.stats.extents_repaired > 6
        assert_whole(server, log, 500)


def test_an_extent_that_grows_after_it_was_listed_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_repair: Run, server: RunningServer
) -> None:
    log, found_damaged, counts = append(tmp_path / "app.log", range(10)), repair._found_damaged, [20, 30]

    with shipping(log, server.port, **once(tmp_path, mode="continuous", self_heal=False)) as run:

        def list_and_grow(*arguments: Any) -> list[DamagedExtent]:
            listed = list(found_damaged(*arguments))
            if counts:
                count = counts.pop(0)
                append(log, range(count - 10, count))
                run.wait_for_acks(count)
            return listed

        run.wait_for_acks(10)
        flip(the_segment(server), 500)
        monkeypatch.setattr(repair, "_found_damaged", list_and_grow)
        assert run_repair(log).code == 0
        assert counts == []
    assert_whole(server, log, 30)


UNREPAIRABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "the file is gone": (lambda log: log.unlink(), "no file has its content any more"),
    "the file has changed": (replace_in(b"line 50", b"LINE 50"), "has other lines there than were shipped"),
}


@pytest.mark.parametrize(("change", "words"), UNREPAIRABLE.values(), ids=UNREPAIRABLE.keys())
def test_what_no_file_has_stays_damaged_and_nothing_else_is_stored(
    tmp_path: Path, change: Callable[[Path], object], words: str, run_repair: Run, server: RunningServer
) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server, self_heal=False)
    flip(the_segment(server), 500)
    before = server.stored_lines()
    change(log)
    printed = run_repair(log)
    assert printed.code == EXIT_INCOMPLETE
    assert "NOT all repaired" in printed.out
    assert words in printed.out
    assert server.stored_lines() == before
    assert problems(server.data_dir) != [""]


def test_a_file_that_was_never_shipped_is_said_to_be(tmp_path: Path, run_repair: Run) -> None:
    log = append(tmp_path / "app.log", range(10))
    printed = run_repair(log)
    assert (printed.code, "never shipped" in printed.out) == (EXIT_INCOMPLETE, True)


def test_a_server_that_is_away_or_knows_no_repairs_is_exit_code_1(tmp_path: Path, run_repair: Run) -> None:
    log = append(tmp_path / "app.log", range(10))
    assert run_repair(log, port=free_port()).code == EXIT_NOT_DELIVERED
    with FakeServer(ack_every_line) as old:
        assert run_repair(log, port=old.port).code == EXIT_NOT_DELIVERED


# --- nobody does anything


QUICK: dict[str, Any] = {"scrub_interval": 0.05, "scrub_rate": 1 << 30}


@pytest.mark.parametrize("settings", [{}, {"resilient": True, "compress": True}], ids=["basic", "resilient"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_heals_by_itself_while_a_client_is_connected(
    tmp_path: Path, damage: Callable[[Path], object], settings: dict[str, Any]
) -> None:
    log = append(tmp_path / "app.log", range(100))
    with running_server(tmp_path, **QUICK) as server:
        with shipping(log, server.port, **once(tmp_path, mode="continuous", **settings)) as run:
            run.wait_for_acks(100)
            damage(the_segment(server))
            wait_until(lambda: server.stats.extents_repaired and not server.stats.damaged_extents, "it is healed")
            append(log, range(100, 200))
            run.wait_for_acks(200)
            wait_until(lambda: run.counters.extents_repaired == server.stats.extents_repaired, "both count the same")
        assert_whole(server, log, 200)


def test_damage_heals_at_the_next_contact_of_a_batch_client(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(100))
    with running_server(tmp_path, **QUICK) as server:
        deliver(log, server)
        the_segment(server).unlink()
        wait_until(lambda: server.stats.damaged_extents, "the damage is found")
    with running_server(tmp_path, scrub_interval=0) as server:
        append(log, range(100, 5000))
        deliver(log, server, resume=True)
        assert server.stats.extents_repaired == 1
        assert_whole(server, log, 5000)


def test_a_client_that_shall_not_heal_does_not(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(100))
    with running_server(tmp_path, **QUICK) as server:
        with shipping(log, server.port, **once(tmp_path, mode="continuous", self_heal=False)) as run:
            run.wait_for_acks(100)
            flip(the_segment(server), 500)
            wait_until(lambda: server.stats.damaged_extents, "the damage is found")
            append(log, range(100, 200))
            run.wait_for_acks(200)
        assert (server.stats.damaged_extents, server.stats.extents_repaired) == (1, 0)


def has_come_again(server: RunningServer) -> bool:
    return server.stats.connections_total >= 2


def test_what_cannot_heal_is_logged_once_however_often_the_client_connects(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, port = append(tmp_path / "app.log", range(100)), free_port()
    with contextlib.ExitStack() as stack:
        with running_server(tmp_path, server_port=port, **QUICK) as server:
            run = stack.enter_context(shipping(log, port, **once(tmp_path, mode="continuous")))
            run.wait_for_acks(100)
            log.unlink()
            the_segment(server).unlink()
            wait_until(lambda: "cannot repair" in caplog.text, "the client has tried")
        for _ in range(2):
            with running_server(tmp_path, server_port=port, scrub_interval=0) as server:
                wait_until(partial(has_come_again, server), "the client has come, and tried again")
        assert run.stop().problems == ()
    assert sum("cannot repair" in message for message in caplog.messages) == 1


def test_the_rest_of_a_rotated_file_heals_from_the_file_under_its_new_name(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(100))
    with running_server(tmp_path, **QUICK) as server:
        with shipping(log, server.port, **once(tmp_path, mode="continuous")) as run:
            run.wait_for_acks(100)
            log.rename(tmp_path / "app.log.1")
            append(log, range(100, 150))
            run.wait_for_acks(150)
            shutil.rmtree(server.data_dir / "segments")
            wait_until(lambda: server.stats.extents_repaired >= 2 and not server.stats.damaged_extents, "it is healed")
            append(log, range(150, 200))
            run.wait_for_acks(200)
        assert_conserved(range(200), server.stored_lines())
        assert set(problems(server.data_dir)) == {""}


def test_a_growing_file_whose_open_segment_is_damaged_again_and_again_is_whole_in_the_end(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(100))
    with running_server(tmp_path, **QUICK) as server:
        with shipping(log, server.port, **once(tmp_path, mode="continuous")) as run:
            run.wait_for_acks(100)
            for number, damage in enumerate([*DAMAGE.values()] * 2, 1):
                damage(segments_of(server.data_dir)[-1])
                for step in range(0, 100, 10):
                    append(log, range(100 * number + step, 100 * number + step + 10))
                run.wait_for_acks(100 * (number + 1))
            wait_until(lambda: set(problems(server.data_dir)) == {""}, "all is healed")
        assert_whole(server, log, 1100)
