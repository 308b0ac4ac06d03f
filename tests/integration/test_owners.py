"""Whose a source is, with our client and our server: folders that are copied, lost and mixed (rule E36)."""

import json
import shutil
from pathlib import Path

import pytest

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.repair import repair_path
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import QuestionRefused
from tests.support.running import DEADLINE_S, RunningServer, numbered_line
from tests.support.shipping import append, assert_conserved, once, shipping

pytestmark = pytest.mark.usefixtures("quick_backoff")


def ship(log: Path, server: RunningServer, state: Path) -> None:
    with shipping(log, server.port, **once(state.parent, state_dir=state)) as run:
        assert run.result().problems == ()


def change_id(state: Path, client_id: str) -> None:
    """Give a state folder the id of another client."""
    path = state / "checkpoints.json"
    content = path.read_text()
    path.write_text(content.replace(json.loads(content.split("\n", 1)[0])["client"], client_id))


def reports_of(server: RunningServer, checkpoints: Checkpoints) -> ReportClient:
    return ReportClient(
        Endpoint(server.host, server.port),
        client_id=checkpoints.client_id,
        client_host="test",
        connect_timeout_s=DEADLINE_S,
        answer_timeout_s=DEADLINE_S,
    )


def judged(log: Path, server: RunningServer, state: Path) -> Verdict:
    checkpoints = Checkpoints(state, read_only=True)
    reports = reports_of(server, checkpoints)
    try:
        return verify(log, checkpoints, reports)
    finally:
        reports.close()


def damage(server: RunningServer) -> Path:
    """Change a byte of the only segment."""
    (segment,) = server.data_dir.glob("segments/**/*.ndjson")
    content = bytearray(segment.read_bytes())
    content[100] ^= 1
    segment.write_bytes(content)
    return segment


def test_a_client_that_has_the_sources_of_another_ships_its_files_as_new_ones(
    tmp_path: Path, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule E36: twice rather than not at all, and both are whole."""
    log, state = append(tmp_path / "app.log", range(100)), tmp_path / "state"
    ship(log, server, state)
    change_id(state, "somebody-else")
    append(log, range(100, 150))
    ship(log, server, state)
    assert "the server refuses to continue it (the source belongs to another client)" in caplog.text
    assert_conserved(range(150), server.stored_lines(), retried=100)
    assert server.stored_lines()[100:] == [numbered_line(number) for number in range(150)]
    assert judged(log, server, state).is_whole
    append(log, range(150, 200))
    ship(log, server, state)
    assert len(server.stored_lines()) == 300


def test_a_copy_of_a_state_folder_goes_on_where_it_was(tmp_path: Path, server: RunningServer) -> None:
    """Rule E36: a machine that was cloned or restored is the same client, and repeats nothing."""
    log, state = append(tmp_path / "app.log", range(100)), tmp_path / "state"
    ship(log, server, state)
    shutil.copytree(state, tmp_path / "copy")
    append(log, range(100, 150))
    ship(log, server, tmp_path / "copy")
    append(log, range(150, 200))
    ship(log, server, state)
    assert_conserved(range(200), server.stored_lines())


def test_verify_with_the_id_of_another_client_has_its_report_and_no_lines(
    tmp_path: Path, server: RunningServer
) -> None:
    """Rule E36: what an early client asked under the id "verify", too."""
    log, state = append(tmp_path / "app.log", range(100)), tmp_path / "state"
    ship(log, server, state)
    damage(server)
    own = judged(log, server, state)
    assert [problem.kind for problem in own.wrong_lines] == ["altered"]
    change_id(state, "verify")
    found = judged(log, server, state)
    assert found.altered == own.altered
    assert found.wrong_lines == []
    assert "which lines differ is not known" in found.problem
    assert "the source belongs to another client" in found.problem


def test_a_repair_with_the_id_of_another_client_is_refused_and_says_why(tmp_path: Path, server: RunningServer) -> None:
    """Rule E36."""
    log, state = append(tmp_path / "app.log", range(100)), tmp_path / "state"
    ship(log, server, state)
    segment = damage(server)
    damaged = segment.read_bytes()
    change_id(state, "somebody-else")
    checkpoints = Checkpoints(state, read_only=True)
    reports = reports_of(server, checkpoints)
    (report,) = repair_path(log, checkpoints, reports)
    assert (report.damaged, report.repaired) == (1, 0)
    assert "the source belongs to another client" in report.problems[0]
    with pytest.raises(QuestionRefused, match="another client"):
        next(reports.content(report.source, 0))
    assert next(reports.report(report.source)).is_known  # on the same connection
    reports.close()
    assert segment.read_bytes() == damaged


def test_the_state_of_a_client_shows_its_id_to_nobody(tmp_path: Path, server: RunningServer) -> None:
    """Rule E36: the id is in one file, which only its user may read, and of 128 random bits."""
    log, state = append(tmp_path / "app.log", range(100)), tmp_path / "state"
    ship(log, server, state)
    client_id = Checkpoints(state, read_only=True).client_id
    assert len(client_id) == 32
    (holder,) = [path for path in state.iterdir() if client_id.encode() in path.read_bytes()]
    assert holder.name == "checkpoints.json"
    assert holder.stat().st_mode & 0o077 == 0
