"""No log file is deleted or moved unless all of it is proven to be stored."""

import errno
import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_OK, EXIT_USAGE
from logferry.cli.dispatch import main
from logferry.client.proof import retire as disposal
from logferry.client.proof.removal import folders_left_alone
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify
from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS, VERIFY_OPTIONS
from tests.support.fakes import FakeServer, ack_every_line
from tests.support.running import RunningServer
from tests.support.shipping import (
    Printed,
    append,
    assert_conserved,
    log_line,
    the_segment,
)

pytestmark = pytest.mark.usefixtures("quick_backoff", "logging_restored")


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing but the command line decide."""
    for option in (*SHIP_OPTIONS, *SERVE_OPTIONS, *VERIFY_OPTIONS):
        monkeypatch.delenv(option.env, raising=False)
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(tmp_path / "state"))


def flip(path: Path, position: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


Ship = Callable[..., Printed]


@pytest.fixture
def run_ship(capfd: pytest.CaptureFixture[str], server: RunningServer, tmp_path: Path) -> Ship:
    """Run `logferry ship` for app.log."""

    def run(*words: str, log: Path = tmp_path / "app.log") -> Printed:
        where = ("--server-host", "127.0.0.1", "--server-port", str(server.port))
        code = main(["ship", "--log-file", str(log), *where, *words])
        return Printed(code, *capfd.readouterr())

    return run


def test_a_file_is_deleted_after_it_is_proven(tmp_path: Path, server: RunningServer, run_ship: Ship) -> None:
    log = append(tmp_path / "app.log", range(100))
    assert run_ship("--delete-after").code == 0
    assert not log.exists()
    assert_conserved(range(100), server.stored_lines())


def test_a_file_is_moved_after_it_is_proven(tmp_path: Path, server: RunningServer, run_ship: Ship) -> None:
    log = append(tmp_path / "app.log", range(100))
    content = log.read_bytes()
    assert run_ship("--move-after", str(tmp_path / "done" / "today")).code == 0
    assert not log.exists()
    assert (tmp_path / "done" / "today" / "app.log").read_bytes() == content
    assert_conserved(range(100), server.stored_lines())


def test_without_being_asked_a_file_stays(tmp_path: Path, run_ship: Ship) -> None:
    log = append(tmp_path / "app.log", range(100))
    assert run_ship().code == 0
    assert log.exists()


def test_a_file_that_was_moved_before_is_not_overwritten(tmp_path: Path, run_ship: Ship) -> None:
    log = append(tmp_path / "app.log", range(100))
    yesterday = append(tmp_path / "app.log.old", range(5)).rename(_folder(tmp_path / "done") / "app.log")
    printed = run_ship("--move-after", str(tmp_path / "done"))
    assert printed.code == EXIT_INCOMPLETE
    assert f"{log} stays: {yesterday} already exists" in printed.err
    assert log.exists()
    assert yesterday.read_bytes() == b"".join(map(log_line, range(5)))


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_file_that_grew_stays(tmp_path: Path, run_ship: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    log = append(tmp_path / "app.log", range(100))
    real = disposal.dispose
    monkeypatch.setattr(
        "logferry.client.proof.retire.dispose",
        lambda path, settings, checkpoints: (append(log, [100]), real(path, settings, checkpoints))[1],
    )
    printed = run_ship("--delete-after")
    assert printed.code == EXIT_INCOMPLETE
    assert f"{log} stays: not all of it is proven to be stored (`logferry verify` shows the details)" in printed.err
    assert log.exists()


@pytest.mark.parametrize("how", ["appended", "rewritten", "another file"])
def test_a_file_that_changes_while_it_is_verified_stays(
    tmp_path: Path, run_ship: Ship, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    log = append(tmp_path / "app.log", range(100))
    data = log.read_bytes()

    def verify_slowly(*words: Any, **options: Any) -> Verdict:
        verdict = verify(*words, **options)
        if how == "another file":
            log.rename(tmp_path / "app.log.1")
        log.write_bytes(data + b"x\n" if how == "appended" else data.replace(b"line 1", b"line 2"))
        os.utime(log, (1, 1))  # two writes may come within one tick of the file system's clock
        return verdict

    monkeypatch.setattr(disposal, "verify", verify_slowly)
    printed = run_ship("--delete-after")
    assert printed.code == EXIT_INCOMPLETE
    assert f"{log} stays: it changed while it was verified" in printed.err
    assert log.exists()


def test_a_file_whose_segment_is_damaged_stays(
    tmp_path: Path, server: RunningServer, run_ship: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = append(tmp_path / "app.log", range(100))
    real = disposal.dispose

    def damage_then_dispose(*words: Any) -> list[str]:
        flip(the_segment(server), 40)
        return real(*words)

    monkeypatch.setattr("logferry.client.proof.retire.dispose", damage_then_dispose)
    printed = run_ship("--delete-after")
    assert printed.code == EXIT_INCOMPLETE
    assert "stays: not all of it is proven" in printed.err
    assert log.exists()


def test_a_file_with_a_cut_line_stays(tmp_path: Path, run_ship: Ship) -> None:
    log = append(tmp_path / "app.log", range(3))
    log.write_bytes(log.read_bytes() + b"x" * 5000 + b"\n")
    assert run_ship("--delete-after", "--max-line-bytes", "1000").code == EXIT_INCOMPLETE
    assert log.exists()


def test_a_file_stays_when_the_server_cannot_be_asked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = append(tmp_path / "app.log", range(3))
    with FakeServer(ack_every_line) as old:
        words = ["--server-host", "127.0.0.1", "--server-port", str(old.port), "--delete-after"]
        assert main(["ship", "--log-file", str(log), *words]) == EXIT_INCOMPLETE
    assert "does not speak the delivery extension" in capfd.readouterr().err
    assert log.exists()


class TestWhatPatternsLeftOut:
    """Seen: with INCLUDE=/usr/include in its environment, a client deleted a file of which it had shipped nothing."""

    @pytest.mark.parametrize("disposal", ["--delete-after", "--move-after=done"])
    @pytest.mark.parametrize("pattern", ["--exclude-line=line 1", "--include=line [02-9]"])
    def test_a_file_with_filtered_lines_stays(
        self, tmp_path: Path, server: RunningServer, run_ship: Ship, pattern: str, disposal: str
    ) -> None:
        log = append(tmp_path / "app.log", range(10))
        before = log.read_bytes()
        printed = run_ship(disposal, pattern)
        assert printed.code == EXIT_INCOMPLETE
        assert (
            f"{log} stays: 1 of its 10 lines were left out by --include or --exclude-line and are stored nowhere; "
            "--dispose-filtered disposes of such files too"
        ) in printed.err
        assert log.read_bytes() == before
        assert_conserved([0, *range(2, 10)], server.stored_lines())

    def test_it_goes_if_that_was_asked_for(self, tmp_path: Path, server: RunningServer, run_ship: Ship) -> None:
        log = append(tmp_path / "app.log", range(10))
        assert run_ship("--delete-after", "--dispose-filtered", "--exclude-line", "line 1").code == EXIT_OK
        assert not log.exists()
        assert_conserved([0, *range(2, 10)], server.stored_lines())

    @pytest.mark.parametrize("way", ["--include=/usr/include", "--exclude-line=INFO"])
    @pytest.mark.parametrize("asked", [(), ("--dispose-filtered",)], ids=["not asked", "asked"])
    def test_a_file_without_stored_lines_always_stays(
        self, tmp_path: Path, server: RunningServer, run_ship: Ship, way: str, asked: tuple[str, ...]
    ) -> None:
        log = append(tmp_path / "app.log", range(10))
        before = log.read_bytes()
        printed = run_ship("--delete-after", way, *asked)
        assert printed.code == EXIT_INCOMPLETE
        assert (
            f"{log} stays: nothing of it is stored: all of its 10 lines were left out by --include or --exclude-line"
        ) in printed.err
        assert log.read_bytes() == before
        assert server.stored_lines() == []

    def test_one_file_that_stays_does_not_keep_another(
        self, tmp_path: Path, server: RunningServer, run_ship: Ship
    ) -> None:
        """Conservation: each line is stored, or in a file that stayed."""
        kept = append(tmp_path / "app.log", range(10))
        gone = append(tmp_path / "other.log", range(10, 20))
        printed = run_ship("--log-file", str(gone), "--delete-after", "--exclude-line", "line 3$")
        assert printed.code == EXIT_INCOMPLETE
        assert next(line for line in printed.err.splitlines() if " stays: " in line).startswith(
            f"logferry: {kept} stays"
        )
        assert (kept.exists(), gone.exists()) == (True, False)
        assert_conserved([*range(3), *range(4, 20)], server.stored_lines())

    @pytest.mark.parametrize("content", [b"", b"\n \n\n"], ids=["empty", "blank"])
    def test_a_file_without_lines_goes(self, tmp_path: Path, run_ship: Ship, content: bytes) -> None:
        log = tmp_path / "app.log"
        log.write_bytes(content)
        assert run_ship("--delete-after").code == EXIT_OK
        assert not log.exists()

    def test_what_an_earlier_run_left_out_counts_too(
        self, tmp_path: Path, server: RunningServer, run_ship: Ship
    ) -> None:
        log = append(tmp_path / "app.log", range(5))
        assert run_ship("--exclude-line", "line 3").code == EXIT_OK
        append(log, range(5, 10))
        printed = run_ship("--resume", "--delete-after")
        assert printed.code == EXIT_INCOMPLETE
        assert "stays: 1 of its 10 lines were left out" in printed.err
        assert log.exists()
        assert_conserved([*range(3), *range(4, 10)], server.stored_lines())


CONFLICTS = [
    (("--delete-after", "--mode", "continuous"), "--delete-after is for batch mode"),
    (("--move-after", "done", "--mode", "continuous"), "--move-after is for batch mode"),
    (("--delete-after", "--ack", "line"), "--delete-after needs --ack auto"),
    (("--move-after", "done", "--ack", "none"), "--move-after needs --ack auto"),
    (("--delete-after", "--move-after", "done"), "cannot be used together"),
]


@pytest.mark.parametrize(("words", "sentence"), CONFLICTS)
def test_settings_under_which_nothing_could_be_proven_are_refused(
    tmp_path: Path, run_ship: Ship, words: tuple[str, ...], sentence: str
) -> None:
    log = append(tmp_path / "app.log", range(3))
    printed = run_ship(*words)
    assert printed.code == EXIT_USAGE
    assert sentence in printed.err
    assert log.exists()


# --- what the owner of a folder can exchange meanwhile ----------------------------------------------------------------

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be led to files of other users")


def exchanging(monkeypatch: pytest.MonkeyPatch, exchange: Callable[[], object]) -> None:
    """Call `exchange` when the file is verified, and before it is removed."""

    def verify_then_exchange(*words: Any, **options: Any) -> Verdict:
        verdict = verify(*words, **options)
        exchange()
        return verdict

    monkeypatch.setattr(disposal, "verify", verify_then_exchange)


@pytest.mark.parametrize("disposal_word", ["--delete-after", "--move-after"])
def test_a_folder_exchanged_for_a_link_does_not_lead_to_other_files(
    tmp_path: Path, run_ship: Ship, monkeypatch: pytest.MonkeyPatch, disposal_word: str
) -> None:
    """Seen: --delete-after deleted a file of the folder that a link, put in place of the log's folder, led to."""
    folder, victim = _folder(tmp_path / "logs"), append(_folder(tmp_path / "etc") / "app.log", range(7))
    log = append(folder / "app.log", range(5))

    def exchange() -> None:
        folder.rename(tmp_path / "aside")
        folder.symlink_to(tmp_path / "etc")

    exchanging(monkeypatch, exchange)
    words = (disposal_word, *((str(tmp_path / "done"),) if disposal_word == "--move-after" else ()))
    printed = run_ship(*words, log=log)
    assert printed.code == EXIT_OK
    assert not list((tmp_path / "aside").iterdir()), "the file itself is gone, wherever its folder is by now"
    assert victim.read_bytes() == b"".join(map(log_line, range(7)))


def test_a_file_exchanged_for_a_link_stays(tmp_path: Path, run_ship: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    log, other = append(tmp_path / "app.log", range(5)), append(tmp_path / "other", range(5))

    def exchange() -> None:
        log.unlink()
        log.symlink_to(other)

    exchanging(monkeypatch, exchange)
    printed = run_ship("--delete-after")
    assert printed.code == EXIT_INCOMPLETE
    assert f"{log} stays: it is a link" in printed.err
    assert log.is_symlink()
    assert other.exists()


@as_root
@pytest.mark.parametrize(
    ("owner", "mode", "who"),
    [
        (12_345, 0o755, "user 12345"),
        (0, 0o777, "everybody"),
        (0, 0o775, "group 12345"),
    ],
)
def test_root_removes_nothing_from_a_folder_that_others_may_change(
    tmp_path: Path, run_ship: Ship, capfd: pytest.CaptureFixture[str], owner: int, mode: int, who: str
) -> None:
    log = append(_folder(tmp_path / "logs") / "app.log", range(5))
    os.chown(log.parent, owner, 12_345)
    log.parent.chmod(mode)
    printed = run_ship("--delete-after", log=log)
    assert printed.code == EXIT_INCOMPLETE
    assert f"{log} stays: {who} may change its folder and exchange the file for another one meanwhile" in printed.err
    assert printed.err.count(f"nothing in {log.parent} will be deleted or moved: {who} may change it") == 1
    assert printed.err.index("nothing in") < printed.err.index(f"{log} stays")
    assert main(["check-config", "--log-file", str(log), "--delete-after"]) == EXIT_OK
    assert f"warning  nothing in {log.parent} will be deleted or moved: {who} may" in capfd.readouterr().out
    assert log.exists()


@as_root
def test_who_may_change_a_folder_is_named(tmp_path: Path) -> None:
    """Ubuntu's /var/log belongs to root and the group syslog, whose members may write to it."""
    folder, group = _folder(tmp_path / "logs"), grp.getgrall()[-1]
    user = pwd.getpwall()[-1]
    os.chown(folder, 0, group.gr_gid)
    folder.chmod(0o775)
    (of_group,) = folders_left_alone([folder / "a.log", folder / "b.log"])
    assert f"group {group.gr_name} may change it" in of_group
    assert of_group.endswith(
        "run this client as a user of that group, or protect the folder (`chmod g-w` or `chmod +t`)"
    )
    os.chown(folder, user.pw_uid, group.gr_gid)
    assert f"user {user.pw_name} may change it" in folders_left_alone([folder / "a.log"])[0]


@as_root
def test_a_folder_with_the_sticky_bit_is_safe(tmp_path: Path, run_ship: Ship) -> None:
    """Only the owner of a file can rename or delete it there."""
    log = append(_folder(tmp_path / "logs") / "app.log", range(5))
    log.parent.chmod(0o1777)
    assert run_ship("--delete-after", log=log).code == EXIT_OK
    assert not log.exists()


@as_root
def test_root_moves_nothing_into_a_folder_that_others_may_change(tmp_path: Path, run_ship: Ship) -> None:
    log, done = append(tmp_path / "app.log", range(5)), _folder(tmp_path / "done")
    done.chmod(0o777)
    printed = run_ship("--move-after", str(done / "today"))
    assert printed.code == EXIT_INCOMPLETE
    assert "everybody may change" in printed.err
    assert log.exists()
    assert not list(done.iterdir())


def test_a_file_is_copied_to_another_device_and_removed(
    tmp_path: Path, run_ship: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was: content, mode and time."""

    def refuse(*_words: object, **_options: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    log = append(tmp_path / "app.log", range(100))
    log.chmod(0o640)
    content, status = log.read_bytes(), log.stat()
    assert run_ship("--move-after", str(tmp_path / "done")).code == EXIT_OK
    moved = tmp_path / "done" / "app.log"
    assert moved.read_bytes() == content
    assert (moved.stat().st_mode, moved.stat().st_mtime_ns) == (status.st_mode, status.st_mtime_ns)
    assert not log.exists()
