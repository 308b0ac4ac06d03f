"""What clients say about themselves: the last counts, nothing grows without a bound, and nobody is believed."""

import re
import sys
import time
from pathlib import Path

import pytest

from logferry import __version__
from logferry.protocol.delivery.control_lines import read_control_line
from logferry.protocol.messages.client_state import ClientState, FileVerdict
from logferry.protocol.messages.requests import Ping, Violation
from logferry.protocol.messages.writing import control_line
from logferry.server.clients.reporting import client_reports
from logferry.server.clients.reporting.client_reports import (
    MAX_FILES,
    MAX_FILES_OF_OWNER,
    MAX_HOSTS,
    PRESENT_S,
    ClientReports,
)
from tests.support.builders import Clock
from tests.support.http import http_get
from tests.support.processes import program, server, ship
from tests.support.running import running_server, wait_until
from tests.support.shipping import append, shipping


def verdict_on(path: str, *, is_proven: bool = True) -> FileVerdict:
    return FileVerdict(path, is_proven, "all there, once", 5, 5, 0, 0, 0, 0)


def test_the_last_ping_of_each_host_counts_until_it_is_old() -> None:
    clock = Clock()
    reports = ClientReports(clock)
    reports.note_state("a", "web1", ClientState("1", 100, 10))
    reports.note_state("a", "web1", ClientState("1", 200, 20))
    reports.note_state("b", "web2", ClientState("1", 1, 2))
    assert reports.sums() == {
        "hosts_reporting": 2,
        "hosts_unread_bytes": 201,
        "hosts_unacked_bytes": 22,
        "files_not_proven": 0,
    }
    clock.now += PRESENT_S + 1
    assert reports.sums()["hosts_reporting"] == 0


def test_the_last_verdict_on_each_file_counts() -> None:
    reports = ClientReports(Clock())
    for is_proven in (True, False):
        reports.note_verdict("a", "web1", verdict_on("/a", is_proven=is_proven))
    reports.note_verdict("b", "web1", verdict_on("/a", is_proven=False))
    assert reports.sums()["files_not_proven"] == 2
    reports.note_verdict("a", "web1", verdict_on("/a"))
    assert reports.sums()["files_not_proven"] == 1


def test_one_identity_with_thousands_of_host_names_does_not_push_out_the_hosts_of_others() -> None:
    reports = ClientReports(Clock())
    reports.note_state("b", "web1", ClientState("1", 1, 2))
    for number in range(MAX_HOSTS + 100):
        reports.note_state("a", f"host-{number}", ClientState("1", 1, 2))
    assert ("b", "web1") in reports.hosts
    assert len(reports.hosts) == MAX_HOSTS
    for number in range(MAX_HOSTS):
        reports.note_state("b", f"web{number}", ClientState("1", 1, 2))
    owners = [owner for owner, _ in reports.hosts]
    assert len(owners) == MAX_HOSTS
    assert min(map(owners.count, "ab")) >= MAX_HOSTS // 2 - 1


def test_nothing_grows_without_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_reports, "MAX_HOSTS", 5)
    monkeypatch.setattr(client_reports, "MAX_FILES", 20)
    monkeypatch.setattr(client_reports, "MAX_FILES_OF_OWNER", 8)
    reports = ClientReports(Clock())
    reports.note_verdict("modest", "host", verdict_on("/mine"))
    for number in range(100):
        reports.note_state("a", f"host{number}", ClientState("1"))
        reports.note_verdict("greedy", "host", verdict_on(f"/{number}"))
        assert len(reports.hosts) <= 5
        assert len(reports.files) == sum(map(len, reports._files_of.values())) <= 9
    assert ("modest", "host", "/mine") in reports.files
    for number in range(100):
        reports.note_verdict(f"owner{number}", "host", verdict_on("/x"))
        assert len(reports.files) == sum(map(len, reports._files_of.values())) <= 20
    assert len(reports._files_of) <= 20
    assert (MAX_HOSTS, MAX_FILES, MAX_FILES_OF_OWNER) == (5_000, 10_000, 1_000)


def test_pings_and_verdicts_are_read_strictly() -> None:
    """Rule E38."""
    assert read_control_line(control_line("ping")) == Ping()
    assert read_control_line(control_line("ping", more=1)) == Ping()
    state = ClientState("1.0", 1, 2, 3, 4, "x" * 200)
    fields = {"version": "1.0", "unread_bytes": 1, "unacked_bytes": 2, "unacked_lines": 3, "behind_since": 4}
    assert read_control_line(control_line("ping", **fields, waits_for="x" * 1000)) == Ping(state)
    for name, value in (("unread_bytes", -1), ("unacked_lines", True), ("version", 5), ("behind_since", 1.5)):
        assert isinstance(read_control_line(control_line("ping", **{**fields, name: value})), Violation)
    numbers = dict.fromkeys(("lines", "stored", "missing", "altered", "repeated", "lost"), 1)
    found = read_control_line(control_line("verdict", path="/a", proven=False, verdict="NOT all there", **numbers))
    assert found == FileVerdict("/a", False, "NOT all there", 1, 1, 1, 1, 1, 1)
    assert isinstance(
        read_control_line(control_line("verdict", path="/a", proven=1, verdict="x", **numbers)), Violation
    )


def test_a_client_says_how_it_is_and_the_server_keeps_it(tmp_path: Path) -> None:
    """Rule E38."""
    log = append(tmp_path / "app.log", range(5))
    with (
        running_server(tmp_path) as running,
        shipping(log, running.port, ack="auto", mode="continuous", host="web1") as run,
    ):
        run.wait_for_acks(5)
        reports = running.server._counters.reports
        wait_until(lambda: reports.hosts, "it is said")
        ((_, host), report) = next(iter(reports.hosts.items()))
        assert (host, report.state.version) == ("web1", __version__)
        assert report.at <= time.time()
        assert running.stats.hosts_reporting == 1


def test_verify_sends_its_verdict_on_each_file(tmp_path: Path) -> None:
    """Rule E38."""
    log = append(tmp_path / "app.log", range(5))
    words = ("--http", "127.0.0.1:0")
    with server(tmp_path / "data", *words, folder=tmp_path) as running:
        assert ship(log, running.port, folder=tmp_path).process.returncode == 0
        append(log, [7])
        target = ("--server-host", "127.0.0.1", "--server-port", str(running.port), "--log-file", log)
        command = ("-m", "logferry", "verify", *target, "--state-dir", tmp_path / "state")
        environment = {"PYTHONPATH": str(Path(client_reports.__file__).parents[4])}
        with program(sys.executable, *command, folder=tmp_path, env=environment) as run:
            assert run.wait() == 3
        port = int(re.findall(r"http://127\.0\.0\.1:(\d+)/metrics", running.program.stderr)[0])
        assert "\nlogferry_server_files_not_proven 1\n" in http_get(port, "/metrics")
