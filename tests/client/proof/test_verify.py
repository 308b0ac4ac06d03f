"""`logferry verify` tells the truth."""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.client.verify import verdicts_as_table
from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_NOT_DELIVERED, EXIT_USAGE
from logferry.cli.dispatch import main
from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS, VERIFY_OPTIONS
from logferry.errors import PeerTimeout, ProtocolError, Unreachable
from logferry.protocol.messages.reports import RecordedLoss
from logferry.protocol.messages.writing import control_line
from tests.support.delivery import DeliveryClient
from tests.support.fakes import FakeServer, Script, ack_every_line, never_read
from tests.support.processes import free_port
from tests.support.running import RunningServer, numbered_line, running_server, wait_until
from tests.support.shipping import Printed, append, assert_conserved, log_line, losses, once, shipping, the_segment

pytestmark = pytest.mark.usefixtures("quick_backoff", "logging_restored")

LINE = len(log_line(0))


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing but the command line decide."""
    for option in (*SHIP_OPTIONS, *SERVE_OPTIONS, *VERIFY_OPTIONS):
        monkeypatch.delenv(option.env, raising=False)
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(tmp_path / "state"))


def deliver(log: Path, server: RunningServer, **changes: Any) -> None:
    """Ship a log file, exactly once."""
    with shipping(log, server.port, **{"ack": "auto", "state_dir": log.parent / "state", **changes}) as run:
        run.result()


def judge(log: Path, server: RunningServer) -> Verdict:
    """Verify one file, in this process."""
    checkpoints = Checkpoints(log.parent / "state", read_only=True)
    reports = ReportClient(
        Endpoint(server.host, server.port),
        client_id=checkpoints.client_id,
        client_host="test",
        connect_timeout_s=5,
        answer_timeout_s=5,
    )
    try:
        return verify(log, checkpoints, reports)
    finally:
        reports.close()


@pytest.fixture
def run_verify(capfd: pytest.CaptureFixture[str], server: RunningServer) -> Callable[..., Printed]:
    """Run `logferry verify`. The server of the test is in this process and logs on the same stderr, at info."""

    def run(*files: Path, words: tuple[str, ...] = (), port: int = 0) -> Printed:
        capfd.readouterr()
        names = [word for file in files for word in ("--log-file", str(file))]
        where = ("--server-host", "127.0.0.1", "--server-port", str(port or server.port))
        return Printed(main(["verify", "--log-level", "warning", *names, *where, *words]), *capfd.readouterr())

    return run


# --- all there --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"compress": True, "resilient": True}], ids=["basic", "resilient-gzip"])
def test_a_file_that_is_there_once_is_proven(tmp_path: Path, server: RunningServer, settings: dict[str, Any]) -> None:
    log = append(tmp_path / "app.log", range(1000))
    deliver(log, server, **settings)
    assert judge(log, server) == Verdict(
        str(log), next(iter(Checkpoints(tmp_path / "state", read_only=True))).id, lines=1000, stored=1000
    )


def test_the_table_says_so_and_the_exit_code_is_0(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(1000))
    deliver(log, server)
    printed = run_verify(log)
    assert printed.code == 0
    header, row = printed.out.splitlines()
    assert header.split() == ["file", "lines", "stored", "missing", "repeated", "altered", "lost", "expired", "verdict"]
    assert re.split(r"  +", row) == [str(log), "1000", "1000", "0", "0", "0", "0", "0", "all there, once"]
    assert printed.err == ""


def test_what_other_sources_of_the_same_name_have_stored_is_counted(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log, other = append(tmp_path / "app.log", range(10)), append(tmp_path / "other.log", range(10))
    for again in range(3):
        deliver(log, server, resume=False)
        deliver(other, server)
        printed = run_verify(log, other)
        rows = [re.split(r"  +", row)[1:] for row in printed.out.splitlines()[1:]]
        expected = "all there, once" if not again else f"stored {again + 1} times"
        assert rows[0] == ["10", "10", "0", str(10 * again), "0", "0", "0", expected]
        assert rows[1] == ["10", "10", "0", "0", "0", "0", "0", "all there, once"]
        assert printed.code == (EXIT_INCOMPLETE if again else 0)
    assert_conserved(range(10), server.stored_lines(), retried=30)
    (found,) = json.loads(run_verify(log, words=("--json",)).out)
    assert (found["times_stored"], found["repeated"], found["proven"]) == (3, 20, False)
    append(log, range(10, 11))
    deliver(log, server)
    assert "all there, but 20 lines more than once" in run_verify(log).out


def test_the_source_that_the_server_knows_is_compared_although_another_server_got_a_later_one(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    deliver(log, server)
    with running_server(tmp_path / "other") as other:
        deliver(log, other, resume=False)
        assert run_verify(log, port=other.port).out.splitlines()[1].endswith("all there, once")
    printed = run_verify(log)
    assert (printed.code, printed.out.splitlines()[1].endswith("all there, once")) == (0, True)


def test_a_copy_that_the_state_folder_does_not_know_is_counted_too(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    deliver(log, server, state_dir=tmp_path / "lost")
    deliver(log, server)
    printed = run_verify(log)
    assert printed.code == EXIT_INCOMPLETE
    assert printed.out.splitlines()[1].endswith("stored 2 times")
    assert_conserved(range(10), server.stored_lines(), retried=10)


def test_json_says_the_same(tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]) -> None:
    log = append(tmp_path / "app.log", range(10))
    deliver(log, server)
    append(log, range(10, 12))
    printed = run_verify(log, words=("--json",))
    (found,) = json.loads(printed.out)
    assert printed.code == EXIT_INCOMPLETE
    assert found["proven"] is False
    assert (found["lines"], found["stored"]) == (12, 10)
    size = log.stat().st_size
    where = {"start": size - 2 * (LINE + 1), "end": size, "lines": 2, "first_line": 11, "last_line": 12}
    assert found["missing"] == [{**where, "reason": "not shipped yet"}]


ODD = b"\xef\xbb\xbf2024-01-15 08:23:45 INFO a\r\n\r\n\n \n\xff\xfe\n\x00\n" + b"x" * 300_000 + b"\nno newline"


def test_odd_bytes_blank_lines_and_an_unfinished_last_line_are_proven(tmp_path: Path, server: RunningServer) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(ODD)
    deliver(log, server)
    verdict = judge(log, server)
    assert verdict.is_proven
    assert verdict.lines == verdict.stored == 4
    assert verdict.nuls == 1


def test_a_large_file_in_many_extents_is_proven_and_damage_is_found_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.server.storage.admission.EXTENT_BYTES", 4096)
    monkeypatch.setattr("logferry.server.storage.disk.integrity.source_report.REPORT_PAGE", 10)
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", 8192)
    log = append(tmp_path / "app.log", range(20_000))
    assert log.stat().st_size > 300_000
    with running_server(tmp_path, segment_bytes=100_000) as server:
        deliver(log, server)
        verdict = judge(log, server)
        assert verdict.is_proven
        assert verdict.stored == 20_000
        segments = sorted(server.data_dir.glob("segments/**/*.ndjson"), key=lambda path: (len(path.name), path.name))
        assert len(segments) > 5
        flip(segments[3], 50_000)
        segments[5].unlink()
        verdict = judge(log, server)
    (altered,) = verdict.altered
    assert altered.end - altered.start < 20_000
    assert {piece.reason for piece in verdict.missing} == {
        f"the server's segment is gone ({segments[5].relative_to(server.data_dir / 'segments')})"
    }
    assert verdict.lines == 20_000
    gone = sum(piece.lines for piece in verdict.missing)
    assert verdict.stored == 20_000 - altered.lines - gone
    assert gone > 500


# --- what is not as it was --------------------------------------------------------------------------------------------


def flip(path: Path, position: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def remove_a_line(path: Path) -> None:
    """Remove the second line of a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a line is removed": (remove_a_line, "altered: changed on the server's disk"),
    "a byte is flipped": (lambda path: flip(path, 500), "altered: changed on the server's disk"),
    "a line is repeated": (lambda path: path.write_bytes(path.read_bytes()[:76] + path.read_bytes()), "altered"),
    "it is cut": (lambda path: os.truncate(path, path.stat().st_size - 1), "altered: changed on the server's disk"),
    "it is deleted": (lambda path: path.unlink(), "missing: the server's segment is gone"),
    "it is emptied": (lambda path: os.truncate(path, 0), "altered: changed on the server's disk"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_to_a_segment_is_found(
    tmp_path: Path,
    server: RunningServer,
    run_verify: Callable[..., Printed],
    damage: Callable[[Path], object],
    words: str,
) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server)
    damage(the_segment(server))
    printed = run_verify(log)
    assert printed.code == EXIT_INCOMPLETE
    assert "NOT all there" in printed.out
    assert f"bytes 0 to {log.stat().st_size} (lines 1 to 100) {words}" in printed.out


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: replace_in(b"line 41", b"lime 41")(path), "line 42: the file and the server differ"),
        (remove_a_line, "line 2: only in the file"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x\n"), ""),
        (lambda path: os.truncate(path, path.stat().st_size // 2 - 10), "lines 51 to 100: only in the file"),
    ],
    ids=["altered", "missing", "more behind the end", "cut"],
)
def test_a_damaged_segment_is_named_to_the_line(
    tmp_path: Path,
    server: RunningServer,
    run_verify: Callable[..., Printed],
    damage: Callable[[Path], object],
    words: str,
) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server)
    damage(the_segment(server))
    printed = run_verify(log)
    assert words in printed.out
    assert "expected" not in printed.out


def test_show_adds_what_was_expected_and_what_was_found(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server)
    replace_in(b"line 41", b"\x1b[1m41")(the_segment(server))
    printed = run_verify(log, words=("--show",))
    expected, found = printed.out.splitlines()[-2:]
    assert expected.endswith(numbered_line(41).decode().rstrip())
    assert "expected:" in expected
    assert found.endswith(r'"message": "\x1b[1m41", "timestamp": "2024-01-15 08:23:45"}')
    (verdict,) = json.loads(run_verify(log, words=("--show", "--json")).out)
    (wrong,) = verdict["wrong_lines"]
    assert (wrong["kind"], wrong["first"], wrong["last"]) == ("altered", 42, 42)
    assert wrong["expected"] == numbered_line(41).decode().rstrip()


def test_a_line_removed_from_a_segment_of_many_extents_is_the_only_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_verify: Callable[..., Printed], server: RunningServer
) -> None:
    """All extents behind the line have moved, and are compared together."""
    monkeypatch.setattr("logferry.server.storage.admission.EXTENT_BYTES", 4096)
    monkeypatch.setattr("logferry.client.files.lines.line_reader.CHUNK_BYTES", 8192)
    log = append(tmp_path / "app.log", range(2000))
    deliver(log, server)
    remove_a_line(the_segment(server))
    verdict = judge(log, server)
    assert len(verdict.altered) > 5
    assert [(wrong.kind, wrong.first, wrong.last) for wrong in verdict.wrong_lines] == [("missing", 2, 2)]


def replace_in(old: bytes, new: bytes) -> Callable[[Path], object]:
    """Return a change of a file in place."""
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new, 1))


CHANGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "same length": (replace_in(b"line 50", b"LINE 50"), "altered: the file has changed since it was shipped"),
    "same length, at its beginning": (replace_in(b"line 0", b"LINE 0"), "altered: the file has changed"),
    "same length, at its end": (replace_in(b"line 99", b"LINE 99"), "altered: the file has changed"),
    "two lines swapped": (replace_in(b"line 51", b"line 50"), "altered: the file has changed"),
    "shortened": (lambda path: os.truncate(path, 50 * LINE), "altered: the file has changed"),
    "emptied": (lambda path: os.truncate(path, 0), "altered: the file has changed"),
    "appended": (lambda path: append(path, [100]), "missing: not shipped yet"),
    "appended without newline": (lambda path: path.write_bytes(path.read_bytes() + b"x"), "missing: not shipped yet"),
    "a line inserted": (replace_in(log_line(5), log_line(5) + log_line(5)), "altered: the file has changed"),
}


@pytest.mark.parametrize(("change", "words"), CHANGED.values(), ids=CHANGED.keys())
def test_a_change_of_the_file_after_it_was_shipped_is_found(
    tmp_path: Path,
    server: RunningServer,
    run_verify: Callable[..., Printed],
    change: Callable[[Path], object],
    words: str,
) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server)
    change(log)
    printed = run_verify(log)
    assert printed.code == EXIT_INCOMPLETE
    assert words in printed.out


def test_several_files_are_judged_one_by_one(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    good, bad, unknown = (append(tmp_path / name, range(10)) for name in ("good.log", "bad.log", "unknown.log"))
    deliver(good, server)
    deliver(bad, server)
    replace_in(b"line 3", b"LINE 3")(bad)
    printed = run_verify(good, bad, unknown, tmp_path / "gone.log")
    rows = [re.split(r"  +", row) for row in printed.out.splitlines()[1:5]]
    good_verdict, changed, never_shipped, gone = (row[-1] for row in rows)
    assert good_verdict == "all there, once"
    assert re.fullmatch(r"changed since it was shipped at 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", changed)
    assert never_shipped.startswith(f"never shipped, as far as known to the state folder {tmp_path / 'state'}")
    assert gone == "no such file"
    assert printed.code == EXIT_INCOMPLETE
    assert run_verify(good, good).code == 0


def test_an_empty_file_is_all_there(tmp_path: Path, server: RunningServer) -> None:
    log = tmp_path / "app.log"
    log.touch()
    deliver(log, server)
    assert judge(log, server).is_proven
    with closing(sqlite3.connect(server.data_dir / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("DELETE FROM sources")  # a server forgets a source that never got a line
    assert judge(log, server).is_proven
    append(log, range(1))
    assert not judge(log, server).is_proven


def test_after_a_rotation_both_files_are_proven_under_their_new_names(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(100))
    with shipping(log, server.port, ack="auto", state_dir=tmp_path / "state", mode="continuous") as run:
        run.wait_for_acks(100)
        log.rename(tmp_path / "app.log.1")
        append(log, range(100, 150))
        run.wait_for_acks(150)
    assert [judge(path, server).stored for path in (log, tmp_path / "app.log.1")] == [50, 100]
    assert judge(log, server).is_proven
    assert judge(tmp_path / "app.log.1", server).is_proven


def test_a_copy_of_a_shipped_file_was_never_shipped(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server)
    shutil.copy(log, tmp_path / "copy.log")
    assert "never shipped" in judge(tmp_path / "copy.log", server).problem


def test_a_source_that_the_server_does_not_know_is_reported(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(100))
    deliver(log, server)
    with running_server(tmp_path, data_dir=tmp_path / "other") as other:
        had = "another store: store [0-9a-f]+ had [0-9]+ bytes of this source on .*"
        assert re.fullmatch(f"the server has never heard of source [0-9a-f]+: {had}", judge(log, other).problem)


def test_lines_that_were_lost_are_shown_with_their_reason_and_not_as_missing(
    tmp_path: Path, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(3))
    start = log.stat().st_size
    long = b"2024-01-15 08:23:45 INFO " + b"x" * 3000 + b"\n"
    log.write_bytes(log.read_bytes() + long + long)
    append(log, range(3, 6))
    with running_server(tmp_path, data_dir=tmp_path / "strict", max_record_bytes=1024) as server:
        deliver(log, server)
        printed = run_verify(log, port=server.port)
        verdict = judge(log, server)
    assert printed.code == EXIT_INCOMPLETE
    assert f"bytes {start} to {start + len(long)} lost: refused by the server: more than 1024 bytes" in printed.out
    assert (verdict.lines, verdict.stored, len(verdict.losses), verdict.missing) == (8, 6, 2, [])


def test_a_line_that_was_cut_is_shown_although_it_is_stored(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(3))
    log.write_bytes(log.read_bytes() + b"x" * 2_000_000 + b"\n")
    append(log, range(3, 6))
    deliver(log, server)
    verdict = judge(log, server)
    assert (verdict.lines, verdict.stored) == (7, 7)
    assert [loss.reason for loss in verdict.losses] == ["cut after 1048576 bytes"]
    assert not verdict.is_proven


def test_what_start_at_end_passed_over_is_shown(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(10))
    size = log.stat().st_size
    with shipping(log, server.port, **once(tmp_path, mode="continuous", start_at="end")) as run:
        wait_until(lambda: losses(server), "the server knows")
        append(log, [10])
        run.wait_for_acks(1)
    verdict = judge(log, server)
    assert verdict.skipped == [RecordedLoss(0, size, "not asked for (--start-at end)")]
    assert (verdict.lines, verdict.stored, verdict.missing, verdict.losses) == (11, 1, [], [])
    assert verdict.is_proven
    assert "all there, once, but for what was skipped" in verdicts_as_table([verdict])


def test_what_only_the_server_calls_skipped_is_lost(tmp_path: Path, server: RunningServer) -> None:
    log = append(tmp_path / "app.log", range(10))
    deliver(log, server)
    shipped = log.stat().st_size
    checkpoints = Checkpoints(tmp_path / "state", read_only=True)
    (checkpoint,) = checkpoints
    with DeliveryClient(server, client=checkpoints.client_id, source=checkpoint.id) as client:
        fields = {"start": shipped, "end": shipped + LINE, "reason": "it says"}
        client.send(control_line("skip", source=checkpoint.id, **fields, lost=False))
        client.answer_after_alive()
    append(log, [10])
    verdict = judge(log, server)
    assert verdict.losses == [RecordedLoss(shipped, shipped + LINE, "it says")]
    assert verdict.skipped == []
    assert not verdict.is_proven


def test_a_file_is_verified_while_the_client_follows_it(
    tmp_path: Path, server: RunningServer, run_verify: Callable[..., Printed]
) -> None:
    """The lock of the state folder is the client's, and stays so."""
    log = append(tmp_path / "app.log", range(100))
    with shipping(log, server.port, ack="auto", state_dir=tmp_path / "state", mode="continuous") as run:
        run.wait_for_acks(100)
        assert run_verify(log).code == 0
        append(log, range(100, 200))
        run.wait_for_acks(200)
        assert run_verify(log).code == 0
    assert_conserved(range(200), server.stored_lines())


# --- who does not answer ----------------------------------------------------------------------------------------------


def test_a_server_that_is_away_is_exit_code_1(tmp_path: Path, run_verify: Callable[..., Printed]) -> None:
    log = append(tmp_path / "app.log", range(10))
    printed = run_verify(log, port=free_port())
    assert printed.code == EXIT_NOT_DELIVERED
    assert printed.err.startswith("logferry verify: cannot connect to 127.0.0.1:")
    assert len(printed.err.splitlines()) == 1


def test_a_server_without_the_extension_cannot_prove_anything(
    tmp_path: Path, run_verify: Callable[..., Printed]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with FakeServer(ack_every_line) as old:
        printed = run_verify(log, port=old.port)
    assert printed.code == EXIT_NOT_DELIVERED
    assert "does not speak the delivery extension, so it cannot prove anything" in printed.err


SILENT: dict[str, tuple[Script, type[Exception]]] = {
    "says nothing": (never_read, PeerTimeout),
    "speaks HTTP": (lambda talk: talk.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ProtocolError),
}


@pytest.mark.parametrize(("script", "error"), SILENT.values(), ids=SILENT.keys())
def test_an_enquiry_never_waits_for_ever(script: Script, error: type[Exception]) -> None:
    with FakeServer(script) as fake, pytest.raises(error):
        ReportClient(
            Endpoint(fake.host, fake.port), client_id="c", client_host="test", connect_timeout_s=1, answer_timeout_s=0.1
        )
    with pytest.raises(Unreachable):
        ReportClient(
            Endpoint("127.0.0.1", free_port()),
            client_id="c",
            client_host="test",
            connect_timeout_s=1,
            answer_timeout_s=0.1,
        )


def test_mistakes_are_exit_code_2(run_verify: Callable[..., Printed]) -> None:
    assert run_verify(words=("--no-such-option",)).code == EXIT_USAGE
