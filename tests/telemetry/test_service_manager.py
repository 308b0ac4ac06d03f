"""What systemd learns: over a real socket, as sd_notify(3) says."""

import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from logferry.telemetry import service_manager
from logferry.telemetry.service_manager import notify, supervised, watchdog_s
from logferry.telemetry.status_source import Verdict
from tests.support.processes import ROOT, client, program
from tests.support.running import DEADLINE_S
from tests.support.shipping import append


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The end of the socket that systemd reads, of which this process and its children know."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(DEADLINE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        yield channel


def until(systemd: socket.socket, wanted: str) -> list[str]:
    """Return what arrives up to what begins as `wanted`."""
    said: list[str] = []
    while not any(each.startswith(wanted) for each in said):
        said += systemd.recv(1 << 16).decode().split("\n")
    return said


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    with supervised(Verdict.ready, lambda: pytest.fail("nobody asks")):
        pass


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "@logferry-no-such-socket"])
def test_a_socket_that_is_not_there_does_no_harm(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_an_abstract_address_begins_with_a_nul(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        name = f"logferry-test-{os.getpid()}"
        channel.bind(f"\0{name}")
        channel.settimeout(DEADLINE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1", "STATUS=x")
        assert channel.recv(100) == b"READY=1\nSTATUS=x"


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [("60000000", "", 60.0), ("60000000", "1", 0.0), ("rubbish", "", 0.0), ("-5", "", 0.0), ("", "", 0.0)],
)
def test_the_watchdog_is_that_of_this_process(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert watchdog_s() == seconds


def test_the_watchdog_is_fed_until_the_process_hangs(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    verdicts = iter([Verdict.ready()] * 3)
    with supervised(lambda: next(verdicts, Verdict.not_ready("it has not turned for 31 s")), lambda: "well"):
        said = until(systemd, "STATUS=it has not turned")
    assert said[:2] == ["READY=1", "STATUS=well"]
    assert said.count("WATCHDOG=1") == 3
    assert until(systemd, "STATUS=stopping")[-2:] == ["STOPPING=1", "STATUS=stopping"]


def test_a_status_is_one_line_and_sent_when_it_changes(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_manager, "_LOOK_S", 0.01)
    texts = iter(["a\nb", "a b", "a b", "c"])
    with supervised(Verdict.ready, lambda: next(texts, "c")):
        assert until(systemd, "STATUS=c") == ["READY=1", "STATUS=a b", "STATUS=a b", "STATUS=c"]


def test_both_ends_say_when_they_are_ready_and_when_they_stop(systemd: socket.socket, tmp_path: Path) -> None:
    log, env = append(tmp_path / "app.log", range(10)), {"NOTIFY_SOCKET": os.environ["NOTIFY_SOCKET"]}
    command = (sys.executable, ROOT / "server_main.py", "--server-host", "127.0.0.1", "--server-port", "0")
    with program(*command, "--data-dir", tmp_path / "data", folder=tmp_path, env=env) as running:
        assert until(systemd, "STATUS=0 clients connected")[0] == "READY=1"
        running.wait_for_stderr("listening on")
        port = int(re.findall(r"listening on 127.0.0.1 port (\d+)", running.stderr)[0])
        with client(log, port, "--mode", "continuous", folder=tmp_path, env=env) as shipper:
            assert "READY=1" in until(systemd, f"STATUS=idle (127.0.0.1:{port})")
            shipper.wait_for_stderr("connected")
            assert shipper.terminate() == 0
            until(systemd, "STOPPING=1")
        assert running.terminate() == 0
        until(systemd, "STOPPING=1")
