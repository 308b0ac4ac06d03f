"""The benchmark runs, and refuses to report on a run that lost a line. How fast anything is, is not tested."""

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cases, idle, latency, load
from benchmarks.connections import measure_connections
from benchmarks.data import Content, LogFile, describe, make_log, make_logs
from benchmarks.discarder import Discarder
from benchmarks.ends import check_conservation, running_server, start_client
from benchmarks.experiments import QUICK, Experiment, Logs, Sizes, all_experiments
from benchmarks.lumberjack import Window
from benchmarks.measure import BenchmarkError, CannotMeasureError, Process, Usage
from benchmarks.page import as_text, write_page
from benchmarks.peers.found import PEERS
from benchmarks.peers.peer import Peer
from benchmarks.plot import MISSING, draw
from benchmarks.report import Report, make_row, medians
from benchmarks.samples import SAMPLES, make_sample
from benchmarks.schedule import measure
from benchmarks.server_alone import ServerCase, render_load, run_server_case
from benchmarks.startup import measure_startup
from benchmarks.targets import Target, targets
from logferry.protocol.messages.writing import batch_header, control_line

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the benchmark reads /proc")

LIMIT_S = 15.0


def _benchmark(*words: str, script: str = "run.py") -> tuple[str, str, int]:
    """Run the benchmark; if it hangs, end it with SIGTERM, so that it ends what it has started."""
    program = [sys.executable, str(ROOT / "benchmarks" / script), *words]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        stdout, stderr = process.communicate(timeout=150)
    except subprocess.TimeoutExpired:
        process.terminate()
        stdout, stderr = process.communicate(timeout=10)
    return stdout, stderr, process.returncode


def _case(name: str) -> cases.Case:
    return next(case for case in cases.CASES if case.name == name)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_benchmark_measures_a_case_and_says_that_every_line_is_stored(tmp_path: Path) -> None:
    result, page = tmp_path / "result.json", tmp_path / "page.md"
    words = ["--quick", "--lines", "2000", "--runs", "1", "--only", "batch,zlib", "--json", str(result)]
    stdout, stderr, code = _benchmark(*words, "--page", str(page), "--folder", str(tmp_path))
    assert code == 0, stderr
    assert "| batch" in stdout
    report = json.loads(result.read_text(encoding="utf-8"))
    assert report["lines"] == 2000
    assert report["conservation"] == "checked"
    limit, row = report["rows"]
    assert (limit["name"], limit["is_ours"], limit["server_peak_mb"]) == ("zlib", False, None)
    assert (row["name"], row["is_ours"]) == ("batch", True)
    assert row["lines_per_s"] > 0
    assert row["client_cpu_s_per_gb"] > 0
    assert row["server_cpu_s_per_gb"] > 0
    assert row["client_peak_mb"] > 1
    assert row["server_peak_mb"] > 1
    assert {target["wanted"] for target in report["targets"]} == {"60 MB", "80 MB"}, "there is no scale without rsyslog"
    assert "| batch" in page.read_text(encoding="utf-8")
    page.with_suffix(".svg").unlink(missing_ok=True)
    assert {*tmp_path.iterdir()} == {result, page}, "the benchmark cleans up behind itself"


def test_everything_that_can_be_measured_has_a_name_of_its_own() -> None:
    stdout, _, code = _benchmark("--list")
    names = stdout.split()
    assert code == 0
    assert len(names) == len(set(names))
    assert {"batch", "batch-pure", "client-alone", "many-files", "server-alone-10000", "sources-1000"} <= set(names)
    assert "big" not in names, "it is measured when it is asked for"


def test_what_fails_or_cannot_be_measured_is_said_and_has_no_numbers(tmp_path: Path) -> None:
    run = cases.Run(1.0, Usage(1.0, 1))
    outcomes: dict[str, list[Any]] = {
        "good": [run, run, run],
        "broken": [run, BenchmarkError("a line is missing")],
        "absent": [CannotMeasureError("no such program")],
    }

    def outcome(name: str) -> cases.Run:
        result = outcomes[name].pop(0)
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, cases.Run)
        return result

    experiments = [Experiment(name, 3, "short", lambda *_, name=name: outcome(name)) for name in outcomes]
    report, said = Report("a machine", 10, is_accelerated=False), list[str]()
    measure(experiments, Logs(tmp_path, Sizes(lines=50, runs=3)), tmp_path, report, say=said.append)
    assert [(row.name, len(row.runs)) for row in report.rows] == [("good", 3)]
    assert report.failures == ["broken: a line is missing"]
    assert report.skipped == ["absent: no such program"]
    assert "FAILED: broken" in as_text(report)
    assert said[1:4] == [
        "good, run 1 of 3: 10 lines/s",
        "broken, run 1 of 3: 10 lines/s",
        "absent is skipped: no such program",
    ]


# --- cases ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["client-alone", "client-alone-gzip", "gzip-pure", "backlog", "verify"])
def test_a_case_is_run_and_checked(tmp_path: Path, name: str) -> None:
    log = make_log(tmp_path / "app.log", lines=2000)
    run = cases.run_case(_case(name), log, tmp_path)
    assert run.seconds > 0
    assert run.sender
    assert run.sender.cpu_s > 0
    assert (run.receiver is None) == name.startswith("client-alone")
    assert not [path for path in tmp_path.iterdir() if path.is_dir()], "nothing is left for the next run"


@pytest.mark.parametrize("name", SAMPLES)
def test_a_log_of_each_format_is_shipped_and_what_is_stored_of_it_is_known(tmp_path: Path, name: str) -> None:
    log = make_sample(name, tmp_path / "sample.log", lines=1000)
    assert 900 < log.lines < 1100 if name == "multiline" else log.lines == 1000
    assert log.stored.lines < log.lines if name in {"multiline", "include"} else log.stored.lines == log.lines
    assert cases.run_case(_case(name), log, tmp_path).receiver


@pytest.mark.parametrize("name", SAMPLES)
def test_the_lines_of_a_sample_are_always_the_same_and_fit_their_format(tmp_path: Path, name: str) -> None:
    log, again = (make_sample(name, tmp_path / f"{number}.log", lines=500) for number in range(2))
    assert log.path.read_bytes() == again.path.read_bytes()
    with running_server(tmp_path, durability="none") as (_, port):
        with start_client(log, tmp_path, port, *SAMPLES[name].flags, "--batch-size", "auto") as client:
            client.wait(limit_s=LIMIT_S)
        (segment,) = tmp_path.glob("store/segments/**/*.ndjson")
        records = [json.loads(line) for line in segment.read_bytes().splitlines()]
    assert all(record["message"] and record["timestamp"] for record in records)
    if name == "multiline":
        assert any("\n\tat " in record["message"] for record in records)


def test_many_files_are_shipped_as_one_log(tmp_path: Path) -> None:
    log = make_logs(tmp_path / "many", files=20, lines=95)
    assert log.lines == log.stored.lines == 100
    assert cases.run_case(_case("many-files"), log, tmp_path).receiver


def test_a_run_that_stored_fewer_lines_than_the_file_has_is_no_measurement(tmp_path: Path) -> None:
    log = make_log(tmp_path / "app.log", lines=100)
    claimed = LogFile(log.path, 101, log.bytes, Content(101, log.stored.bytes, log.stored.crc32))
    with pytest.raises(BenchmarkError, match="101 lines were shipped, but 100 are stored"):
        cases.run_case(cases.CASES[0], claimed, tmp_path)


def test_a_run_that_stored_other_lines_than_the_file_has_is_no_measurement(tmp_path: Path) -> None:
    log = make_log(tmp_path / "app.log", lines=100)
    log.path.write_bytes(log.path.read_bytes().replace(b"INFO", b"INF0", 1))
    with pytest.raises(BenchmarkError, match="differ from those of the file"):
        cases.run_case(cases.CASES[0], log, tmp_path)


def test_a_run_whose_lines_did_not_all_reach_the_receiver_is_no_measurement(tmp_path: Path) -> None:
    log = make_log(tmp_path / "app.log", lines=100)
    claimed = LogFile(log.path, 101, log.bytes, Content(101, log.stored.bytes, log.stored.crc32))
    with pytest.raises(BenchmarkError, match=r"101 lines .* were shipped, but the receiver took 100 lines"):
        cases.run_case(_case("client-alone"), claimed, tmp_path)


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


def test_what_is_to_be_stored_does_not_depend_on_how_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_sample("multiline", tmp_path / "sample.log", lines=300)
    monkeypatch.setattr("benchmarks.data._READ_BYTES", 1000)
    assert describe(log.path, SAMPLES["multiline"].spec) == log


# --- one end alone ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 30])
def test_a_server_is_fed_with_batches_that_were_made_before(tmp_path: Path, connections: int) -> None:
    log = make_log(tmp_path / "app.log", lines=3000)
    rendered = tmp_path / "load.ndjson"
    render_load(log, rendered)
    run = run_server_case(ServerCase(connections), log, rendered, tmp_path)
    assert run.seconds > 0
    assert run.sender is None
    assert run.receiver
    assert run.receiver.cpu_s > 0
    assert run.receiver.peak_bytes > 1_000_000


def test_a_server_with_more_clients_than_there_are_lines_is_not_measured(tmp_path: Path) -> None:
    log = make_log(tmp_path / "app.log", lines=3)
    with pytest.raises(CannotMeasureError, match="4 connections need at least one line each, but the log has 3 lines"):
        run_server_case(ServerCase(4), log, tmp_path / "load.ndjson", tmp_path)


def test_a_load_is_cut_into_shares_and_batches_of_whole_lines() -> None:
    data = memoryview(b"".join(b"%d\n" % number for number in range(100_000)))
    shares = load.shares_of(data, 7)
    assert b"".join(shares) == data
    assert all(bytes(share).endswith(b"\n") for share in shares)
    for share in shares:
        headers, bodies = (list(load.batches_of("one", share, 512 * 1024))[first::2] for first in range(2))
        assert b"".join(bodies) == share
        assert [json.loads(bytes(header))["bytes"] for header in headers] == [len(body) for body in bodies]
        assert [json.loads(bytes(header))["crc32"] for header in headers] == [zlib.crc32(body) for body in bodies]


@pytest.mark.parametrize(
    ("answer", "problem"), [(b"", "closed the connection after b''"), (b"{}\n", "answered b'{}\\\\n'")]
)
def test_a_load_ends_when_the_server_refuses_a_connection(answer: bytes, problem: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.close()
        with pytest.raises(ConnectionError, match=problem):
            load.wait_for(ours, b'"hello"')


def _talk(*requests: bytes) -> tuple[list[dict[str, Any]], list[BaseException], Discarder]:
    """Return what the discarding receiver answers, and what it has raised."""
    ours, theirs = socket.socketpair()
    raised: list[BaseException] = []
    discarder = Discarder(theirs)

    def serve() -> None:
        try:
            discarder.serve()
        except ValueError as error:
            raised.append(error)
        theirs.close()

    thread = threading.Thread(target=serve)
    with ours:
        ours.settimeout(LIMIT_S)
        thread.start()
        ours.sendall(b"".join(requests))
        ours.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: ours.recv(4096), b""))
        thread.join(LIMIT_S)
    return [json.loads(answer) for answer in answers.splitlines()], raised, discarder


def _batch(start: int, end: int) -> bytes:
    where = {"source": "one", "start": start, "end": end}
    return batch_header(**where, lines=2, crc32=0, size=5000, is_gzip=False) + bytes(5000)  # type: ignore[arg-type]


def test_the_discarding_receiver_acks_all_batches_of_a_source() -> None:
    hello = control_line("hello", version=1, client="c", host="h", encodings=["gzip"])
    requests = (hello, control_line("open", source="one", path="/a"), _batch(0, 70), _batch(70, 90))
    answers, raised, discarder = _talk(*requests, control_line("ping"))
    assert not raised
    assert [answer["message"] for answer in answers] == ["hello", "open", "received", "received", "alive"]
    assert [answer.get("committed") for answer in answers] == [None, 0, 70, 90, None]
    assert (discarder.lines, discarder.source_bytes) == (4, 90)


def test_the_discarding_receiver_sees_when_a_batch_is_left_out() -> None:
    _, raised, _ = _talk(control_line("open", source="one", path="/a"), _batch(0, 70), _batch(80, 90))
    assert "a batch begins at 80, but the previous one ended at 70" in str(raised)


def test_a_start_is_measured_until_the_first_byte(tmp_path: Path) -> None:
    startup = measure_startup(make_log(tmp_path / "app.log", lines=1), tmp_path, starts=2)
    assert 0 < startup.ms_min <= startup.ms <= startup.ms_max
    assert [path.name for path in tmp_path.iterdir()] != ["client-state"]


def test_idling_is_measured_with_one_file_and_with_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "_SETTLE_S", 0)
    log = make_logs(tmp_path / "quiet", files=30, lines=30)
    found = idle.measure_idle(log, tmp_path, files=30, seconds=0.05)
    assert found.files == 30
    assert found.seconds >= 0.05
    assert found.client_ms >= 0
    assert found.client_bytes > 1_000_000
    assert found.server_bytes > 1_000_000


# --- latency ----------------------------------------------------------------------------------------------------------


def test_the_latency_of_every_line_is_measured_from_its_write_to_its_ack(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    words = ["--rate", "100,1000", "--files", "5", "--seconds", "0.5", "--json", str(result)]
    stdout, stderr, code = _benchmark(*words, "--folder", str(tmp_path), script="latency.py")
    assert code == 0, stderr
    assert " 1,000 " in stdout
    slow, fast = json.loads(result.read_text(encoding="utf-8"))["rates"]
    for found, lines in (slow, 50), (fast, 500):
        assert lines * 0.8 <= found["lines"] <= lines * 1.2, "the lines of the first second do not count"
        assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["p999_ms"] <= found["max_ms"]
        assert found["ack_p99_ms"] > 0
        assert found["client_percent"] > 0
        assert found["server_percent"] > 0
    assert list(tmp_path.iterdir()) == [result], "the benchmark cleans up behind itself"


def test_a_latency_needs_an_ack_of_every_line() -> None:
    second, rate = 10**9, latency.Rate(1)
    sent = [0, second, 2 * second]
    acks = [(second // 2, 1, 100), (second + 3_000_000, 1, 2_000_000)]
    with pytest.raises(BenchmarkError, match="3 lines were written, but 2 were acked"):
        latency.summarise(rate, sent, acks, (1.0, 1.0))
    found = latency.summarise(rate, sent, [*acks, (2 * second + 5_000_000, 1, 1_000_000)], (1.0, 1.0))
    assert (found.lines, found.p50_ms, found.max_ms, found.ack_p99_ms) == (2, 5.0, 5.0, 2.0)
    slower = latency.summarise(rate, sent, [*acks, (2 * second + 9_000_000, 1, 1_000_000)], (3.0, 1.0))
    assert (medians([found, slower]).max_ms, medians([found, slower]).client_percent) == (7.0, 2.0)


# --- other programs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_is_told_which_file_to_ship_to_which_port(tmp_path: Path, peer: Peer) -> None:
    log = Path("/var/log/with a space.log")
    words = peer.configure(tmp_path, log, 40123)
    written = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    text = "\n".join(written.values())
    assert str(log) in text
    assert "40123" in text
    assert "{home}" not in text
    assert "{{" not in text
    assert any(name in word for name in written for word in words), "it is told where its configuration is"
    for name in ("vector.json", "filebeat.yml"):
        if name in written:
            assert json.loads(written[name])


def test_a_peer_is_found_where_it_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = next(peer for peer in PEERS if peer.name == "fluent-bit")
    monkeypatch.delenv("FLUENT_BIT", raising=False)
    assert peer.find(sys.executable) == sys.executable
    assert peer.find("/no/such/program") is None
    monkeypatch.setenv("FLUENT_BIT", sys.executable)
    assert peer.find() == sys.executable
    assert "--fluent-bit or FLUENT_BIT" in peer.reason_to_skip


def test_a_peer_that_ends_too_early_is_skipped_and_its_files_are_removed(tmp_path: Path) -> None:
    log = make_log(tmp_path / "app.log", lines=10)
    broken = Peer("broken", "sh", "", lambda home, log, port: ["-c", "echo cannot read my configuration; exit 3"])
    with pytest.raises(CannotMeasureError, match="cannot read my configuration"):
        broken.run("/bin/sh", log, tmp_path)
    assert not (tmp_path / "broken").exists()


def test_a_peer_is_measured_until_its_receiver_has_everything(tmp_path: Path) -> None:
    log = make_log(tmp_path / "app.log", lines=100)
    copy = (
        "import pathlib, signal, socket, sys\n"
        "sock = socket.create_connection(('127.0.0.1', int(sys.argv[2])))\n"
        "sock.sendall(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "signal.pause()\n"  # like a daemon
    )

    def configure(_: Path, path: Path, port: int) -> Sequence[str]:
        return ["-c", copy, str(path), str(port)]

    run = Peer("copier", "python3", "", configure).run(sys.executable, log, tmp_path)
    assert run.seconds > 0
    assert run.receiver is None


def test_beats_are_acked_at_the_end_of_each_window() -> None:
    def number(value: int) -> bytes:
        return struct.pack(">I", value)

    events = b"".join(b"2J" + number(index) + number(2) + b"{}" for index in (1, 2, 3))
    packed = zlib.compress(events)
    data = b"2W" + number(3) + b"2C" + number(len(packed)) + packed + b"2W" + number(1) + events[:12]
    whole, byte_by_byte = Window(), Window()
    acks = b"2A" + number(3) + b"2A" + number(1)
    assert whole.receive_data(data) == acks
    assert b"".join(byte_by_byte.receive_data(bytes([byte])) for byte in data) == acks
    assert whole.events == byte_by_byte.events == 4
    with pytest.raises(ValueError, match="not a frame"):
        whole.receive_data(b"GET / HTTP/1.1")


# --- the report -------------------------------------------------------------------------------------------------------


def _report(**seconds: float) -> Report:
    """Return a report of a log of a million lines that each case shipped in so many seconds."""
    log = LogFile(Path("app.log"), 1_000_000, 10**8, Content(1, 1, 1))
    report = Report("a machine", log.lines, is_accelerated=True)
    known = {experiment.name: experiment for experiment in all_experiments(QUICK, dict.fromkeys(PEERS, "binary"))}
    for name, took in seconds.items():
        runs = [cases.Run(took * factor, Usage(took, 50_000_000), Usage(took, 90_000_000)) for factor in (1, 2, 0.5)]
        report.rows.append(make_row(known[name.replace("_", "-")], log, runs, is_accelerated=True))
    return report


def test_a_row_holds_medians_and_the_largest_memory() -> None:
    (row,) = _report(batch=2.0).rows
    assert (row.lines_per_s, row.lines_per_s_min, row.lines_per_s_max) == (500_000, 250_000, 1_000_000)
    assert (row.source_mb_per_s, row.client_cpu_s_per_gb, row.client_peak_mb) == (50, 20, 50)


def test_targets_are_ratios_of_what_was_measured_in_the_same_call() -> None:
    found = {target.name: target.met for target in targets(_report(rsyslog=21.0, batch=1.0, resilient=1.2, verify=0.9))}
    assert found == {
        "batch: speed": True,
        "resilient: speed": False,
        "verify: speed": True,
        "client: peak memory in any case (most: batch)": True,
        "server: peak memory in any case (most: batch)": False,
    }


def test_fluent_bit_is_the_measure_where_it_was_measured_and_2_6_times_rsyslog_elsewhere() -> None:
    with_it = {target.name: target for target in targets(_report(fluent_bit=5.0, rsyslog=100.0, json=1.0))}
    assert with_it["json: speed"] == Target("json: speed", "5 x fluent-bit", "5.00 x fluent-bit", met=True)
    without = {target.name: target for target in targets(_report(rsyslog=12.0, json=1.0, json_client_alone=0.5))}
    assert without["json: speed"] == Target("json: speed", "13 x rsyslog", "12.00 x rsyslog", met=False)
    assert without["json-client-alone: speed"].met


def test_connections_that_are_not_many_yield_a_row(tmp_path: Path) -> None:
    found = measure_connections(20, tmp_path, seconds=0.5)
    report = Report("a machine", 1, is_accelerated=True, connections=[found])
    assert "| 20 " in report.tables()
    assert found.lines_per_s > 0
    assert 0 < found.p50_ms <= found.p99_ms <= found.max_ms
    assert [
        target.name
        for target in targets(Report("a machine", 1, True, connections=[replace(found, connections=10_000)]))
    ] == [
        "connections-10000: server CPU",
        "connections-10000: p99 of the ack",
        "connections-10000: server memory",
    ]


def test_a_page_has_the_tables_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = _report(rsyslog=8.0, batch=1.0)
    report.skipped.append("vector: no vector on this machine")
    page = tmp_path / "docs" / "benchmarks.md"
    assert write_page(report, page) == MISSING
    text = page.read_text(encoding="utf-8")
    assert "a machine; the largest log has 1,000,000 lines; with the compiled accelerator." in text
    assert "| batch: speed" in text
    assert "- skipped: vector: no vector on this machine" in text
    assert "svg" not in text
    assert [path.name for path in page.parent.iterdir()] == ["benchmarks.md"]


def test_a_plot_is_the_same_for_the_same_report(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    assert [draw(_report(rsyslog=8.0, batch=1.0), path) for path in paths] == [None, None]
    assert b"<svg" in paths[0].read_bytes()
    assert paths[0].read_bytes() == paths[1].read_bytes()


# --- measuring --------------------------------------------------------------------------------------------------------


def test_a_process_knows_only_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FILE", "/not/for/this/one")
    log = tmp_path / "said.log"
    script = "import os; print(sorted(os.environ))"
    with Process([sys.executable, "-c", script], log=log, environment={"MODE": "x"}) as process:
        process.wait(limit_s=LIMIT_S)
    said = log.read_text(encoding="utf-8")
    assert "'MODE'" in said
    assert "'LOG_FILE'" not in said


def test_a_process_stays_on_its_core(tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    script = "import os\nwhile len(os.sched_getaffinity(0)) > 1: pass\nprint(os.sched_getaffinity(0))"
    log = tmp_path / "said.log"
    with Process([sys.executable, "-c", script], log=log, core=core) as process:
        process.wait(limit_s=LIMIT_S)
    assert log.read_text(encoding="utf-8").strip() == f"{{{core}}}"


def test_conservation_is_that_of_all_files_in_their_order(tmp_path: Path) -> None:
    log = make_logs(tmp_path / "logs", files=3, lines=9)
    with pytest.raises(BenchmarkError, match="9 lines were shipped, but 0 are stored"):
        check_conservation(log, tmp_path)
