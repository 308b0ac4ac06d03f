"""Whatever names, reasons and lines contain: nothing that a command prints controls a terminal or forges a line.

Every command is driven with names full of control, bidirectional and undecodable characters.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from logferry.cli.commands import COMMANDS
from logferry.cli.dispatch import main
from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS, VERIFY_OPTIONS
from logferry.server.storage.disk.disk_store import DiskStore
from tests.support.fakes import FakeServer, refuse
from tests.support.running import RunningServer, running_server
from tests.support.shipping import append

pytestmark = pytest.mark.usefixtures("quick_backoff", "logging_restored")

# A newline that forges a line, an escape sequence, C1 controls, DEL, bidirectional controls, a separator, a tag, a byte
# that is not UTF-8 (as Python decodes it), and a quote.
HOSTILE = "x\n2026-01-01 000000 INFO forged\r\x1b[31m\x07\x9b\x7f\u202e\u2066\u2028\U000e0041\udcff'\"\\"

Run = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for option in (*SHIP_OPTIONS, *SERVE_OPTIONS, *VERIFY_OPTIONS):
        monkeypatch.delenv(option.env, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command; check all that it prints, and return its exit code and its output."""

    def run_and_check(*words: str | Path) -> tuple[int, str]:
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert_harmless(out)
        assert_harmless(err)
        return code, out

    return run_and_check


def assert_harmless(text: str) -> None:
    """Check that a text has no character but printable ones and newlines, and no line that a name has begun."""
    for line in text.split("\n"):
        assert line.isprintable(), line
        assert not line.startswith("2026-01-01 000000"), line
    assert all(byte >= 0x20 or byte == 0x0A for byte in text.encode("utf-8", "surrogateescape"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a hostile name."""
    path = tmp_path / HOSTILE
    path.mkdir()
    return path


def address(server: RunningServer | FakeServer) -> tuple[str, ...]:
    """Return the words that name a server."""
    return "--server-host", "127.0.0.1", "--server-port", str(server.port)


def test_every_command_is_tried() -> None:
    """A new command must be added here."""
    named = {"ship", "serve", "verify", "repair", "fsck", "status", "check-config", "token", "try"}
    named |= {"logs", "stats", "hosts", "explain", "sql", "console", "help"}
    assert set(COMMANDS) - {"demo"} == named


def test_a_token_for_a_client_with_a_hostile_name(run: Run, folder: Path) -> None:
    assert run("token", "new", "--name", HOSTILE)[0] == 2
    assert run("token", HOSTILE)[0] == 2
    words = ("token", "new", "--name", "web", "--token-file", folder / f"{HOSTILE}.token")
    assert run(*words)[0] == 0
    assert run(*words)[0] == 1


def test_the_way_of_a_file_with_a_hostile_name(run: Run, folder: Path) -> None:
    log, missing, state = append(folder / f"{HOSTILE}.log", range(5)), folder / "missing.log", folder / "state"
    where = ("--state-dir", state, "--log-file", log, "--log-file", missing)
    with running_server(folder) as server:
        assert run("ship", *where, *address(server), "--add-path", "--move-after", folder / "done")[0] == 0
        append(log, [7])
        for word in ("--again", "--delete-after", "--field=k=v"):
            run("ship", *where, *address(server), word)
        append(log, range(5))
        run("ship", *where[:4], *address(server))
        log.write_bytes(log.read_bytes().replace(b"line 1", b"line \x1b[31m"))
        for words in (("verify",), ("verify", "--show"), ("repair",)):
            run(*words, *where, *address(server))
            assert json.loads(run(*words, "--json", *where, *address(server))[1])
    for words in (("status", "--all"), ("status", "--acknowledge")):
        run(*words, "--state-dir", state)
    status = json.loads(run("status", "--state-dir", state, "--json")[1])
    assert "forged" in status["client"]["state_dir"]
    run("fsck", "--data-dir", folder / "data")
    for form in ("text", "json"):
        assert run("logs", "--data-dir", folder / "data", "--output", form, "-C", "1", "--text", "line")[0] == 0
    assert run("logs", "--data-dir", folder / "data", "--file", "absent")[0] == 1
    assert json.loads(run("fsck", "--json", "--data-dir", folder / "data")[1])


def test_folders_and_files_that_are_not_there(run: Run, folder: Path) -> None:
    for words in (
        ("status", "--state-dir", folder / "none"),
        ("fsck", "--data-dir", folder / "none"),
        ("logs", "--data-dir", folder / "none"),
        ("serve", "--data-dir", folder / "file" / "data"),
        ("ship", "--config", folder / "none.toml"),
        ("check-config", "--serve", "--data-dir", folder / "file" / "data"),
    ):
        (folder / "file").touch()
        assert run(*words)[0] != 0


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "demo"])
def test_words_and_variables_that_are_not_understood(run: Run, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # For a file, a host, a text or a query.
    takes_it = command in ("try", "verify", "repair", "logs", "stats", "hosts", "explain", "sql")
    code = 3 if command == "ship" else 1 if takes_it else 2  # ship: there is no such file
    assert run(command, HOSTILE)[0] == code
    assert run(command, f"--{HOSTILE}")[0] == 2
    assert run(command, "--log-level", HOSTILE)[0] == 2
    monkeypatch.setenv(os.fsdecode(b"LOGFERRY_\x1b[31m\n\xff"), HOSTILE)
    assert run(command)[0] == (0 if command == "help" else 2)


@pytest.mark.parametrize("option", sorted({option.flag for option in SHIP_OPTIONS}))
def test_values_that_are_not_understood(run: Run, option: str, folder: Path) -> None:
    """Each option of a client; what is a valid value is shown by check-config."""
    run("check-config", "--state-dir", folder, "--log-file", folder, f"{option}={HOSTILE}")


@pytest.mark.parametrize("option", sorted({option.flag for option in SERVE_OPTIONS}))
def test_values_of_a_server_that_are_not_understood(run: Run, option: str, folder: Path) -> None:
    run("check-config", "--serve", "--data-dir", folder, f"{option}={HOSTILE}")


@pytest.mark.parametrize(
    "content",
    [
        "\x1b[31m = 1",
        '"\\u001b[31m\\u202e" = 1',
        'log_level = "\\u001b[31m\\n2026-01-01 000000 INFO"',
        '[[input]]\nlog_file = ["\\u001b\\u009b"]\nformat = "\\u001b"',
        '["\\u001b"]\na = 1',
    ],
)
def test_a_configuration_file_with_hostile_content(run: Run, folder: Path, content: str) -> None:
    (folder / "config.toml").write_text(content, encoding="utf-8")
    for words in (("check-config",), ("check-config", "--serve"), ("ship",), ("fsck",)):
        assert run(*words, "--config", folder / "config.toml")[0] == 2


def test_a_server_whose_reasons_are_hostile(run: Run, folder: Path) -> None:
    """The reason of a refusal, and an answer that is not one."""
    log, state = append(folder / "app.log", range(3)), folder / "state"
    with FakeServer(refuse(lambda _: True, reason=HOSTILE * 20)) as server:
        run("ship", "--state-dir", state, "--log-file", log, *address(server), "--ack", "line", "--max-attempts", "1")
        run("status", "--state-dir", state)
    with FakeServer(lambda talk: talk.say(HOSTILE.encode("utf-8", "surrogateescape") + b"\n")) as server:
        run("ship", "--state-dir", state, "--log-file", log, *address(server), "--max-attempts", "1")
        run("status", "--state-dir", state)
        for command in ("verify", "repair"):
            run(command, "--state-dir", state, "--log-file", log, *address(server))


def test_a_store_that_fails_with_a_hostile_sentence(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the system may hold a path."""

    def fail(*_: object, **_options: object) -> None:
        raise OSError(5, HOSTILE, HOSTILE)

    monkeypatch.setattr(DiskStore, "open", fail)
    assert run("serve", "--data-dir", tmp_path)[0] == 1
