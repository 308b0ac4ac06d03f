"""`some-program | logferry ship --log-file -`, with real processes: backpressure, and all is acked before the end."""

import contextlib
import os
import select
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import PROCESS_S, QUICK, ROOT, Program, client, free_port, peak_memory, program, server
from tests.support.running import numbered_line, stored_lines, wait_until
from tests.support.shipping import append, assert_conserved, log_line

MIB = 1024 * 1024

STDIN = Path("-")

# Writes numbered lines to standard output, then ends.
PRODUCER = """
import sys
for number in range(int(sys.argv[1])):
    sys.stdout.write(f"2024-01-15 08:23:45 INFO line {number}\\n")
"""

# Writes a line; when it is interrupted, one more, and half a one.
INTERRUPTED = """
import signal, sys, time
def last_words(*_):
    print("2024-01-15 08:23:45 INFO line 1\\n2024-01-15 08:23:45 INFO line 2", end="", flush=True)
    sys.exit()
signal.signal(signal.SIGINT, last_words)
print("2024-01-15 08:23:45 INFO line 0", flush=True)
while True:
    time.sleep(60)
"""


class Writer:
    """A thread that writes lines into a pipe, and waits when its reader makes it wait."""

    def __init__(self, lines: int, padding: int) -> None:
        self.reader, self._end = os.pipe()
        self._lines = lines
        self._padding = b" " * padding
        self.written = 0
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        with os.fdopen(self._end, "wb", buffering=0) as pipe:
            for first in range(0, self._lines, 1000):
                lines = range(first, min(first + 1000, self._lines))
                data = memoryview(b"".join(log_line(number)[:-1] + self._padding + b"\n" for number in lines))
                while data:
                    count = pipe.write(data)
                    data = data[count:]
                    self.written += count

    @property
    def is_done(self) -> bool:
        """Whether it has written everything."""
        return not self._thread.is_alive()

    def wait_until_stuck(self) -> None:
        """Wait until the pipe has had no room for a second."""
        poll = select.poll()
        poll.register(self._end, select.POLLOUT)

        def is_stuck() -> bool:
            before = self.written
            return bool(before) and not poll.poll(1000) and self.written == before and not self.is_done

        wait_until(is_stuck, "the producer waits", deadline_s=PROCESS_S)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe; a test may close them."""
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(fd)


def pipeline(producer: str, argument: str, port: int, *words: str) -> str:
    """Return a command for a shell: a Python program whose output is shipped."""
    shipper = [str(ROOT / "main.py"), "--log-file", "-", "--server-host", "127.0.0.1", "--server-port", str(port)]
    commands = ([sys.executable, "-c", producer, argument], [sys.executable, *shipper, *words])
    return " | ".join(shlex.join(command) for command in commands)


def told(run: Program) -> list[str]:
    """Return what a run says of its own, without the summary."""
    assert "Traceback" not in run.stderr
    return [line for line in run.stderr.splitlines() if line.startswith("logferry: ")][:-1]


@pytest.mark.parametrize(
    "words", [(), ("--resilient",), ("--compress", "--batch-size", "auto"), ("--mode", "continuous")], ids=" ".join
)
def test_what_a_program_writes_is_stored_once_and_its_end_is_ours(tmp_path: Path, words: tuple[str, ...]) -> None:
    with server(tmp_path / "data", folder=tmp_path) as running:
        command = pipeline(PRODUCER, "50000", running.port, "--state-dir", str(tmp_path / "state"), *words)
        with program("sh", "-c", command, folder=tmp_path) as run:
            assert run.wait() == 0, run.stderr
        assert run.summed_up("acked") == 50_000
        assert told(run) == []
    assert_conserved(range(50_000), stored_lines(tmp_path / "data"))


@pytest.mark.parametrize("words", [(), ("--resilient",)], ids=["basic", "resilient"])
def test_each_line_of_a_slow_program_is_stored_at_once(
    tmp_path: Path, pipe: tuple[int, int], words: tuple[str, ...]
) -> None:
    """Not when a chunk is full, and not when the poll interval is over: that is an hour."""
    data_dir = tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running:
        wait = ("--poll-interval", "3600")
        with client(STDIN, running.port, *wait, *words, folder=tmp_path, stdin=pipe[0]) as run:
            for number in range(5):
                os.write(pipe[1], log_line(number))
                wait_until(lambda: len(stored_lines(data_dir)) == number + 1, "the line is stored")  # noqa: B023
            os.write(pipe[1], log_line(5)[:-1])
            os.close(pipe[1])
            assert run.wait() == 0, run.stderr
    assert_conserved(range(6), stored_lines(data_dir))


def test_a_producer_waits_while_the_server_is_away_and_then_everything_is_stored_once(tmp_path: Path) -> None:
    lines, padding, port, data_dir = 400_000, 470, free_port(), tmp_path / "data"
    writer = Writer(lines, padding)
    with client(STDIN, port, "--resilient", *QUICK, folder=tmp_path, stdin=writer.reader) as run:
        os.close(writer.reader)
        writer.wait_until_stuck()
        assert writer.written < 20 * MIB
        assert peak_memory(run.process.pid) < 60 * MIB
        with server(data_dir, folder=tmp_path, port=port):
            wait_until(lambda: writer.is_done, "the producer could write everything", deadline_s=PROCESS_S)
            assert run.wait() == 0, run.stderr
    assert writer.written == sum(len(log_line(number)) + padding for number in range(lines))
    assert writer.written > 200_000_000
    stored = [line.replace(b" " * padding, b"") for line in stored_lines(data_dir)]
    assert_conserved(range(lines), stored)


def test_a_server_that_is_killed_again_and_again_gets_everything_once(tmp_path: Path) -> None:
    lines, port, data_dir = 200_000, free_port(), tmp_path / "data"
    writer = Writer(lines, 0)
    with client(STDIN, port, "--resilient", *QUICK, folder=tmp_path, stdin=writer.reader) as run:
        os.close(writer.reader)
        for _ in range(4):
            stored = len(stored_lines(data_dir))
            with server(data_dir, folder=tmp_path, port=port) as running:
                wait_until(
                    lambda: run.is_over or len(stored_lines(data_dir)) > stored + 10_000,  # noqa: B023
                    "some more is stored",
                )
                running.program.kill()
        with server(data_dir, folder=tmp_path, port=port):
            assert run.wait() == 0, run.stderr
    assert_conserved(range(lines), stored_lines(data_dir))


@pytest.mark.parametrize("resilient", [(), ("--resilient",)], ids=["basic", "resilient"])
@pytest.mark.parametrize(("mode", "code"), [("batch", 1), ("continuous", 3)])
def test_a_client_that_is_asked_to_stop_delivers_what_it_has_read_and_marks_half_a_line(
    tmp_path: Path, pipe: tuple[int, int], mode: str, code: int, resilient: tuple[str, ...]
) -> None:
    data_dir = tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running:
        with client(STDIN, running.port, "--mode", mode, *QUICK, *resilient, folder=tmp_path, stdin=pipe[0]) as run:
            os.write(pipe[1], log_line(0) + log_line(1)[:-1])
            wait_until(lambda: len(stored_lines(data_dir)) == 1, "the first line is stored")
            assert run.terminate() == code, run.stderr
        unfinished = "not delivered: stopped before the end of the input; what was read is acked"
        incomplete = "1 lines are incomplete: the input was damaged or cut off there"
        assert told(run) == [f"logferry: {unfinished if mode == 'batch' else incomplete}"]
    first, half = stored_lines(data_dir)
    assert_conserved(range(1), [first])
    assert half == numbered_line(1).replace(b"}", b', "truncated": true}')


def test_control_c_ends_the_producer_and_its_last_words_are_stored(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running:
        command = pipeline(INTERRUPTED, "", running.port, "--state-dir", str(tmp_path / "state"))
        # The shell is told too, as it would be by a terminal; this one waits for its children.
        with program("sh", "-c", f"trap : INT; {command}", folder=tmp_path, limits=os.setsid) as run:
            wait_until(lambda: len(stored_lines(data_dir)) == 1, "the first line is stored")
            os.killpg(run.process.pid, signal.SIGINT)
            assert run.wait() == 0, run.stderr
        assert told(run) == []
    assert_conserved(range(3), stored_lines(data_dir))


def test_a_file_may_be_standard_input(tmp_path: Path) -> None:
    log, data_dir = append(tmp_path / "app.log", range(10_000)), tmp_path / "data"
    with (
        server(data_dir, folder=tmp_path) as running,
        log.open("rb") as file,
        client(STDIN, running.port, folder=tmp_path, stdin=file.fileno()) as run,
    ):
        assert run.wait() == 0, run.stderr
    assert_conserved(range(10_000), stored_lines(data_dir))


def test_nothing_on_standard_input_is_nothing_to_do(tmp_path: Path) -> None:
    with client(STDIN, 1, folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
    assert told(run) == []


def test_closed_standard_input_is_an_error(tmp_path: Path) -> None:
    words = (sys.executable, ROOT / "main.py", "--log-file", "-", "--state-dir", tmp_path / "state")
    with program(*words, folder=tmp_path, stdin=None, limits=lambda: os.close(0)) as run:
        assert run.wait() == 3
    assert told(run) == ["logferry: cannot read stdin: it is closed"]


def test_a_second_run_is_a_new_source(tmp_path: Path) -> None:
    log, data_dir = append(tmp_path / "app.log", range(100)), tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running:
        for _ in range(2):
            with log.open("rb") as file, client(STDIN, running.port, folder=tmp_path, stdin=file.fileno()) as run:
                assert run.wait() == 0, run.stderr
    stored = stored_lines(data_dir)
    assert_conserved(range(100), stored[:100])
    assert_conserved(range(100), stored[100:])
