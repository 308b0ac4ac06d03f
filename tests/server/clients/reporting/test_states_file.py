"""What clients say about themselves, in a file for those who look at a store: bounded, private, and never believed."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from logferry.protocol.messages.client_state import ClientState, FileVerdict
from logferry.server.clients.reporting.client_reports import ClientReports
from logferry.server.clients.reporting.states_file import (
    MOST_VERDICTS,
    read_states,
    read_verdicts,
    restore,
    states_of,
    write_states,
)
from logferry.server.storage.disk.files.segment_names import CLIENT_STATES_NAME
from logferry.server.storage.disk.integrity.fsck import fsck
from tests.support.builders import Clock
from tests.support.looking import line, store_lines
from tests.support.running import running_server, wait_until
from tests.support.stores import opened


def test_what_is_written_is_read_and_the_latest_of_a_host_counts(tmp_path: Path) -> None:
    clock = Clock()
    reports = ClientReports(clock)
    reports.note_state("b", "web-1", ClientState("1.0", 5, 7, 1, 1000, "a server"))
    clock.now += 1
    reports.note_state("a", "web-1", ClientState("1.1"))
    reports.note_state("a", "\x1b\ud800", ClientState("<b>"))
    write_states(tmp_path, states_of(reports))
    states = read_states(tmp_path)
    assert set(states) == {"web-1", "\x1b\ud800"}
    assert (states["web-1"]["version"], states["web-1"]["at"]) == ("1.1", clock.now)
    assert (tmp_path / CLIENT_STATES_NAME).stat().st_mode & 0o777 == 0o640


GOOD = {"host": "a", "owner": "", "at": 1.5, "version": "1", "waits_for": "", "unacked_lines": 0, "behind_since": 0}
GOOD |= {"unread_bytes": 1, "unacked_bytes": 0}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        json.dumps({"version": 2, "hosts": [GOOD]}).encode(),
        json.dumps({"version": 1, "hosts": {"a": GOOD}}).encode(),
        json.dumps({"version": 1, "hosts": [GOOD | {"at": True}, GOOD | {"at": 1e300}, GOOD | {"host": 1}]}).encode(),
        json.dumps({"version": 1, "hosts": [GOOD | {"unread_bytes": -1}, GOOD | {"unread_bytes": 1 << 63}]}).encode(),
    ],
)
def test_a_forged_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CLIENT_STATES_NAME).write_bytes(content)
    assert read_states(tmp_path) == {}


def test_verdicts_are_written_and_a_start_takes_everything_over(tmp_path: Path) -> None:
    clock = Clock()
    reports = ClientReports(clock)
    reports.note_state("me", "web-1", ClientState("1.0", 5, 7, 1, 1000, "a server"))
    for number in range(MOST_VERDICTS + 2):
        clock.now += 1
        verdict = FileVerdict(f"/{number}", False, "missing", 9, 7, 2, 0, 0, 0)
        reports.note_verdict(f"owner {number % 5}", "web-1", verdict)
    write_states(tmp_path, states_of(reports))
    found = read_verdicts(tmp_path)
    assert len(found) == MOST_VERDICTS
    assert ("web-1", "/1") not in found
    assert (found["web-1", "/2"]["missing"], found["web-1", "/2"]["at"]) == (2, clock.now - MOST_VERDICTS + 1)
    later = ClientReports(Clock())
    restore(tmp_path, later)
    assert states_of(later) == states_of(reports)
    assert later.sums()["files_not_proven"] == MOST_VERDICTS


@pytest.mark.parametrize("change", [{"missing": -1}, {"missing": True}, {"path": 1}, {"is_proven": 1}, {"at": None}])
def test_a_forged_verdict_says_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    verdict = {"host": "a", "owner": "", "at": 1, **asdict(FileVerdict("/a", True, "v", 1, 1, 0, 0, 0, 0))}
    write_states(tmp_path, {"files": [verdict, verdict | {"path": "/b"} | change]})
    assert [path for _, path in read_verdicts(tmp_path)] == ["/a"]


def test_the_file_belongs_to_the_store(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store_lines(store, "a", line("m"))
    write_states(tmp_path, {"hosts": [GOOD]})
    assert [finding.kind for finding in fsck(tmp_path)] == ["segment"]


def test_a_server_writes_what_a_client_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.server.server.WRITE_S", 0.02)
    with running_server(tmp_path / "server") as server:
        server.server._counters.reports.note_state("", "web-1", ClientState("1.2"))
        wait_until(lambda: "web-1" in read_states(server.data_dir), "the file has the host")
