"""`logferry verify` by name: what became of every source that ever had the name."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_OK
from logferry.cli.dispatch import main
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.known_losses import KnownLosses
from logferry.client.state.losses_file import FILE_NAME, FORGOTTEN, MAX_ENTRIES
from logferry.protocol.delivery.client import DeliveryClientProtocol
from logferry.protocol.messages.answers import Welcome
from logferry.protocol.messages.reports import NamedSource, SourcesPage
from logferry.protocol.messages.writing import answer_line, control_line
from tests.support.delivery import DeliveryClient
from tests.support.running import RunningServer, running_server, wait_until
from tests.support.shipping import Printed, Shipping, append, assert_conserved, log_line, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff", "logging_restored")

SIZE = len(log_line(0))


@contextmanager
def following(log: Path, server: RunningServer, **changes: Any) -> Iterator[Shipping]:
    """Follow a log file for the length of a `with`."""
    with shipping(log, server.port, **once(log.parent, mode="continuous", **changes)) as run:
        yield run
        run.stop()


@pytest.fixture
def run_verify(capfd: pytest.CaptureFixture[str], server: RunningServer, tmp_path: Path) -> Callable[..., Printed]:
    """Run `logferry verify`. The server of the test is in this process and logs on the same stderr, at info."""

    def run(*files: Path, words: tuple[str, ...] = ()) -> Printed:
        capfd.readouterr()
        names = [word for file in files for word in ("--log-file", str(file))]
        where = ("--server-host", "127.0.0.1", "--server-port", str(server.port))
        state = () if "--state-dir" in words else ("--state-dir", str(tmp_path / "state"))
        return Printed(main(["verify", "--log-level", "warning", *names, *where, *state, *words]), *capfd.readouterr())

    return run


def verdict_of(printed: Printed) -> str:
    return re.split(r"  +", printed.out.splitlines()[1])[-1]


def test_ordinary_rotation_leaves_a_name_all_there(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
        rotated = log.rename(tmp_path / "app.log.1")
        append(log, range(10, 20))
        run.wait_for_acks(20)
    rotated.unlink()
    printed = run_verify(log)
    assert (printed.code, verdict_of(printed)) == (EXIT_OK, "all there, once")


def test_an_unknown_window_of_an_earlier_file_shows_under_its_name_also_without_the_state_folder(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
    log.unlink()
    append(log, range(10, 15))
    with following(log, server) as run:
        run.wait_for_acks(5)
        wait_until(lambda: server.stats.windows_reported, "the server knows")
    for words in ((), ("--state-dir", str(tmp_path / "another"))):
        printed = run_verify(log, words=words)
        assert printed.code == EXIT_INCOMPLETE
        assert f"what was written at byte {10 * SIZE} and later may be lost: " in printed.out
    assert_conserved(range(15), server.stored_lines())


def test_a_loss_of_an_earlier_file_shows_under_its_name(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with DeliveryClient(server, host="web-7") as client:
        client.send(control_line("open", source="s1", path=str(log)))
        client.answer()
        client.send(control_line("skip", source="s1", start=0, end=50, reason="truncated before it was read"))
        client.answer()
        client.send(control_line("skip", source="s1", start=50, end=60, reason="not asked for", lost=False))
        client.answer()
    with following(log, server) as run:
        run.wait_for_acks(10)
    printed = run_verify(log, words=("--host", "web-7", "--json"))
    (found,) = json.loads(printed.out)
    (former,) = found["former"]
    assert (former["source"], former["losses"]) == ("s1", [[0, 50, "truncated before it was read"]])
    assert (printed.code, found["proven"], found["former_whole"]) == (EXIT_INCOMPLETE, False, 0)


def test_damage_to_an_earlier_file_shows_under_its_name(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
        log.rename(tmp_path / "app.log.1")
        append(log, range(10, 20))
        run.wait_for_acks(20)
    (segment,) = server.data_dir.glob("segments/**/*.ndjson")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"line 3", b"LINE 3"))
    printed = run_verify(log)
    assert printed.code == EXIT_INCOMPLETE
    assert "10 lines altered on the server's disk" in printed.out


def test_a_rotated_file_that_was_written_to_after_the_client_stopped_shows_under_its_former_name(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
        log.rename(tmp_path / "app.log.1")
        append(log, range(10, 20))
        run.wait_for_acks(20)
    append(tmp_path / "app.log.1", [100])
    printed = run_verify(log)
    assert printed.code == EXIT_INCOMPLETE
    assert f"{len(log_line(100))} bytes of {tmp_path / 'app.log.1'} are not stored yet" in printed.out


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "replaced"])
def test_a_file_that_was_edited_is_not_taken_for_one_that_was_never_shipped(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed], in_place: bool
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
    edited = log.read_bytes().replace(b"line 3", b"edited")
    if in_place:
        log.write_bytes(edited)
    else:
        (tmp_path / ".app.log.swp").write_bytes(edited)
        (tmp_path / ".app.log.swp").rename(log)
    printed = run_verify(log)
    assert printed.code == EXIT_INCOMPLETE
    assert verdict_of(printed).startswith("changed since it was shipped at 20")
    assert "line 4" in printed.out, "heal's findings name the line"


def test_a_new_file_after_a_rotation_was_never_shipped(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
    log.rename(tmp_path / "app.log.1")
    append(log, range(10, 20))
    assert verdict_of(run_verify(log)).startswith("never shipped")


def test_a_state_folder_that_knows_nothing_is_named_and_so_is_another_one(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    shutil.copytree(tmp_path / "state", tmp_path / "logferry")
    printed = run_verify(log, words=("--state-dir", str(tmp_path / "empty")))
    knows = f"never shipped, as far as known to the state folder {tmp_path / 'empty'}, which knows no file at all"
    assert verdict_of(printed).startswith(knows)
    assert f"another one is {tmp_path / 'logferry'} (--state-dir)" in printed.out.replace("/var/lib/logferry and ", "")


def test_what_retention_deleted_is_counted_and_does_not_turn_the_verdict_red(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = append(tmp_path / "app.log", range(100))
    with running_server(tmp_path, segment_bytes=4096, retention_bytes=6000) as server:
        with following(log, server) as run:
            run.wait_for_acks(100)
            for number in range(100, 160, 10):
                append(log, range(number, number + 10))
                run.wait_for_acks(number + 10)
        words = (
            "--server-host",
            "127.0.0.1",
            "--server-port",
            str(server.port),
            "--state-dir",
            str(tmp_path / "state"),
        )
        wait_until(lambda: len(list(server.data_dir.glob("segments/**/*.ndjson"))) < 4, "retention has deleted some")
        capsys.readouterr()
        assert main(["verify", "--json", "--log-file", str(log), *words]) == EXIT_OK
    (found,) = json.loads(capsys.readouterr().out)
    expired = sum(piece["lines"] for piece in found["expired"])
    assert expired > 0
    assert (found["missing"], found["stored"] + expired) == ([], 160)


def test_e30_sources_are_listed_by_host_and_path_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule E30."""
    monkeypatch.setattr("logferry.server.storage.disk.integrity.source_report.SOURCES_PAGE", 2)
    host, path = "web-7", "/var/log/app.log"
    with running_server(tmp_path) as server, DeliveryClient(server, host=host) as client:
        for number in (1, 2, 3, 4):
            client.send(control_line("open", source=f"s{number}", path=path))
            client.answer()
        client.send(control_line("open", source="other", path="/var/log/other.log"))
        client.answer()
        after, found = "", []
        while True:
            client.send(control_line("sources", host=host, path=path, after=after))
            page = client.answer()
            found += [row[0] for row in page["sources"]]
            if not page["more"]:
                break
            after = found[-1]
    assert found == ["s1", "s2", "s3", "s4"]


def test_e30_sources_are_read_as_they_were_written() -> None:
    """Rule E30."""
    welcome = answer_line("hello", version=1, max_batch_bytes=5, durability="os")
    page = SourcesPage((NamedSource("s1", 9120, 125, 1_768_464_520_000),), has_more=True)
    answers = DeliveryClientProtocol().receive_data(
        welcome + answer_line("sources", sources=page.sources, more=page.has_more)
    )
    assert isinstance(answers[0], Welcome)
    assert answers[1] == page


def known_to_client(tmp_path: Path) -> KnownLosses:
    """Return what the client of `run_verify` knows to be lost."""
    (tmp_path / "state").mkdir(exist_ok=True)
    return KnownLosses(tmp_path / "state")


def test_a_loss_that_only_the_client_knows_shows_under_the_name_that_the_user_knows(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, gone = append(tmp_path / "app.log", range(10)), tmp_path / "gone.log"
    with following(log, server) as run:
        run.wait_for_acks(10)
    assert run_verify(log).code == EXIT_OK
    known = known_to_client(tmp_path)
    known.add_loss(str(log), "s0", 50, 90, "a shorter copy holds other bytes there")
    known.add_loss(str(gone), "", 0, 0, "written, and gone before it could be opened")
    known.close()
    printed = run_verify(log)
    assert printed.code == EXIT_INCOMPLETE
    assert re.search(r"an earlier file .* \(source s0, .*\): bytes 50 to 90 lost: a shorter copy holds", printed.out)
    printed = run_verify(tmp_path / "*.log")
    assert f"{gone}: an earlier file of this name (never opened, " in printed.out
    monkeypatch.chdir(tmp_path)
    assert run_verify(Path("app.log")).code == EXIT_INCOMPLETE
    assert run_verify(append(tmp_path / "another.log", [])).code == EXIT_OK
    main(["status", "--state-dir", str(tmp_path / "state"), "--acknowledge"])
    assert str(gone) not in run_verify(tmp_path / "*.log").out, "somebody has read that"
    assert run_verify(log).code == EXIT_INCOMPLETE, "it is still lost"


def test_a_loss_that_the_server_has_recorded_shows_once(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log, reason = append(tmp_path / "app.log", range(10)), "truncated before it was read"
    with following(log, server) as run:
        run.wait_for_acks(10)
    (source,) = Checkpoints(tmp_path / "state", read_only=True).known_ids()
    with DeliveryClient(server, host="web-7") as sender:
        sender.send(control_line("open", source="s1", path=str(log)))
        sender.answer()
        sender.send(control_line("skip", source="s1", start=0, end=50, reason=reason))
        sender.answer()
    known = known_to_client(tmp_path)
    known.add_loss(str(log), "s1", 0, 50, reason)
    known.close()
    words = ("--host", "web-7")
    assert run_verify(log, words=words).out.count("lost: ") == 1
    known.add_loss(str(log), source, 10, 20, reason)
    known.close()
    printed = run_verify(log, words=words)
    assert f"{log}: bytes 10 to 20 lost: {reason} (2 times, 60 bytes in all)" in printed.out
    renamed = log.rename(tmp_path / "app.log.1")
    assert "bytes 10 to 20 lost" in run_verify(renamed, words=words).out, "it is of this file, whatever its name"


@pytest.mark.parametrize("content", [b"{", b'{"version": 2}'])
def test_losses_that_nobody_can_read_make_every_verdict_doubtful_until_they_are_acknowledged(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed], content: bytes
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
    (tmp_path / "state" / FILE_NAME).write_bytes(content)
    printed = run_verify(log)
    assert (printed.code, verdict_of(printed)) == (EXIT_INCOMPLETE, "not proven: losses are not known any more")
    assert len(list(known_to_client(tmp_path))) == 1, "as the next run does"
    printed = run_verify(log)
    assert (printed.code, f"(kept as {FILE_NAME}.damaged)" in printed.out) == (EXIT_INCOMPLETE, True)
    assert main(["status", "--state-dir", str(tmp_path / "state"), "--acknowledge"]) == EXIT_INCOMPLETE, "it is stopped"
    assert run_verify(log).code == EXIT_OK


def test_losses_that_were_forgotten_make_every_verdict_doubtful(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with following(log, server) as run:
        run.wait_for_acks(10)
    known = known_to_client(tmp_path)
    for number in range(MAX_ENTRIES + 1):
        known.add_loss(f"/var/log/{number}.log", "s", 0, 1, "x")
    known.close()
    printed = run_verify(log, words=("--json",))
    (found,) = json.loads(printed.out)
    assert (printed.code, found["proven"], found["forgotten"]) == (EXIT_INCOMPLETE, False, [f"{FORGOTTEN}: 2"])
