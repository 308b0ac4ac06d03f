"""Servers that do not do what a server should, through the real command line: a clear sentence within the limits."""

from pathlib import Path

import pytest

from tests.support import fakes
from tests.support.fakes import FakeServer
from tests.support.processes import PLAIN, QUICK, client, free_port, ship
from tests.support.running import running_server
from tests.support.shipping import append, assert_conserved

LIMITS = (*PLAIN, *QUICK, "--max-attempts", "2")


@pytest.mark.parametrize("resilient", [(), ("--resilient",)], ids=["basic", "resilient"])
@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (fakes.accept_and_close, "clos|broke"),
        (fakes.swallow, "no ack and no progress for 0.3 s"),
        (fakes.never_read, "no ack and no progress for 0.3 s"),
        (fakes.answer_rubbish, ' is not a Logferry server (it answered "HTTP/1.1 400 Bad Request")'),
        (fakes.half_an_ack, "clos|broke"),
    ],
    ids=["accepts and closes", "reads and stays silent", "accepts and stays silent", "rubbish", "half an ack"],
)
def test_it_gives_up_within_its_limits_and_says_why(
    tmp_path: Path, script: fakes.Script, sentence: str, resilient: tuple[str, ...]
) -> None:
    log = append(tmp_path / "app.log", range(10))
    with FakeServer(script) as server:
        run = ship(log, server.port, *LIMITS, *resilient, folder=tmp_path)
    assert run.wait() == 1
    assert "Traceback" not in run.stderr
    reason, summary = [line for line in run.stderr.splitlines() if line.startswith("logferry: ")]
    assert reason.startswith("logferry: not delivered: ")
    assert any(part in reason for part in sentence.split("|"))
    assert reason.endswith("gave up after 2 failures in a row, 10 lines in flight are not acked")
    assert summary.startswith("logferry: 0 lines acked, ")


@pytest.mark.parametrize("resilient", [(), ("--resilient",)], ids=["basic", "resilient"])
def test_nobody_listens(tmp_path: Path, resilient: tuple[str, ...]) -> None:
    log = append(tmp_path / "app.log", range(10))
    port = free_port()
    run = ship(log, port, *LIMITS, *resilient, folder=tmp_path)
    assert run.wait() == 1
    assert f"not delivered: cannot connect to 127.0.0.1:{port}: 127.0.0.1: Connection refused; gave up" in run.stderr


def test_a_server_name_that_means_nothing(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    words = ("--log-file", str(log), "--server-host", "a..b", *LIMITS)
    with client(None, None, *words, folder=tmp_path) as run:
        assert run.wait() == 1
    assert "not delivered: cannot look up a..b: not a host name" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_deadline_bounds_a_run_that_would_wait_for_ever(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(10))
    run = ship(log, free_port(), "--resilient", "--deadline", "0.5", folder=tmp_path)
    assert run.wait() == 1
    assert "not delivered: the deadline of 0.5 s has passed; 10 lines in flight are not acked" in run.stderr


def test_a_server_that_is_full_costs_no_line(tmp_path: Path) -> None:
    log = append(tmp_path / "app.log", range(100))
    with running_server(tmp_path, max_connections=1) as server:
        with server.connect() as other, client(log, server.port, *PLAIN, *QUICK, "--resilient", folder=tmp_path) as run:
            other.send(b"\n")
            assert other.answers(1) == ["error"]  # so it is the one that was let in
            run.wait_for_stderr("failure 1 in a row")
            other.close()
            assert run.wait() == 0, run.stderr
        assert_conserved(range(100), server.stored_lines(), retried=run.summed_up("retried"))
