"""Real processes that are killed, frozen or asked to stop in the middle of their work."""

import contextlib
import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest

from logferry.protocol.plain.acks import ACK_OK
from tests.faults.chaos_proxy import DOWN, UP, chaos_proxy
from tests.support import fakes
from tests.support.fakes import FakeServer, Talk
from tests.support.processes import PLAIN, QUICK, Program, client, free_port, server, ship
from tests.support.running import running_server, stored_lines, wait_until
from tests.support.shipping import append, assert_conserved, conservation, shipping

LINES = 20_000

FORMS = {
    "basic": PLAIN,
    "resilient": (*PLAIN, "--resilient"),
    "gzip": (*PLAIN, "--compress", "--batch-size", "50"),
}
EXACTLY_ONCE = {"exactly once": (), "exactly once, resilient": ("--resilient",)}

plain_forms = pytest.mark.parametrize("words", FORMS.values(), ids=FORMS)
all_forms = pytest.mark.parametrize("words", [*FORMS.values(), *EXACTLY_ONCE.values()], ids=[*FORMS, *EXACTLY_ONCE])


def retries_of(shipper: Program, words: tuple[str, ...]) -> int:
    """Return how many repeats the run may have caused."""
    return shipper.summed_up("retried") if words[:2] == PLAIN else 0


@all_forms
def test_a_server_that_is_killed_twice_loses_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    log = append(tmp_path / "app.log", range(LINES))
    data_dir, port = tmp_path / "data", free_port()
    unhurried = ("--max-attempts", "0", "--ack-timeout", "10")  # a kill ends the connection; the acks may be slow
    with (
        chaos_proxy(port) as proxy,
        client(log, proxy.port, *QUICK, *unhurried, *words, folder=tmp_path) as shipper,
    ):
        for _ in range(2):
            with server(data_dir, folder=tmp_path, port=port) as running:
                sent = proxy.happened.bytes_up
                wait_until(lambda: proxy.happened.bytes_up > sent, "lines flow")  # noqa: B023
                running.program.kill()
        with server(data_dir, folder=tmp_path, port=port) as running:
            assert shipper.wait() == 0, shipper.stderr
            assert running.program.terminate() == 0
    assert_conserved(range(LINES), stored_lines(data_dir), retried=retries_of(shipper, words))


def test_lines_that_are_acked_are_on_disk_when_the_server_is_killed(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(0))
    data_dir = tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running, shipping(log, running.port, mode="continuous") as shipper:
        for start in range(0, 500, 100):
            append(log, range(start, start + 100))
            shipper.wait_for_acks(start + 100)
        running.program.kill()
        assert_conserved(range(500), stored_lines(data_dir))
        with contextlib.suppress(Exception):
            shipper.stop()  # the server is gone


@plain_forms
def test_a_batch_client_that_is_killed_can_be_run_again(tmp_path: Path, words: tuple[str, ...]) -> None:
    log = append(tmp_path / "app.log", range(LINES))
    with running_server(tmp_path) as receiver, chaos_proxy(receiver.port) as proxy:
        proxy.stall(DOWN)  # no acks: it cannot be done before it is killed
        with client(log, proxy.port, *words, folder=tmp_path) as shipper:
            wait_until(lambda: receiver.stats.lines_stored > 0, "lines are stored")
            shipper.kill()
        proxy.flow(DOWN)
        assert ship(log, proxy.port, *words, folder=tmp_path).wait() == 0
        assert_conserved(range(LINES), receiver.stored_lines(), retried=LINES)


@plain_forms
def test_sigterm_makes_a_client_deliver_what_it_has_read(tmp_path: Path, words: tuple[str, ...]) -> None:
    log = append(tmp_path / "app.log", range(1000))
    with running_server(tmp_path) as receiver, chaos_proxy(receiver.port) as proxy:
        proxy.stall(DOWN)
        with client(log, proxy.port, "--mode", "continuous", *words, folder=tmp_path) as shipper:
            wait_until(lambda: receiver.stats.lines_stored == 1000, "all lines are stored, and none is acked")
            shipper.send(signal.SIGTERM)
            proxy.flow(DOWN)
            assert shipper.wait() == 0, shipper.stderr
        assert shipper.summed_up("acked") == 1000
        assert_conserved(range(1000), receiver.stored_lines())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_a_batch_run_that_is_stopped_before_its_end_says_so(tmp_path: Path, number: signal.Signals, code: int) -> None:
    log = append(tmp_path / "app.log", range(300_000))  # more than the window and all buffers
    with (
        FakeServer(fakes.never_read) as receiver,
        client(log, receiver.port, *PLAIN, "--shutdown-timeout", "0.2", folder=tmp_path) as shipper,
    ):
        shipper.wait_for_stderr("connected")
        shipper.send(number)
        assert shipper.wait() == code
    assert "not delivered: stopped" in shipper.stderr


def test_a_second_signal_ends_a_client_at_once_with_a_summary(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    with FakeServer(fakes.swallow) as receiver:
        words = (*PLAIN, "--shutdown-timeout", "1000", "--ack-timeout", "1000")
        with client(log, receiver.port, *words, folder=tmp_path) as shipper:
            wait_until(lambda: len(receiver.lines) == 10, "the lines are in flight", deadline_s=30)
            shipper.send(signal.SIGINT)
            # The first signal must have been taken before the second: the kernel keeps only one of a kind.
            shipper.send(signal.SIGTERM)
            shipper.send(signal.SIGTERM)
            assert shipper.wait() in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert shipper.stderr.splitlines()[-1].startswith("logferry: 0 lines acked, ")


@plain_forms
def test_a_server_that_is_frozen_for_longer_than_the_ack_timeout(tmp_path: Path, words: tuple[str, ...]) -> None:
    log = append(tmp_path / "app.log", range(LINES))
    data_dir = tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running, chaos_proxy(running.port) as proxy:
        proxy.stall(UP)
        with client(log, proxy.port, *QUICK, "--max-attempts", "0", *words, folder=tmp_path) as shipper:
            shipper.wait_for_stderr("connected")
            running.program.send(signal.SIGSTOP)
            proxy.flow(UP)
            shipper.wait_for_stderr("no ack and no progress")
            running.program.send(signal.SIGCONT)
            assert shipper.wait() == 0, shipper.stderr
    assert_conserved(range(LINES), stored_lines(data_dir), retried=retries_of(shipper, words))


def test_a_client_that_is_frozen_finds_its_acks_when_it_wakes(tmp_path: Path) -> None:
    """The time in which it did not run must not count as the server's silence."""
    log = append(tmp_path / "app.log", range(100))

    def ack_late(talk: Talk) -> None:
        talk.read_lines(100)
        talk.stay_until_told()
        talk.say(ACK_OK * 100)
        fakes.swallow(talk)

    with FakeServer(ack_late) as receiver:
        words = (*PLAIN, "--ack-timeout", "2", "--max-attempts", "1")
        with client(log, receiver.port, *words, folder=tmp_path) as shipper:
            wait_until(lambda: len(receiver.lines) == 100, "the lines are in flight", deadline_s=30)
            shipper.send(signal.SIGSTOP)
            receiver.may_end.set()
            os.waitid(os.P_PID, shipper.process.pid, os.WSTOPPED)
            # Longer than its ack timeout; there is nothing to wait for but the clock.
            with pytest.raises(subprocess.TimeoutExpired):
                shipper.process.wait(2.2)
            shipper.send(signal.SIGCONT)
            assert shipper.wait() == 0, shipper.stderr


@all_forms
def test_a_full_disk_makes_clients_wait_until_there_is_room(
    tmp_path: Path, small_disk: Path, words: tuple[str, ...]
) -> None:
    """Rule A5."""
    log = append(tmp_path / "app.log", range(LINES))  # 1.5 MB as NDJSON
    data_dir, ballast = small_disk / "data", small_disk / "ballast"
    ballast.write_bytes(bytes(832 * 1024))  # an empty ledger takes 120 KiB
    with server(data_dir, "--min-free-bytes", "0", folder=tmp_path) as running:
        more = ("--max-attempts", "0", *words)
        with client(log, running.port, *more, folder=tmp_path) as shipper:
            running.program.wait_for_stderr("No space left on device")
            assert not shipper.is_over
            stored = stored_lines(data_dir)
            assert conservation(range(len(stored)), stored).altered <= 1  # the line that is being written
            subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
            assert shipper.wait() == 0, shipper.stderr
        assert running.program.terminate() == 0
    assert_conserved(range(LINES), stored_lines(data_dir), retried=retries_of(shipper, words))


def test_a_file_size_limit_is_no_crash(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stops one segment as a full disk would; nothing is acked that is not stored."""
    log = append(tmp_path / "app.log", range(LINES))
    data_dir = tmp_path / "data"

    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, 1024 * 1024))

    with server(data_dir, folder=tmp_path, limits=no_large_files) as running:
        with client(log, running.port, *QUICK, "--max-attempts", "2", folder=tmp_path) as shipper:
            assert shipper.wait() == 1
        assert not running.program.is_over
        assert "File too large" in running.program.stderr
        running.program.kill()
    acked = shipper.summed_up("acked")
    assert acked < LINES
    assert conservation(range(acked), stored_lines(data_dir)).missing == 0
