"""`logferry status` of real processes: while they run, while their server is away, and when they are dead."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.processes import PROCESS_S, ROOT, Program, client, program, server
from tests.support.running import stored_lines, wait_until
from tests.support.shipping import append, assert_conserved
from tests.support.statuses import many, say

FOLLOW = ("--mode", "continuous", "--poll-interval", "0.02", "--backoff-max", "0.1", "--health-interval", "0.1")


def status(folder: Path, *words: str) -> Program:
    """Run `logferry status` for the client of this test to its end."""
    where = ("--state-dir", folder / "state")
    with program(sys.executable, ROOT / "main.py", "status", *where, *words, folder=folder) as running:
        running.wait()
        return running


def told(folder: Path) -> dict[str, Any]:
    """Return what `logferry status --json` says; nothing while it says nothing."""
    said = status(folder, "--json").stdout
    answer: dict[str, Any] = json.loads(said) if said else {"client": {"counters": {}, "link": {}}, "files": []}
    return answer


def test_the_status_follows_a_client_through_an_outage_to_its_death_and_back(tmp_path: Path) -> None:
    log, data_dir = append(tmp_path / "app.log", range(100)), tmp_path / "data"
    before = status(tmp_path)
    assert (before.process.returncode, before.stdout) == (1, "")
    assert "no client has run with this state folder" in before.stderr

    with server(data_dir, folder=tmp_path) as first:
        port = first.port
        with client(log, port, *FOLLOW, folder=tmp_path) as run:
            shipped = log.stat().st_size
            wait_until(
                lambda: [f["committed"] for f in told(tmp_path)["files"]] == [shipped], "all is said to be acked"
            )
            wait_until(lambda: told(tmp_path)["client"]["lines_per_second"] == 0, "it is said to be quiet")
            well = status(tmp_path)
            assert well.process.returncode == 0, well.stdout
            assert f"logferry (process {run.process.pid}) has been running since" in well.stdout
            assert "exactly once" in well.stdout
            assert "100 lines acked" in well.stdout

            assert first.program.terminate() == 0
            append(log, range(100, 200))
            wait_until(lambda: told(tmp_path)["client"]["link"]["state"] == "waiting", "it is said to wait")
            (file,) = told(tmp_path)["files"]
            assert file["lag_bytes"] == log.stat().st_size - shipped
            assert file["lag_seconds"] > 0
            waiting = status(tmp_path)
            assert waiting.process.returncode == 3
            assert "problem: waiting for the server" in waiting.stdout

            run.kill()
    append(log, range(200, 300))
    dead = status(tmp_path)
    assert dead.process.returncode == 3
    assert "problem: not running: it was killed" in dead.stdout
    after = told(tmp_path)
    assert (after["client"]["running"], after["client"]["pid"]) == (False, run.process.pid)
    assert after["files"][0]["lag_bytes"] == log.stat().st_size - shipped, "also what it never saw"

    with server(data_dir, folder=tmp_path, port=port), client(log, port, *FOLLOW, folder=tmp_path) as run:
        wait_until(lambda: len(stored_lines(data_dir)) == 300, "all is stored")
        wait_until(lambda: status(tmp_path).process.returncode == 0, "all is said to be well again")
        assert run.terminate() == 0
    stopped = status(tmp_path)
    assert stopped.process.returncode == 3
    assert "problem: not running: it was stopped" in stopped.stdout
    assert_conserved(range(300), stored_lines(data_dir))


def test_asking_all_the_time_never_keeps_a_client_from_its_folder(tmp_path: Path) -> None:
    log, data_dir = append(tmp_path / "app.log", range(100)), tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running:
        for number in range(3):
            with client(log, running.port, "--resume", folder=tmp_path) as run:
                while not run.is_over:
                    status(tmp_path)
                assert run.wait() == 0, (number, run.stderr)
        assert status(tmp_path).process.returncode == 0, "a batch run that ended well is no problem"
    assert_conserved(range(100), stored_lines(data_dir))


def test_whoever_reads_the_answer_may_stop_before_its_end(tmp_path: Path) -> None:
    folder = say(tmp_path / "state", *many(5000))
    command = [sys.executable, str(ROOT / "main.py"), "status", "--all", "--state-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
        assert asked.stdout is not None
        assert asked.stderr is not None
        asked.stdout.readline()
        asked.stdout.close()
        assert asked.stderr.read() == b""
        assert asked.wait(PROCESS_S) == 3, "the exit code still says what was found"
