"""SIGHUP: a running client takes over its changed configuration file, or keeps the old one, and loses nothing."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import Program, ServerProgram, client, server
from tests.support.running import numbered_line, stored_lines, wait_until
from tests.support.shipping import append, assert_conserved

# What a field that is added looks like at the end of a record.
FIELD = b', "stage": "test"'


@pytest.fixture
def running_server(tmp_path: Path) -> Iterator[ServerProgram]:
    """Run a server."""
    with server(tmp_path / "data", folder=tmp_path) as running:
        yield running


def write_config(path: Path, *log_files: Path, more: str = "") -> Path:
    """Write a file with one input for each log file."""
    top = f'mode = "continuous"\npoll_interval = 0.02\n{more}\n'
    path.write_text(top + "".join(f'[[input]]\nlog_file = "{log}"\n' for log in log_files))
    return path


@contextmanager
def following(config: Path, port: int, *words: str, folder: Path) -> Iterator[Program]:
    """Run a client with a configuration file; it must end well."""
    with client(None, port, "--config", str(config), *words, folder=folder) as running:
        yield running
        assert running.terminate() == 0, running.stderr


def wait_for_stored(running: Program, folder: Path, lines: int) -> None:
    """Wait until a server has so many lines; fail when the client ends before that."""
    wait_until(lambda: running.is_over or len(stored_lines(folder / "data")) >= lines, f"{lines} lines are stored")
    assert not running.is_over, running.stderr


def assert_each_conserved(files: Sequence[Sequence[int]], stored: Sequence[bytes]) -> None:
    """Fail unless every line of every file is there once, those of one file in order, and nothing else."""
    found = Counter(stored)
    assert found == Counter(numbered_line(number) for numbers in files for number in numbers)
    for numbers in files:
        own = set(map(numbered_line, numbers))
        assert_conserved(numbers, [line for line in stored if line in own])


@pytest.mark.parametrize("words", [(), ("--resilient",)], ids=["basic", "resilient"])
def test_an_input_that_is_added_while_lines_flow_loses_nothing(
    tmp_path: Path, running_server: ServerProgram, words: tuple[str, ...]
) -> None:
    old, new = append(tmp_path / "old.log", range(100)), append(tmp_path / "new.log", range(1_000_000, 1_000_100))
    config = write_config(tmp_path / "logferry.toml", old)
    is_over = threading.Event()
    written = [100, 100]

    def keep_writing() -> None:
        while not is_over.wait(0.001):
            for log, index, first in ((old, 0, 0), (new, 1, 1_000_000)):
                append(log, range(first + written[index], first + written[index] + 10))
                written[index] += 10

    writer = threading.Thread(target=keep_writing)
    with following(config, running_server.port, *words, folder=tmp_path) as running:
        writer.start()
        try:
            wait_for_stored(running, tmp_path, 100)
            write_config(config, old, new)
            running.send(signal.SIGHUP)
            running.wait_for_stderr("; inputs: 2")
            wait_until(lambda: numbered_line(1_000_000) in stored_lines(tmp_path / "data"), "the new file is stored")
        finally:
            is_over.set()
            writer.join()
        wait_for_stored(running, tmp_path, sum(written))
    both = [range(written[0]), range(1_000_000, 1_000_000 + written[1])]
    assert_each_conserved(both, stored_lines(tmp_path / "data"))


def test_a_broken_file_keeps_the_old_configuration_and_names_file_key_and_line(
    tmp_path: Path, running_server: ServerProgram
) -> None:
    log = append(tmp_path / "app.log", range(100))
    config = write_config(tmp_path / "logferry.toml", log)
    with following(config, running_server.port, folder=tmp_path) as running:
        wait_for_stored(running, tmp_path, 100)
        write_config(config, tmp_path / "other.log", more="compress = 1")
        running.send(signal.SIGHUP)
        running.wait_for_stderr(f"the old configuration stays in force: {config}, line 3: compress: 1 must be one of")
        config.write_text('mode = "continuous"\n[[input]\n')
        running.send(signal.SIGHUP)
        running.wait_for_stderr(f"the old configuration stays in force: {config}, line 2: not TOML: ")
        append(log, range(100, 200))
        wait_for_stored(running, tmp_path, 200)
    assert_conserved(range(200), stored_lines(tmp_path / "data"))


def test_what_cannot_change_is_named_and_the_rest_is_taken_over(tmp_path: Path, running_server: ServerProgram) -> None:
    old, new = append(tmp_path / "old.log", range(100)), append(tmp_path / "new.log", range(100, 200))
    config = write_config(tmp_path / "logferry.toml", old)
    with following(config, running_server.port, folder=tmp_path) as running:
        wait_for_stored(running, tmp_path, 100)
        write_config(config, old, new, more='state_dir = "elsewhere"\nack_timeout = 7\nlog_level = "debug"')
        running.send(signal.SIGHUP)
        running.wait_for_stderr(f"{config}: a restart is needed for the new ack_timeout\n")
        wait_for_stored(running, tmp_path, 200)
    assert_each_conserved([range(100), range(100, 200)], stored_lines(tmp_path / "data"))


def test_what_lines_become_is_taken_over_for_files_that_are_followed_already(
    tmp_path: Path, running_server: ServerProgram
) -> None:
    log = append(tmp_path / "app.log", range(100))
    config = write_config(tmp_path / "logferry.toml", log)
    with following(config, running_server.port, folder=tmp_path) as running:
        wait_for_stored(running, tmp_path, 100)
        write_config(config, log, more='field = { stage = "test" }')
        running.send(signal.SIGHUP)
        running.wait_for_stderr("; inputs: 1")
        written = 100

        def is_in_force() -> bool:
            nonlocal written
            append(log, [written])
            written += 1
            return any(FIELD in line for line in stored_lines(tmp_path / "data"))

        wait_until(is_in_force, "lines have the new field")
        wait_for_stored(running, tmp_path, written)
    assert_conserved(range(written), [line.replace(FIELD, b"") for line in stored_lines(tmp_path / "data")])


def test_an_input_that_is_dropped_is_shipped_no_further_and_none_of_it_is_lost_when_it_comes_back(
    tmp_path: Path, running_server: ServerProgram
) -> None:
    kept, dropped = append(tmp_path / "kept.log", range(100)), append(tmp_path / "dropped.log", range(1000, 1100))
    config = write_config(tmp_path / "logferry.toml", kept, dropped)
    with following(config, running_server.port, folder=tmp_path) as running:
        wait_for_stored(running, tmp_path, 200)
        write_config(config, kept)
        running.send(signal.SIGHUP)
        running.wait_for_stderr("; inputs: 1")
        append(dropped, range(1100, 1200))
        append(kept, range(100, 200))
        wait_for_stored(running, tmp_path, 300)
        write_config(config, kept, dropped)
        running.send(signal.SIGHUP)
        running.wait_for_stderr("; inputs: 2")
        wait_for_stored(running, tmp_path, 400)
    assert_each_conserved([range(200), range(1000, 1200)], stored_lines(tmp_path / "data"))


def test_without_a_configuration_file_new_files_are_looked_for(tmp_path: Path, running_server: ServerProgram) -> None:
    log = append(tmp_path / "app.log", range(100))
    with client(log, running_server.port, "--mode", "continuous", folder=tmp_path) as running:
        wait_for_stored(running, tmp_path, 100)
        running.send(signal.SIGHUP)
        running.wait_for_stderr("nothing to reload: there is no configuration file (--config)")
        append(log, range(100, 200))
        wait_for_stored(running, tmp_path, 200)
        assert running.terminate() == 0
    assert_conserved(range(200), stored_lines(tmp_path / "data"))
