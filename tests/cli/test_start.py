"""How the process begins and ends: Ctrl-C at any moment, standard streams that are broken, full or closed."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logferry.cli.streams import write_all
from tests.support.processes import PROCESS_S, ROOT, program, server
from tests.support.running import stored_lines
from tests.support.shipping import append, assert_conserved

SOURCE = ROOT / "src"

# A program that gets Ctrl-C while it still imports modules.
INTERRUPTED_AT_START = """
import os, signal, sys
from logferry.cli import early_signals
keep = early_signals.keep
def keep_one():
    keep()
    os.kill(os.getpid(), signal.SIGINT)
early_signals.keep = keep_one
from logferry.cli.start import main
sys.exit(main(arguments=sys.argv[1:]))
"""


def run_program(text: str, *words: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a Python program to its end."""
    command = [sys.executable, "-c", text, *words]
    return subprocess.run(
        command,
        cwd=SOURCE,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code", "first"),
    [
        (["status"], 130, "logferry status: interrupted\n"),
        (["serve", "--server-host=127.0.0.1", "--server-port=0", "--data-dir={}/data"], 0, ""),
        (["ship", "--mode=continuous", "--log-file={}/app.log", "--state-dir={}/state"], 0, ""),
        (["ship", "--log-file={}/app.log", "--state-dir={}/state"], 130, ""),
    ],
    ids=["status", "serve", "continuous", "batch"],
)
def test_ctrl_c_during_the_start_is_kept_for_the_command(
    tmp_path: Path, words: list[str], code: int, first: str
) -> None:
    append(tmp_path / "app.log", range(3))
    done = run_program(INTERRUPTED_AT_START, *(word.format(tmp_path) for word in words))
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith(first)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "code"), [("status", -signal.SIGHUP), ("serve", 0)])
def test_a_hangup_during_the_start_ends_only_commands_that_do_not_handle_it(
    tmp_path: Path, command: str, code: int
) -> None:
    both = INTERRUPTED_AT_START.replace("signal.SIGINT)", "signal.SIGHUP)", 1)
    if command == "serve":
        both = both.replace("signal.SIGHUP)\n", "signal.SIGHUP)\n    os.kill(os.getpid(), signal.SIGINT)\n", 1)
    options = ["--server-host=127.0.0.1", "--server-port=0", f"--data-dir={tmp_path}"] if command == "serve" else []
    done = run_program(both, command, *options)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_ctrl_c_ends_a_command_with_one_line_and_cleans_up() -> None:
    text = """
import os, signal
from logferry.cli.signals import exiting_on_interrupt
with exiting_on_interrupt(lambda: print("interrupted", flush=True), lambda: print("cleaned up", flush=True)):
    os.kill(os.getpid(), signal.SIGINT)
    print("not reached")
"""
    done = run_program(text)
    assert (done.returncode, done.stdout, done.stderr) == (130, "cleaned up\ninterrupted\n", "")


def test_a_second_signal_during_the_start_ends_the_process_at_once() -> None:
    text = "import os\nfrom logferry.cli import early_signals\nearly_signals.keep()\n" + "os.kill(os.getpid(), 2)\n" * 2
    assert run_program(text).returncode == 128 + signal.SIGINT


@pytest.mark.parametrize("broken", ["2>/dev/full", "<&- >&- 2>&-", ">/dev/full 2>&1"])
def test_a_client_and_a_server_without_working_streams_store_every_line(tmp_path: Path, broken: str) -> None:
    log, data_dir = append(tmp_path / "app.log", range(50)), tmp_path / "data"
    client = f"exec {sys.executable} {ROOT / 'main.py'} --log-file {log} --metrics-interval 0.01 --log-level debug"
    with server(data_dir, "--echo", folder=tmp_path) as running:
        target = f"--server-host 127.0.0.1 --server-port {running.port} --state-dir {tmp_path / 'state'}"
        with program("sh", "-c", f"{client} {target} {broken}", folder=tmp_path) as run:
            assert run.wait() == 0
    assert_conserved(range(50), stored_lines(data_dir))


@pytest.mark.parametrize("broken", [">/dev/full", ">&- 2>&-"])
@pytest.mark.parametrize(("words", "code"), [("--version", 0), ("status", 1), ("--nonsense", 2)])
def test_a_result_that_cannot_be_printed_does_not_change_the_exit_code(
    tmp_path: Path, broken: str, words: str, code: int
) -> None:
    command = f"exec {sys.executable} {ROOT / 'main.py'} {words} {broken}"
    environment = {"LOGFERRY_STATE_DIR": str(tmp_path / "state")}
    with program("sh", "-c", command, folder=tmp_path, env=environment) as run:
        assert run.wait() == code
    assert "Traceback" not in run.stderr


def test_a_full_standard_output_is_reported_once(tmp_path: Path) -> None:
    text = """
from logferry.cli.streams import open_standard_streams
open_standard_streams()
for _ in range(3): print("x" * 10_000)
"""
    command = ["sh", "-c", f"exec {sys.executable} -c '{text}' >/dev/full"]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=PROCESS_S, check=False)
    reason = os.strerror(errno.ENOSPC)
    assert (done.returncode, done.stderr) == (0, f"logferry: cannot write to standard output: {reason}\n")


def test_a_stream_that_does_not_block_gets_everything_that_its_reader_takes() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = f"import os\nleft = 1_000_000\nwhile left: left -= len(os.read({reader}, left))\nprint(left)"
    with subprocess.Popen([sys.executable, "-c", text], pass_fds=[reader], stdout=subprocess.PIPE, text=True) as other:
        os.close(reader)
        write_all(writer, b"x" * 1_000_000)
        os.close(writer)
        assert other.communicate(timeout=PROCESS_S)[0] == "0\n"
