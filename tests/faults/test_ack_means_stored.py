"""An ack means stored: whatever the client was told is on the server's disk then, and a full disk says nothing.

The server is frozen while lines flow, its folder is copied, and a fresh server looks at the copy: at what a crash in
that moment would have left.
"""

import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from logferry.server import Patience
from tests.faults.chaos_proxy import chaos_proxy
from tests.support.processes import server
from tests.support.running import fill, running_server, wait_until
from tests.support.shipping import Conservation, append, assert_conserved, conservation, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


class Writer:
    """Appends lines as long as the client keeps up, in a thread."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._may_write = threading.Semaphore(0)
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.written = 0

    def _run(self) -> None:
        while self._may_write.acquire() and not self._is_over:
            for _ in range(20):
                append(self._log, range(self.written, self.written + 5))
                self.written += 5

    def write_more(self) -> None:
        """Begin to append a hundred lines, five at a time."""
        self._may_write.release()

    def stop(self) -> None:
        """End the thread, after what it was asked for."""
        self._is_over = True
        self._may_write.release()
        self._thread.join()


@contextmanager
def writing(log: Path) -> Iterator[Writer]:
    """Run a writer for the length of a `with`."""
    writer = Writer(log)
    writer._thread.start()
    try:
        yield writer
    finally:
        writer.stop()


@pytest.mark.parametrize("durability", ["fsync", "os"])
@pytest.mark.parametrize(("ack", "rounds"), [("auto", 50), ("line", 10)])
def test_a_copy_of_a_frozen_servers_disk_has_everything_that_was_acked(
    tmp_path: Path, ack: str, rounds: int, durability: str
) -> None:
    """Rules A2 and E8."""
    chance = random.Random(rounds)
    log, data, copy = append(tmp_path / "app.log", []), tmp_path / "data", tmp_path / "copy"
    settings = {"ack": ack, "mode": "continuous", "poll_interval": 0.01, "ack_timeout": 30.0}
    with (
        server(data, "--durability", durability, folder=tmp_path) as running,
        shipping(log, running.port, **settings) as run,
        writing(log) as writer,
    ):
        process = running.program
        for _ in range(rounds):
            goal = run.counters.lines_acked + chance.randint(1, 90)
            writer.write_more()
            run.wait_for_acks(goal)
            process.send(signal.SIGSTOP)
            os.waitid(os.P_PID, process.process.pid, os.WSTOPPED | os.WNOWAIT)
            shutil.copytree(data, copy)
            acked = run.counters.lines_acked  # what comes later was sent before the server froze
            process.send(signal.SIGCONT)
            with running_server(tmp_path, data_dir=copy, patience=Patience(linger_s=0)) as fresh:
                stored = fresh.stored_lines()
            shutil.rmtree(copy)
            assert len(stored) >= acked >= goal
            assert conservation(range(len(stored)), stored) == Conservation()
        writer.stop()
        wait_until(lambda: run.counters.lines_acked == writer.written, "all is acked")
    with running_server(tmp_path) as after:
        assert_conserved(range(writer.written), after.stored_lines())


@pytest.mark.parametrize("resilient", [False, True])
def test_while_the_servers_disk_is_full_clients_wait_on_their_connection(
    tmp_path: Path, small_disk: Path, resilient: bool
) -> None:
    """The server says that it is alive (rule E14), so nobody reconnects, however long it takes."""
    log, ballast = append(tmp_path / "app.log", range(100)), small_disk / "ballast"
    settings = {"ack": "auto", "mode": "continuous", "ack_timeout": 0.5, "resilient": resilient}
    with (
        running_server(
            tmp_path, data_dir=small_disk / "data", patience=Patience(linger_s=0.2, alive_s=0.05)
        ) as running,
        chaos_proxy(running.port) as proxy,
        shipping(log, proxy.port, **settings) as run,
    ):
        run.wait_for_acks(100)
        fill(ballast)
        append(log, range(100, 1100))
        said = proxy.happened.bytes_down
        alive = len(b'{"status": "ok", "message": "alive"}\n')
        # Thirty signs of life: three times as long as a server may be silent.
        wait_until(lambda: proxy.happened.bytes_down >= said + 30 * alive, "the server says that it is alive")
        assert run.counters.lines_acked < 1100
        ballast.unlink()
        run.wait_for_acks(1100)
        assert_conserved(range(1100), running.stored_lines())
        assert run.counters.reconnects == 0
        assert run.counters.lines_retried == 0
