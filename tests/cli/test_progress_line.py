"""The line that shows on a terminal how far a command has come, and nowhere else."""

import os
import pty
import sys
import termios
from pathlib import Path

import pytest

from logferry.cli import progress_line
from logferry.cli.progress_line import progress_text, showing_progress
from logferry.cli.streams import open_standard_streams
from logferry.progress import Progress, Tally
from tests.support.processes import ROOT, program, server
from tests.support.running import wait_until
from tests.support.shipping import append


@pytest.mark.parametrize(
    ("progress", "rate", "text"),
    [
        (Progress(0, 1000, 0, 1), 0, "shipping: 0 B of 1.0 kB (0 %)"),
        (
            Progress(250_000_000, 1_000_000_000, 1, 4),
            50_000_000,
            "shipping: 250 MB of 1.0 GB (25 %), 50.0 MB/s, 15 s left, 1 of 4 files",
        ),
        (Progress(0, 10_000_000, 0, 1), 100_000, "shipping: 0 B of 10.0 MB (0 %), 100 kB/s, 1 min 40 s left"),
        (Progress(0, 10_000_000, 0, 1), 1000, "shipping: 0 B of 10.0 MB (0 %), 1.0 kB/s, 2 h 46 min left"),
        (Progress(done_files=3, total_files=7), 0, "shipping: 3 of 7 files"),
    ],
)
def test_the_line_says_how_far_how_fast_and_how_long(progress: Progress, rate: float, text: str) -> None:
    assert progress_text("shipping", progress, rate) == text


def test_a_tally_counts_the_file_that_is_read_and_never_more_than_all() -> None:
    tally = Tally(total_bytes=100, total_files=2)
    tally.begin(lambda: 30)
    assert tally.look() == Progress(30, 100, 0, 2)
    tally.end(60)
    tally.begin(lambda: 900)  # the file has grown
    assert tally.look() == Progress(100, 100, 1, 2)


def test_on_a_pipe_nothing_is_shown(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_line, "_PATIENCE_S", 0.0)
    looked: list[object] = []
    with showing_progress("shipping", lambda: looked.append(1)):
        pass
    assert (capfd.readouterr().err, looked) == ("", [])


def test_what_is_logged_replaces_the_line_and_the_end_erases_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(stderr, (24, 40))
    saved, original, out = os.dup(2), sys.stderr, sys.stdout
    os.dup2(stderr, 2)
    try:
        open_standard_streams()
        monkeypatch.setattr(progress_line, "_PATIENCE_S", 0.01)
        monkeypatch.setattr(progress_line, "_EVERY_S", 0.01)
        looks: list[int] = []

        def look() -> Progress:
            looks.append(1)
            return Progress(5_000_000, 10_000_000, 1, 200)

        with showing_progress("shipping", look):
            wait_until(lambda: len(looks) >= 2, "the line is drawn")
            print("a message", file=sys.stderr)
            drawn = len(looks)
            wait_until(lambda: len(looks) >= drawn + 2, "it is drawn again")
        os.write(stderr, b"the end")
        shown = ""
        while not shown.endswith("the end"):
            shown += os.read(terminal, 1 << 16).decode()
    finally:
        os.dup2(saved, 2)
        sys.stderr, sys.stdout = original, out
        for descriptor in (saved, terminal, stderr):
            os.close(descriptor)
    lines = shown.replace("\r\n", "\n").split("\r\x1b[K")
    assert lines[0] == ""
    assert "a message\n" in lines
    assert lines[1].startswith("shipping: 5.0 MB of 10.0 MB (50 %)")
    assert max(map(len, lines)) <= 39, "it fits"
    assert lines[-1] == "the end", "what came before is erased"


def test_verify_counts_what_it_has_read(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(1000))
    with server(tmp_path / "data", folder=tmp_path) as running:
        where = ("--server", f"127.0.0.1:{running.port}", "--state-dir", str(tmp_path / "state"), str(log))
        for command in ("ship", "verify"):
            with program(sys.executable, ROOT / "main.py", command, *where, folder=tmp_path) as run:
                assert run.wait() == 0, run.stderr
            assert "\x1b" not in run.stderr, "standard error is a pipe"
