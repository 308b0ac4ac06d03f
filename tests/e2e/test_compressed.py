"""Compressed and many files in batch mode, through the command line: shipped and verified, and told if unreadable."""

import gzip
import resource
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Program, program, server, ship
from tests.support.running import stored_lines
from tests.support.shipping import append, assert_conserved, log_line

EVERY_WAY = pytest.mark.parametrize("words", [(), ("--resilient", "--compress")], ids=["basic", "resilient-gzip"])


def packed(*ranges: range) -> bytes:
    """Return numbered lines as a gzip file, one member for each range."""
    return b"".join(gzip.compress(b"".join(map(log_line, numbers))) for numbers in ranges)


def told(run: Program) -> list[str]:
    """Return what a run says of its own, without the summary."""
    assert "Traceback" not in run.stderr
    return [line for line in run.stderr.splitlines() if line.startswith("logferry: ")][:-1]


def verified(port: int, *names: Path, folder: Path) -> Program:
    """Run `logferry verify` to its end."""
    files = [word for name in names for word in ("--log-file", str(name))]
    words = (*files, "--server-host", "127.0.0.1", "--server-port", str(port), "--state-dir", str(folder / "state"))
    with program(sys.executable, ROOT / "main.py", "verify", *words, folder=folder) as run:
        run.wait()
        return run


@EVERY_WAY
def test_a_gzip_file_of_several_members_is_stored_once_and_verified(tmp_path: Path, words: tuple[str, ...]) -> None:
    log = tmp_path / "app.log.1.gz"
    log.write_bytes(packed(range(20_000), range(20_000, 20_001), range(20_001, 50_000)))
    with server(tmp_path / "data", folder=tmp_path) as running:
        run = ship(log, running.port, *words, folder=tmp_path)
        assert run.process.returncode == 0, run.stderr
        proof = verified(running.port, log, folder=tmp_path)
        assert proof.process.returncode == 0, proof.stdout
        log.write_bytes(packed(range(20_000), range(20_000, 20_001), range(20_001, 50_001)))
        assert verified(running.port, log, folder=tmp_path).process.returncode == 3, "it has a line more"
    assert_conserved(range(50_000), stored_lines(tmp_path / "data"))


@EVERY_WAY
def test_of_a_truncated_gzip_file_everything_that_can_be_read_is_stored(tmp_path: Path, words: tuple[str, ...]) -> None:
    log = tmp_path / "app.log.1.gz"
    whole = packed(range(20_000), range(20_000, 20_100))
    log.write_bytes(whole[:-8])  # all lines are there, their checksum is not
    with server(tmp_path / "data", folder=tmp_path) as running:
        run = ship(log, running.port, *words, folder=tmp_path)
        assert run.process.returncode == 3
        problem = f"truncated at compressed byte {len(whole) - 8}"
        assert told(run) == [f"logferry: cannot read all of {log}: {problem}"]
        proof = verified(running.port, log, folder=tmp_path)
        assert proof.process.returncode == 3
        assert problem in proof.stdout
        assert "20100  20100" in proof.stdout.replace("    ", "  ")
    assert_conserved(range(20_100), stored_lines(tmp_path / "data"))


def test_a_damaged_member_is_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "app.log.1.gz"
    damaged = bytearray(packed(range(100, 200)))
    damaged[-8] ^= 1
    log.write_bytes(packed(range(100)) + damaged + packed(range(200, 300)))
    with server(tmp_path / "data", folder=tmp_path) as running:
        run = ship(log, running.port, folder=tmp_path)
        assert run.process.returncode == 3
    assert_conserved(range(300), stored_lines(tmp_path / "data"))


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (256 * 1024 * 1024, 256 * 1024 * 1024))


def test_a_bomb_takes_time_but_no_memory(tmp_path: Path) -> None:
    log = tmp_path / "bomb.gz"
    log.write_bytes(packed(range(1)) + gzip.compress(b"x" * 300_000_000 + b"\n") + packed(range(1, 2)))
    words = (sys.executable, ROOT / "main.py", "--log-file", log, "--state-dir", tmp_path / "state")
    with server(tmp_path / "data", folder=tmp_path) as running:
        where = ("--server-host", "127.0.0.1", "--server-port", str(running.port))
        with program(*words, *where, folder=tmp_path, limits=_limit_memory) as run:
            assert run.wait() == 3, run.stderr
    assert told(run) == ["logferry: 1 lines were too long and were truncated"]
    first, bomb, last = stored_lines(tmp_path / "data")
    assert_conserved(range(2), [first, last])
    assert b'"truncated": true' in bomb


@EVERY_WAY
def test_many_files_are_stored_once_each_and_what_cannot_be_read_is_told(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(300):
        append(folder / f"{number:03}.log", range(10 * number, 10 * number + 10))
    (folder / "150.log").rename(folder / "150.log.gz")
    (folder / "150.log.gz").write_bytes(packed(range(1500, 1510)))
    (folder / "link.log").symlink_to("007.log")
    (folder / "excluded.log").write_bytes(log_line(0))
    more = ("--log-file", str(folder / "missing.log"), "--exclude", "excluded*", *words)
    with server(tmp_path / "data", folder=tmp_path) as running:
        run = ship(folder / "*.lo*", running.port, *more, folder=tmp_path)
        assert run.process.returncode == 3
        assert told(run) == [f"logferry: cannot read {folder}/missing.log: no such file"]
        proof = verified(running.port, folder / "007.log", folder / "150.log.gz", folder=tmp_path)
        assert proof.process.returncode == 0, proof.stdout
    assert_conserved(range(3000), stored_lines(tmp_path / "data"))


def test_files_are_deleted_when_all_of_them_is_proven_to_be_stored(tmp_path: Path) -> None:
    logs = [append(tmp_path / "1.log", range(100)), tmp_path / "2.log.gz", append(tmp_path / "3.log", range(200, 300))]
    logs[1].write_bytes(packed(range(100, 150), range(150, 200)))
    with server(tmp_path / "data", folder=tmp_path) as running:
        run = ship(tmp_path / "*.log*", running.port, "--delete-after", folder=tmp_path)
        assert run.process.returncode == 0, run.stderr
        assert not any(log.exists() for log in logs)
        truncated = tmp_path / "4.log.gz"
        truncated.write_bytes(packed(range(300, 310))[:-4])
        run = ship(tmp_path / "*.log*", running.port, "--delete-after", folder=tmp_path)
        assert run.process.returncode == 3, run.stderr
        assert truncated.exists()
    assert_conserved(range(310), stored_lines(tmp_path / "data"))


def test_a_pattern_that_nothing_matches_is_no_file(tmp_path: Path) -> None:
    run = ship(tmp_path / "*.log", 1, folder=tmp_path)
    assert run.process.returncode == 3
    assert told(run) == [f"logferry: cannot read {tmp_path}/*.log: no such file"]
