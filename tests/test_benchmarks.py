"""The benchmark runs, and refuses to report on a run that lost a line. How fast anything is, is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cases, latency
from benchmarks.data import LogFile, make_log
from benchmarks.measure import BenchmarkError

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmark reads /proc")


def _benchmark(*words: str, script: str = "run.py") -> tuple[str, str, int]:
    """Run the benchmark; if it hangs, end it with SIGTERM, so that it ends what it has started."""
    program = [sys.executable, str(ROOT / "benchmarks" / script), *words]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        stdout, stderr = process.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        process.terminate()
        stdout, stderr = process.communicate(timeout=10)
    return stdout, stderr, process.returncode


def test_the_benchmark_measures_one_case_and_says_that_every_line_is_stored(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    words = ["--quick", "--lines", "2000", "--runs", "1", "--only", "batch", "--json", str(result)]
    stdout, stderr, code = _benchmark(*words, "--folder", str(tmp_path))
    assert code == 0, stderr
    assert "| batch" in stdout
    report = json.loads(result.read_text(encoding="utf-8"))
    assert report["lines"] == 2000
    assert report["conservation"] == "checked"
    (row,) = report["rows"]
    assert row["name"] == "batch"
    assert row["lines_per_s"] > 0
    assert row["client_cpu_s_per_gb"] > 0
    assert row["server_cpu_s_per_gb"] > 0
    assert row["client_peak_mb"] > 1
    assert row["server_peak_mb"] > 1
    assert {"batch: speed", "batch: client memory", "batch: server memory"} == {t["name"] for t in report["targets"]}
    assert list(tmp_path.iterdir()) == [result], "the benchmark cleans up behind itself"


def test_the_latency_of_every_line_is_measured_from_its_write_to_its_ack(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    words = ["--rate", "100,1000", "--seconds", "0.5", "--json", str(result), "--folder", str(tmp_path)]
    stdout, stderr, code = _benchmark(*words, script="latency.py")
    assert code == 0, stderr
    assert "| 1,000 " in stdout
    slow, fast = json.loads(result.read_text(encoding="utf-8"))["rates"]
    for found, lines in (slow, 50), (fast, 500):
        assert lines * 0.8 <= found["lines"] <= lines * 1.2, "the lines of the first second do not count"
        assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["p999_ms"] <= found["max_ms"]
        assert found["client_percent"] > 0
        assert found["server_percent"] > 0
    assert list(tmp_path.iterdir()) == [result], "the benchmark cleans up behind itself"


def test_a_latency_needs_an_ack_of_every_line() -> None:
    second = 10**9
    sent = [0, second, 2 * second]
    acks = [(second // 2, 1), (second + 3_000_000, 1)]
    with pytest.raises(BenchmarkError, match="3 lines were written, but 2 acks were seen"):
        latency.summarise(1, sent, acks, (1.0, 1.0))
    found = latency.summarise(1, sent, [*acks, (2 * second + 5_000_000, 1)], (1.0, 1.0))
    assert (found.lines, found.p50_ms, found.max_ms) == (2, 5.0, 5.0)


def test_a_run_that_stored_fewer_lines_than_the_file_has_is_no_measurement(tmp_path: Path) -> None:
    log = make_log(tmp_path / "app.log", lines=100)
    claimed = LogFile(log.path, 101, log.bytes, log.stored)
    with pytest.raises(BenchmarkError, match="101 lines were shipped, but 100 are stored"):
        cases.run_case(cases.CASES[0], claimed, tmp_path)


def test_a_run_that_stored_other_lines_than_the_file_has_is_no_measurement(tmp_path: Path) -> None:
    log = make_log(tmp_path / "app.log", lines=100)
    log.path.write_bytes(log.path.read_bytes().replace(b"INFO", b"INF0", 1))
    with pytest.raises(BenchmarkError, match="not those of the file"):
        cases.run_case(cases.CASES[0], log, tmp_path)


def test_the_log_file_is_the_same_every_time_and_of_the_promised_kind(tmp_path: Path) -> None:
    log = make_log(tmp_path / "one.log", lines=20_000)
    again = make_log(tmp_path / "two.log", lines=20_000)
    assert log.path.read_bytes() == again.path.read_bytes()
    lines = log.path.read_bytes().splitlines()
    assert len(lines) == log.lines == log.stored.lines == 20_000
    assert 90 <= log.bytes / log.lines <= 110
    assert 0.015 < sum(b'"' in line or b"\\" in line for line in lines) / log.lines < 0.025
    assert 0.005 < sum(not line.isascii() for line in lines) / log.lines < 0.015
    assert 0 < sum(not line.startswith(b"2024-") for line in lines) / log.lines < 0.003
