"""The program as its users run it: `main.py`, `server_main.py`, options, environment, output."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from logferry.client.net.connecting.endpoint import Endpoint
from logferry.client.net.connecting.health import probe
from tests.support.processes import (
    QUICK,
    ROOT,
    ServerProgram,
    client,
    free_port,
    peak_memory,
    program,
    server,
    ship,
    wait_for_port,
)
from tests.support.running import numbered_line, stored_lines, wait_until
from tests.support.shipping import append, assert_conserved

FOLLOW = ("--mode", "continuous", "--poll-interval", "0.02")

COMBINATIONS = [
    (*compress, *resilient, *batch_size)
    for compress in ((), ("--compress",))
    for resilient in ((), ("--resilient",))
    for batch_size in ((), ("--batch-size", "7"), ("--batch-size", "5000"), ("--batch-size", "auto"))
]


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProgram, Path]]:
    """One server for the tests that only add lines to it."""
    folder = tmp_path_factory.mktemp("server")
    with server(folder / "data", "--echo", folder=folder) as running:
        yield running, folder / "data"
        assert running.program.terminate() == 0, running.program.stderr


def sizes(data_dir: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in data(data_dir)}


def new_lines(data_dir: Path, before: Mapping[Path, int]) -> list[bytes]:
    """Return what was stored since segments had these sizes: in each folder in the order of storing."""
    contents = (path.read_bytes()[before.get(path, 0) :] for path in sorted(data(data_dir)))
    return b"".join(contents).splitlines(keepends=True)


@pytest.mark.parametrize("words", COMBINATIONS, ids=" ".join)
def test_every_combination_stores_the_same(
    tmp_path: Path, shared_server: tuple[ServerProgram, Path], words: tuple[str, ...]
) -> None:
    running, data_dir = shared_server
    before = sizes(data_dir)
    log = append(tmp_path / "app.log", range(3000))
    run = ship(log, running.port, *words, folder=tmp_path)
    assert run.wait() == 0, run.stderr
    assert new_lines(data_dir, before) == [numbered_line(number) for number in range(3000)]


def test_the_last_line_on_stderr_is_the_summary(tmp_path: Path, shared_server: tuple[ServerProgram, Path]) -> None:
    running, _ = shared_server
    log = append(tmp_path / "app.log", range(100))
    with log.open("ab") as file:
        file.write(b"\n")
    for words in ((), ("--again", "--resilient")):
        run = ship(log, running.port, *words, folder=tmp_path)
        assert run.stdout == ""
        assert re.fullmatch(
            rf"logferry: 100 lines acked, {log.stat().st_size} bytes read in \d+\.\d\d s \(\d+ lines/s\), "
            r"0 rejected, 0 retried, 1 blank skipped",
            run.stderr.splitlines()[-1],
        )
    run = ship(log, running.port, folder=tmp_path)
    assert run.stderr.endswith(" blank skipped, 0 new lines; 100 were stored before (--again ships them again)\n")


def test_echo_prints_what_is_stored(tmp_path: Path, shared_server: tuple[ServerProgram, Path]) -> None:
    running, _ = shared_server
    log = append(tmp_path / "app.log", range(777_000, 777_010))
    assert ship(log, running.port, folder=tmp_path).wait() == 0
    expected = "".join(numbered_line(number).decode() for number in range(777_000, 777_010))
    wait_until(lambda: expected in running.program.stdout, "the lines are on stdout")


def test_a_health_probe_leaves_no_trace_in_the_servers_log(tmp_path: Path) -> None:
    with server(tmp_path / "data", folder=tmp_path) as running:
        said = running.program.stderr
        for _ in range(5):
            assert probe(Endpoint("127.0.0.1", running.port), timeout_s=5) is None
        log = append(tmp_path / "app.log", range(1))
        assert ship(log, running.port, folder=tmp_path).wait() == 0
        new = running.program.stderr.removeprefix(said).splitlines()
        assert all("delivery protocol" in line for line in new), new  # of the client alone
        assert stored_lines(tmp_path / "data") == [numbered_line(0)]


def test_settings_may_come_from_the_environment(tmp_path: Path, shared_server: tuple[ServerProgram, Path]) -> None:
    running, data_dir = shared_server
    before = sizes(data_dir)
    log = append(tmp_path / "app.log", range(100))
    env = {
        "LOG_FILE": str(log),
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": str(running.port),
        "COMPRESS": "true",
        "RESILIENT": "yes",
        "BATCH_SIZE": "5",
        "METRICS_INTERVAL": "10",
    }
    with client(None, None, folder=tmp_path, env=env) as run:
        assert run.wait() == 0, run.stderr
    assert_conserved(range(100), new_lines(data_dir, before))
    assert "health: the server is healthy" in run.stderr


def test_the_example_environment_file_is_a_configuration_that_works(
    tmp_path: Path, shared_server: tuple[ServerProgram, Path]
) -> None:
    """Compose reads `.env`; here its lines become the environment, with the port and the file of this test."""
    running, data_dir = shared_server
    before = sizes(data_dir)
    log = append(tmp_path / "app.log", range(10))
    settings = dict(
        line.removeprefix("#").split("=", 1)
        for line in (ROOT / ".env.example").read_text().splitlines()
        if re.match(r"#?[A-Z_]+=", line)
    )
    assert settings["BATCH_SIZE"] == "1"
    here = {"LOG_FILE": str(log), "SERVER_HOST": "127.0.0.1", "SERVER_PORT": str(running.port)}
    here["LOGFERRY_STATE_DIR"] = str(tmp_path / "state")  # the default belongs to whoever runs the tests
    with client(None, None, folder=tmp_path, env={**settings, **here, "SHIPPING_MODE": "batch"}) as run:
        assert run.wait() == 0, run.stderr
    assert_conserved(range(10), new_lines(data_dir, before))


def test_the_command_line_wins_over_the_environment(tmp_path: Path, shared_server: tuple[ServerProgram, Path]) -> None:
    running, _ = shared_server
    log = append(tmp_path / "app.log", range(10))
    env = {"LOG_FILE": "/nowhere", "SERVER_PORT": "1", "SHIPPING_MODE": "continuous"}
    run = ship(log, running.port, "--mode", "batch", folder=tmp_path, env=env)
    assert run.wait() == 0, run.stderr


def test_all_problems_of_a_configuration_are_told_at_once(tmp_path: Path) -> None:
    words = ("--mode", "sometimes", "--server-port", "0", "--wrong", "--compress=perhaps")
    with client(None, None, *words, folder=tmp_path, env={"BATCH_SIZE": "-1"}) as run:
        assert run.wait() == 2
    for word in ("--mode", "sometimes", "--server-port", "--wrong", "--compress", "--batch-size", "BATCH_SIZE"):
        assert word in run.stderr
    assert "Traceback" not in run.stderr


LAYERS = ("the command line", "the environment", "the file", "the default")


@pytest.mark.parametrize("given", range(len(LAYERS)), ids=[f"from {layer} on" for layer in LAYERS])
def test_what_is_nearest_to_the_user_wins_in_every_record_that_is_stored(
    tmp_path: Path, shared_server: tuple[ServerProgram, Path], given: int
) -> None:
    """The command line over the environment, that over the file, that over the default; all that are given, are."""
    running, data_dir = shared_server
    before = sizes(data_dir)
    log, config = append(tmp_path / "app.log", range(100)), tmp_path / "logferry.toml"
    layers = LAYERS[given:]
    field = 'field = { layer = "the file" }' if "the file" in layers else ""
    config.write_text(f'log_file = "{log}"\nserver_port = {running.port}\n{field}\n')
    words = ("--field", "layer=the command line") if "the command line" in layers else ()
    env = {"LOGFERRY_FIELD": "layer=the environment"} if "the environment" in layers else {}
    with client(
        None, None, "--config", str(config), "--server-host", "127.0.0.1", *words, folder=tmp_path, env=env
    ) as run:
        assert run.wait() == 0, run.stderr
    added = b"" if layers[0] == "the default" else b', "layer": "%s"' % layers[0].encode()
    stored = new_lines(data_dir, before)
    assert all(line.endswith(added + b"}\n") for line in stored)
    assert_conserved(range(100), [line.replace(added, b"") for line in stored])


def test_a_client_ships_under_the_name_that_it_was_given(tmp_path: Path) -> None:
    log, data_dir = append(tmp_path / "app.log", range(10)), tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running:
        run = ship(log, running.port, "--host", "web-1", "--add-host", folder=tmp_path)
        assert run.wait() == 0, run.stderr
    (segment,) = data_dir.glob("segments/**/*.ndjson")
    assert segment.parent == Path(f"{data_dir}/segments/web-1{log}")
    added = b', "host": "web-1"'
    assert_conserved(range(10), [line.replace(added, b"") for line in stored_lines(data_dir) if added in line])


def test_a_server_reads_its_configuration_file(tmp_path: Path) -> None:
    log, data_dir, config = append(tmp_path / "app.log", range(10)), tmp_path / "data", tmp_path / "server.toml"
    config.write_text(f'server_host = "127.0.0.1"\nserver_port = 0\ndata_dir = "{data_dir}"\nidle_timeout = "2m"\n')
    words = (sys.executable, ROOT / "server_main.py")
    with program(*words, folder=tmp_path, env={"LOGFERRY_CONFIG": str(config)}) as started:
        run = ship(log, ServerProgram(started).port, folder=tmp_path)
        assert run.wait() == 0, run.stderr
        assert started.terminate() == 0
    assert_conserved(range(10), stored_lines(data_dir))


@pytest.mark.parametrize("resilient", [(), ("--resilient",)], ids=["basic", "resilient"])
def test_continuous_mode_follows_appends_and_rotations(tmp_path: Path, resilient: tuple[str, ...]) -> None:
    log, data_dir = tmp_path / "app.log", tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running:
        with client(log, running.port, *FOLLOW, *resilient, folder=tmp_path) as run:
            run.wait_for_stderr("waiting for it to appear")
            total = 0
            for rotation in range(3):
                for _ in range(3):
                    append(log, range(total, total + 50))
                    total += 50
                    wait_until(lambda: len(stored_lines(data_dir)) == total, f"{total} lines are stored")  # noqa: B023
                os.rename(log, tmp_path / f"app.log.{rotation}")
                append(tmp_path / f"app.log.{rotation}", [total])  # by a writer that has not noticed yet
                total += 1
            append(log, range(total, total + 50))
            total += 50
            wait_until(lambda: len(stored_lines(data_dir)) == total, "all is stored")
            assert run.terminate() == 0, run.stderr
        assert run.summed_up("acked") == total
    assert_conserved(range(total), stored_lines(data_dir))


def test_a_line_is_shipped_when_its_newline_comes(tmp_path: Path) -> None:
    log, data_dir = tmp_path / "app.log", tmp_path / "data"
    log.write_bytes(b"2024-01-15 08:23:45 INFO line ")
    with server(data_dir, folder=tmp_path) as running, client(log, running.port, *FOLLOW, folder=tmp_path) as run:
        run.wait_for_stderr("following")
        with log.open("ab", buffering=0) as file:
            file.write(b"0\n2024-01-15 08:23:45 INFO li")
            wait_until(lambda: stored_lines(data_dir) == [numbered_line(0)], "the first line is stored")
            file.write(b"ne 1\n")
            wait_until(lambda: len(stored_lines(data_dir)) == 2, "the second line is stored")
        assert run.terminate() == 0
    assert_conserved(range(2), stored_lines(data_dir))


def test_a_resilient_client_may_start_before_its_server(tmp_path: Path) -> None:
    log, data_dir, port = append(tmp_path / "app.log", range(1000)), tmp_path / "data", free_port()
    with client(log, port, "--resilient", *QUICK, folder=tmp_path) as run:
        run.wait_for_stderr("health: the server is unhealthy: Connection refused")
        with server(data_dir, folder=tmp_path, port=port):
            assert run.wait() == 0, run.stderr
    assert "health: the server is healthy again" in run.stderr
    assert run.stderr.count("is unhealthy") == 1
    assert_conserved(range(1000), stored_lines(data_dir), retried=run.summed_up("retried"))


@pytest.mark.parametrize("resilient", [(), ("--resilient",)], ids=["basic", "resilient"])
def test_metrics_come_every_interval(tmp_path: Path, resilient: tuple[str, ...]) -> None:
    log = append(tmp_path / "app.log", range(100))
    with server(tmp_path / "data", folder=tmp_path) as running:
        words = (*FOLLOW, "--metrics-interval", "0.1", *resilient)
        with client(log, running.port, *words, folder=tmp_path) as run:
            wait_until(lambda: sum(acked := _acked(run.stderr)) == 100 and acked[-1] == 0, "reports of all lines")
            assert run.terminate() == 0
    assert sum(_acked(run.stderr)) == 100, "each report is of its own interval"


def _acked(stderr: str) -> list[int]:
    return [int(acked) for acked in re.findall(r" metrics: .*? acked (\d+)", stderr)]


def test_the_demo_ships_the_sample_and_shows_what_was_stored(tmp_path: Path) -> None:
    with program(sys.executable, ROOT / "main.py", "demo", folder=tmp_path) as run:
        assert run.wait() == 0, run.stderr
    assert run.summed_up("acked") == run.stdout.count('{"level": ')
    assert run.summed_up("acked") >= 20
    assert run.summed_up("rejected") == 0


def test_a_client_needs_no_more_than_its_promised_memory(tmp_path: Path) -> None:
    log, data_dir = append(tmp_path / "app.log", range(400_000)), tmp_path / "data"
    with server(data_dir, folder=tmp_path) as running:
        wait_for_port(running.port)
        for words in (("--resilient",), ("--compress", "--batch-size", "5000")):
            with client(log, running.port, "--mode", "continuous", *words, folder=tmp_path) as run:
                wait_until(lambda: len(data(data_dir)) >= 1, "it has begun")
                run.wait_for_stderr("connected")
                assert_memory_until_done(run.process.pid, data_dir, 400_000 * len(numbered_line(100_000)) // 2)
                run.terminate()


def data(data_dir: Path) -> list[Path]:
    return list(data_dir.glob("segments/**/*.ndjson"))


def assert_memory_until_done(pid: int, data_dir: Path, size: int) -> None:
    wait_until(lambda: sum(path.stat().st_size for path in data(data_dir)) > size, "half is stored", deadline_s=30)
    assert peak_memory(pid) < 60 * 1000 * 1000


def test_with_log_format_json_every_line_on_stderr_of_both_ends_is_an_object(tmp_path: Path) -> None:
    log, data_dir = append(tmp_path / "app.log", range(10)), tmp_path / "data"
    with server(data_dir, "--log-format", "json", folder=tmp_path) as running:
        run = ship(log, running.port, "--log-format", "json", folder=tmp_path)
        assert running.program.terminate() == 0
        for stderr in (run.stderr, running.program.stderr):
            entries = [json.loads(line) for line in stderr.splitlines()]
            assert all({"time", "level", "event", "fields"} <= entry.keys() for entry in entries)
            assert len(entries) > 2
    assert json.loads(run.stderr.splitlines()[-1])["event"].startswith("logferry: 10 lines acked")
