"""The command line: help, version, and mistakes, which are reported on stderr with exit code 2 and no traceback."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from logferry import __version__
from logferry.cli.dispatch import main
from logferry.client.run import Outcome
from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS, ShipSettings
from logferry.errors import SourceError
from logferry.telemetry.metrics import Metrics
from tests.support.shipping import append

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    """Run `logferry` in this process, with no settings in its environment."""
    for option in (*SHIP_OPTIONS, *SERVE_OPTIONS):
        monkeypatch.delenv(option.env, raising=False)
    monkeypatch.setenv("LOGFERRY_STATE_DIR", str(tmp_path / "state"))

    def run_it(*words: str) -> Result:
        try:
            code: object = main(words)
        except SystemExit as stop:
            code = stop.code
        assert isinstance(code, int)
        return Result(code, *capfd.readouterr())

    yield run_it
    # What later tests log is not for the stderr of this one, which is closed by then.
    logging.basicConfig(level=logging.WARNING, handlers=[logging.NullHandler()], force=True)


@pytest.fixture
def never_ship(monkeypatch: pytest.MonkeyPatch) -> list[ShipSettings]:
    """Let the command line decide, but do nothing; what would have been shipped is in the list."""
    shipped: list[ShipSettings] = []

    def take(settings: ShipSettings, *_: object) -> int:
        shipped.append(settings)
        return 0

    monkeypatch.setattr("logferry.cli.client.ship.ship_and_summarise", take)
    return shipped


@pytest.mark.parametrize("words", [["--version"], ["ship", "--version"], ["serve", "--version"], ["demo", "--version"]])
def test_the_version_is_printed_to_stdout(run: Run, words: Sequence[str]) -> None:
    assert run(*words) == Result(0, f"logferry {__version__}\n", "")


def test_help_names_every_option_with_its_variable_and_default(run: Run) -> None:
    for command, options in (("ship", SHIP_OPTIONS), ("serve", SERVE_OPTIONS)):
        result = run(command, "--help-all")
        assert (result.code, result.err) == (0, "")
        text = " ".join(result.out.split())
        for option in options:
            assert option.flag in text
            assert f"[{option.env}, default {option.default}]" in text


def flags_under(heading: str, text: str) -> set[str]:
    """Return the flags that a help lists under a heading."""
    section = text.partition(f"\n{heading}:\n")[2].partition("\n\n")[0]
    return {line.split()[0] for line in section.splitlines() if line.startswith("  --")}


def test_help_lists_the_common_options_first_and_the_others_by_group(run: Run) -> None:
    for command, options in (("ship", SHIP_OPTIONS), ("serve", SERVE_OPTIONS)):
        common = flags_under("common options", run(command, "--help").out)
        assert {option.flag for option in options if option.is_one_of_the_first} < common
        text = run(command, "--help-all").out.partition("\nexit codes:")[0]
        assert flags_under("common options", text) == common
        for group in {option.group for option in options}:
            there = [option for option in options if option.group is group and option.flag not in common]
            flags = {flag for option in there for flag in (option.flag, option.opposite) if flag}
            assert flags_under(group.value, text) == flags


def test_help_has_the_common_options_alone_and_says_how_to_see_all(run: Run) -> None:
    text = run("ship", "--help").out
    assert f"--help-all            show all {len(SHIP_OPTIONS)} options and exit" in text
    assert "delivery:" not in text
    assert len(text.splitlines()) < 100


def test_help_of_a_checkout_without_a_command_is_that_of_the_client(run: Run) -> None:
    result = run("--help")
    assert result == run("ship", "--help")
    for word in ("logferry help", "exit codes:"):
        assert word in result.out


@pytest.mark.parametrize("words", [["--no-such"], ["--no-such=1"], ["--xyz", "x"], ["-v"]])
@pytest.mark.parametrize("command", ["ship", "serve", "demo"])
def test_unknown_arguments_are_reported(run: Run, command: str, words: Sequence[str]) -> None:
    result = run(command, *words)
    assert (result.code, result.out) == (2, "")
    assert f"logferry {command}: unknown argument: {words[0]}\n" in result.err


def test_a_stray_word_is_reported_by_commands_that_take_no_files(run: Run) -> None:
    for command in ("serve", "demo", "status"):
        assert f"logferry {command}: unknown argument: stray\n" in run(command, "stray").err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["ship", "--serverr", "x"], "--server"),
        (["serve", "--datadir=x"], "--data-dir"),
        (["logs", "--levle", "error"], "--level"),
        (["--verson"], "--version"),
    ],
)
def test_a_misspelled_option_gets_a_suggestion(run: Run, words: list[str], meant: str) -> None:
    result = run(*words)
    assert result.code == 2
    assert f"; did you mean {meant}?\n" in result.err


def test_a_misspelled_command_gets_a_suggestion(run: Run, tmp_path: Path) -> None:
    assert run("shipp") == Result(2, "", "logferry: 'shipp' is not a command; did you mean ship?\n")
    assert run("xyz") == Result(2, "", "logferry: 'xyz' is not a command; 'logferry help' lists them\n")
    log = append(tmp_path / "app.log", range(1))
    assert f"'logferry ship {log}' ships a file" in run(str(log)).err


def test_an_option_without_its_value_is_an_error(run: Run) -> None:
    result = run("verify", "--server-port")
    assert result == Result(2, "", "logferry verify: argument --server-port: expected one argument\n")


def test_all_mistakes_are_reported_together_one_line_each(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE", "many")
    result = run("--server-port=0", "--mode", "stream", "--what")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines() == [
        "logferry ship: unknown argument: --what",
        "logferry ship: --server-port: '0' (from the command line) must be a whole number from 1 to 65535",
        "logferry ship: --mode: 'stream' (from the command line) must be one of batch, continuous",
        "logferry ship: --batch-size: 'many' (from the environment variable BATCH_SIZE) "
        "must be 'auto' or a whole number from 1 to 1000000",
        "logferry: 0 lines acked, 0 bytes read in 0.00 s (0 lines/s), 0 rejected, 0 retried, 0 blank skipped",
    ]


def test_an_interrupted_command_ends_with_one_line_and_without_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Sequence[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("logferry.cli.client.verify.run", interrupt)
    assert run("verify") == Result(130, "", "logferry verify: interrupted\n")


def test_the_servers_mistakes_are_reported_in_its_name(run: Run) -> None:
    result = run("serve", "--durability", "maybe")
    assert result.code == 2
    assert result.err == (
        "logferry serve: --durability: 'maybe' (from the command line) must be one of fsync, os, none\n"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], False),
        (["--compress"], True),
        (["--compress=true"], True),
        (["--compress", "true"], True),
        (["--compress", "ON"], True),
        (["--compress=false"], False),
        (["--compress", "no"], False),
        (["--compress", "--resilient"], True),
        (["--compress", "--compress=0"], False),
        (["--compress", "app.log"], True),
    ],
)
def test_a_boolean_may_stand_alone_or_with_a_value(
    run: Run, never_ship: list[ShipSettings], words: Sequence[str], expected: bool
) -> None:
    assert run("ship", *words).code == 0
    assert [settings.compress for settings in never_ship] == [expected]


def test_a_boolean_with_another_value_is_a_mistake(run: Run, never_ship: list[ShipSettings]) -> None:
    assert "--compress: 'app.log' (from the command line) must be one of" in run("--compress=app.log").err
    assert never_ship == []


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["app.log"], ("app.log",)),
        (["app.log", "--compress", "logs/*.log", "--mode", "batch"], ("app.log", "logs/*.log")),
        (["--compress", "-"], ("-",)),
        (["a:b.log", "c.log"], ("a:b.log", "c.log")),
        (["--compress", "--", "-x.log", "--mode"], ("-x.log", "--mode")),
    ],
)
def test_words_that_are_no_options_name_the_files_to_ship(
    run: Run, never_ship: list[ShipSettings], words: Sequence[str], files: tuple[str, ...]
) -> None:
    assert run("ship", *words).code == 0
    assert [settings.inputs[0].log_file for settings in never_ship] == [files]


def test_files_are_named_in_one_way(run: Run, never_ship: list[ShipSettings]) -> None:
    result = run("ship", "app.log", "--log-file", "b.log")
    assert result.code == 2
    assert "logferry ship: name the files either with --log-file or without, not both ways\n" in result.err
    assert never_ship == []


def test_a_file_name_with_a_colon_gets_a_hint(run: Run, tmp_path: Path) -> None:
    log = append(tmp_path / "a:b.log", range(1))
    assert "a file whose name has one is an argument of its own: ship FILE" in run("--log-file", str(log)).err


def test_the_home_folder_may_be_a_tilde(
    run: Run, never_ship: list[ShipSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert run("ship", "~/app.log", "--state-dir", "~/state").code == 0
    (settings,) = never_ship
    assert (settings.inputs[0].log_file, settings.state_dir) == (("/home/ada/app.log",), Path("/home/ada/state"))


def test_values_come_from_the_environment_unless_they_are_on_the_command_line(
    run: Run, never_ship: list[ShipSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_PORT", "9001")
    monkeypatch.setenv("SERVER_HOST", "elsewhere")
    assert run("ship", "--server-port", "9002").code == 0
    (settings,) = never_ship
    assert (settings.server_host, settings.server_port) == ("elsewhere", 9002)


def test_without_words_the_process_s_own_are_taken(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["logferry", "--nonsense"])
    assert main() == 2
    assert "unknown argument: --nonsense" in capfd.readouterr().err


def test_a_missing_file_is_reported_with_exit_code_3_and_a_summary_as_last_line(run: Run, tmp_path: Path) -> None:
    result = run("--log-file", str(tmp_path / "missing.log"), "--ack", "line")
    lines = result.err.splitlines()
    assert result.code == 3
    assert f"logferry: cannot read {tmp_path / 'missing.log'}: no such file" in lines
    assert lines[-1].startswith("logferry: 0 lines acked, 0 bytes read in ")
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("counted", "ending"),
    [({}, " 0 blank skipped"), ({"lines_filtered": 3, "redactions": 2}, " 0 blank skipped, 3 filtered, 2 redacted")],
)
def test_the_summary_counts_filtered_and_redacted_lines(
    run: Run, monkeypatch: pytest.MonkeyPatch, counted: dict[str, int], ending: str
) -> None:
    def ship(*_: object, metrics: Metrics, **__: object) -> Outcome:
        metrics.add(**counted)
        return Outcome(())

    monkeypatch.setattr("logferry.cli.client.ship.ship", ship)
    result = run()
    assert result.code == 0
    assert result.err.splitlines()[-1].endswith(ending)


def test_an_unreachable_server_is_reported_with_exit_code_1(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("line\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused, and nobody else gets the port
        port = str(taken.getsockname()[1])
        result = run(f"--log-file={log}", "--server-host=127.0.0.1", "--server-port", port, "--max-attempts=1")
    assert result.code == 1
    assert "not delivered: " in result.err
    assert "Traceback" not in result.err


def test_a_demo_that_cannot_run_is_reported_without_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> int:
        raise SourceError("sample_logs.txt", "not there")

    monkeypatch.setattr("logferry.cli.demo.run_demo", fail)
    assert run("demo") == Result(1, "", "logferry demo: cannot read sample_logs.txt: not there\n")


def test_a_port_in_use_is_reported_with_exit_code_1(run: Run, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--server-host=127.0.0.1", f"--server-port={port}", f"--data-dir={tmp_path}")
    assert result.code == 1
    assert str(port) in result.err
    assert "Traceback" not in result.err


def test_help_does_not_depend_on_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run("--help").out
    monkeypatch.setenv("SERVER_PORT", "rubbish")
    assert run("--help").out == before
    assert os.environ["SERVER_PORT"] == "rubbish"


def test_a_variable_of_a_former_version_is_named_in_the_log(
    run: Run, never_ship: list[ShipSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCLUDE", "/usr/include")
    assert run("--log-level", "warning") == Result(0, "", "")
    result = run()
    assert (result.code, result.out) == (0, "")
    assert result.err.endswith(" INFO INCLUDE is set but no longer read; use LOGFERRY_INCLUDE\n")
    assert result.err.count("\n") == 1


def test_a_misspelled_variable_stops_every_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGFERRY_DURABILTY", "os")
    sentence = "LOGFERRY_DURABILTY: unknown environment variable; did you mean LOGFERRY_DURABILITY?"
    for command in ("serve", "verify", "fsck", "status", "check-config"):
        assert run(command) == Result(2, "", f"logferry {command}: {sentence}\n")


@pytest.mark.parametrize(
    ("command", "foreign"),
    [
        ("ship", ("logferry.server", "asyncio", "logferry.client.proof")),
        ("serve", ("logferry.client", "logferry.rendering")),
        ("verify", ("logferry.server", "asyncio")),
        ("status", ("logferry.server", "asyncio", "logferry.client.proof")),
        ("fsck", ("logferry.client", "logferry.rendering", "logferry.server.server")),
        ("logs", ("logferry.client", "logferry.rendering", "logferry.config", "logferry.server.clients", "logging")),
        ("logs", ("dataclasses", "inspect", "threading", "tempfile")),
    ],
)
def test_a_command_does_not_wait_for_the_modules_of_others(command: str, foreign: tuple[str, ...]) -> None:
    program = f"""
import sys, logferry.cli.dispatch as dispatch
assert not any(name.startswith(("logferry.client", "logferry.server", "argparse.")) for name in sys.modules)
from importlib import import_module
import_module(dispatch.COMMANDS[{command!r}])
print(*(name for name in sys.modules if (name + ".").startswith({tuple(name + "." for name in foreign)!r})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "src", capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("\n", "")


def test_an_error_of_the_system_that_nobody_expected_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Another user runs `logferry fsck`: it says whose folder it is, without a traceback."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied", str(tmp_path / "ledger.sqlite3"))

    monkeypatch.setattr("logferry.cli.server.fsck.run", refuse)
    assert main(["fsck"]) == 1
    printed = capfd.readouterr().err
    assert printed.startswith(
        f"logferry fsck: cannot go on: {tmp_path}/ledger.sqlite3: Permission denied; '{tmp_path}' belongs to"
    )
    assert printed.count("\n") == 1
