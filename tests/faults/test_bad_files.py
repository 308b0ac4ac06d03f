"""Log files that are not what a log file should be, through the real command line.

Each time: the right exit code, one clear sentence, the summary as the last line, no traceback, bounded memory.
"""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import fakes
from tests.support.fakes import FakeServer, Talk
from tests.support.processes import PLAIN, PROCESS_S, ROOT, Program, client, peak_memory, program, ship
from tests.support.running import RunningServer, numbered_line, running_server, wait_until
from tests.support.shipping import append, assert_conserved, log_line


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(tmp_path) as server:
        yield server


def told(run: Program) -> list[str]:
    """Return what a run says of its own (not its log), without the summary."""
    assert "Traceback" not in run.stderr
    *sentences, summary = [line for line in run.stderr.splitlines() if line.startswith("logferry")]
    assert summary == run.stderr.splitlines()[-1]
    assert "lines acked" in summary
    return sentences


def stored_objects(server: RunningServer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.stored_lines()]


def after(may_read: threading.Event) -> fakes.Script:
    """Do what a server does, but not before `may_read`."""

    def script(talk: Talk) -> None:
        assert may_read.wait(PROCESS_S)
        fakes.ack_every_line(talk)

    return script


@pytest.mark.parametrize("resilient", [(), ("--resilient",)], ids=["basic", "resilient"])
def test_a_missing_file(tmp_path: Path, receiver: RunningServer, resilient: tuple[str, ...]) -> None:
    run = ship(tmp_path / "none.log", receiver.port, *resilient, folder=tmp_path)
    assert run.wait() == 3
    assert told(run) == [f"logferry: cannot read {tmp_path}/none.log: no such file"]


@pytest.mark.parametrize("mode", ["batch", "continuous"])
def test_a_directory(tmp_path: Path, receiver: RunningServer, mode: str) -> None:
    run = ship(tmp_path, receiver.port, "--mode", mode, folder=tmp_path)
    assert run.wait() == 3
    assert told(run) == [f"logferry: cannot read {tmp_path}: is a directory"]


@pytest.mark.parametrize("mode", ["batch", "continuous"])
def test_a_device_is_not_a_log_file(tmp_path: Path, receiver: RunningServer, mode: str) -> None:
    run = ship(Path("/dev/null"), receiver.port, "--mode", mode, folder=tmp_path)
    assert run.wait() == 3
    assert told(run) == ["logferry: cannot read /dev/null: not a regular file"]


def test_a_file_that_may_not_be_read(tmp_path: Path, receiver: RunningServer) -> None:
    log = append(tmp_path / "secret.log", range(3))
    log.chmod(0)
    words: list[str | Path] = [sys.executable, ROOT / "main.py", "--log-file", log, "--server-port", str(receiver.port)]
    if os.access(log, os.R_OK):  # root may, unless it gives up the right to
        if not shutil.which("setpriv"):
            pytest.skip("this user may read everything, and there is no setpriv to change that")
        words = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", *words]
    with program(*words, folder=tmp_path) as run:
        assert run.wait() == 3, run.stderr
    assert told(run) == [f"logferry: cannot read {log}: Permission denied"]


def test_a_file_that_cannot_be_read(tmp_path: Path, receiver: RunningServer) -> None:
    """Opening works, reading does not: /proc/self/mem has no first page."""
    run = ship(Path("/proc/self/mem"), receiver.port, "--mode", "continuous", "--deadline", "1", folder=tmp_path)
    assert run.wait() == 1
    assert "cannot read /proc/self/mem: Input/output error" in run.stderr or "deadline" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \t\r\n\n"], ids=["empty", "newlines", "blanks"])
def test_a_file_without_lines(tmp_path: Path, receiver: RunningServer, content: bytes) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(content)
    run = ship(log, receiver.port, folder=tmp_path)
    assert run.wait() == 0
    assert told(run) == []
    assert run.summed_up("acked") == 0
    assert run.summed_up("blank") == content.count(b"\n")
    assert receiver.stored_lines() == []


def test_an_empty_file_is_shipped_well_only_if_a_server_answers(tmp_path: Path) -> None:
    (tmp_path / "app.log").touch()
    run = ship(tmp_path / "app.log", 1, "--max-attempts", "1", folder=tmp_path)
    assert run.wait() == 1
    assert "the server was not asked what it has" in run.stderr
    with FakeServer(fakes.ack_every_line) as server:
        assert ship(tmp_path / "app.log", server.port, *PLAIN, folder=tmp_path).wait() == 0
    assert server.lines == []


def test_a_file_that_vanishes_is_read_to_its_end(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(50_000))
    may_read = threading.Event()
    with FakeServer(after(may_read)) as server, client(log, server.port, *PLAIN, folder=tmp_path) as run:
        run.wait_for_stderr("connected")
        log.unlink()
        may_read.set()
        assert run.wait() == 0, run.stderr
        assert_conserved(range(50_000), server.lines)


def test_a_file_that_is_truncated_while_it_is_read_is_told(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(400_000))
    may_read = threading.Event()
    with FakeServer(after(may_read)) as server, client(log, server.port, *PLAIN, folder=tmp_path) as run:
        run.wait_for_stderr("connected")
        wait_until(lambda: len(server.talks) == 1, "it has begun")
        os.truncate(log, 0)
        may_read.set()
        assert run.wait() == 3, run.stderr
        assert len(told(run)) == 1
        assert "bytes were gone before they were read" in told(run)[0]
        assert_conserved(range(len(server.lines)), server.lines)


def test_a_line_of_one_gigabyte_is_cut_in_bounded_memory(tmp_path: Path, receiver: RunningServer) -> None:
    """Rule F9."""
    log = tmp_path / "app.log"
    append(log, [0])
    with log.open("r+b") as file:  # sparse: a gigabyte of NULs that takes no disk
        file.seek(0, os.SEEK_END)
        file.write(b"y")
        file.seek(1024**3)
        file.write(b"\n" + log_line(1))
    with client(log, receiver.port, "--mode", "continuous", folder=tmp_path) as run:
        wait_until(lambda: receiver.stats.lines_stored == 3, "three lines are stored", deadline_s=30)
        assert peak_memory(run.process.pid) < 60 * 1000 * 1000
        assert run.terminate() == 3
    assert told(run) == ["logferry: 1 lines were too long and were truncated"]
    first, cut, last = receiver.stored_lines()
    assert (first, last) == (numbered_line(0), numbered_line(1))
    assert json.loads(cut)["truncated"] is True
    assert json.loads(cut)["message"] == "y" + "\0" * (1024 * 1024 - 1)


# Lines as they are in the file, and as they must come out.
ODD_LINES = {
    "no newline at the end": (log_line(0) + log_line(1)[:-1], [numbered_line(0), numbered_line(1)]),
    "CRLF": (log_line(0)[:-1] + b"\r\n" + log_line(1)[:-1] + b"\r\n", [numbered_line(0), numbered_line(1)]),
    "byte order mark": (b"\xef\xbb\xbf" + log_line(0), [numbered_line(0)]),
    "NULs": (
        b"2024-01-15 08:23:45 INFO a\0b\n",
        [rb'{"level": "INFO", "message": "a\u0000b", "timestamp": "2024-01-15 08:23:45"}' + b"\n"],
    ),
    "invalid UTF-8": (
        b"2024-01-15 08:23:45 INFO a\xffb\n" + log_line(1),
        [
            '{"level": "INFO", "message": "a\ufffdb", "timestamp": "2024-01-15 08:23:45", '
            '"raw": "MjAyNC0wMS0xNSAwODoyMzo0NSBJTkZPIGH/Yg=="}\n'.encode(),
            numbered_line(1),
        ],
    ),
    "another shape": (b"Traceback:\n", [b'{"level": "UNKNOWN", "message": "Traceback:", "timestamp": null}\n']),
}


@pytest.mark.parametrize("name", list(ODD_LINES))
def test_odd_lines_arrive_as_the_rules_say(tmp_path: Path, receiver: RunningServer, name: str) -> None:
    """Rules F1, F5, F6, F7 and F8."""
    content, expected = ODD_LINES[name]
    log = tmp_path / "app.log"
    log.write_bytes(content)
    run = ship(log, receiver.port, folder=tmp_path)
    assert run.wait() == 0, run.stderr
    assert told(run) == []
    assert receiver.stored_lines() == expected
    assert len(stored_objects(receiver)) == len(expected)


@pytest.mark.parametrize(
    "form", [(), ("--compress",), ("--ack", "line"), ("--ack", "line", "--compress")], ids=" ".join
)
def test_the_worst_line_that_fits_the_limit_is_taken(
    tmp_path: Path, receiver: RunningServer, form: tuple[str, ...]
) -> None:
    """Control characters are escaped to six bytes, and one bad byte adds all of them as base64: 7.4 times the size."""
    log = tmp_path / "app.log"
    log.write_bytes(b"\1" * (1024 * 1024 - 1) + b"\xff\n")
    run = ship(log, receiver.port, *form, folder=tmp_path)
    assert run.wait() == 0, run.stderr
    assert stored_objects(receiver)[0]["message"] == "\1" * (1024 * 1024 - 1) + "\ufffd"


@pytest.mark.parametrize("ack", ["auto", "line"])
def test_a_line_that_fits_no_frame_is_refused_and_nothing_else(
    tmp_path: Path, receiver: RunningServer, ack: str
) -> None:
    """Random bytes do not shrink: at the highest limit for a line, its frame would be too long (rule C3)."""
    log = tmp_path / "app.log"
    noise = os.urandom(16 * 1024 * 1024).replace(b"\n", b"\xff")
    log.write_bytes(log_line(0) + noise + b"\n" + log_line(1))
    words = ("--compress", "--max-line-bytes", str(16 * 1024 * 1024), "--ack", ack)
    run = ship(log, receiver.port, *words, folder=tmp_path)
    assert run.wait() == 3, run.stderr
    assert told(run) == ["logferry: 1 lines were refused by the server"]
    assert receiver.stored_lines() == [numbered_line(0), numbered_line(1)]
