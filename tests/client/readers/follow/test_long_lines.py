"""Lines without an end, holes and binary rubbish: bounded memory, neighbours intact, other files not delayed."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.client.files.lines.line_reader import CHUNK_BYTES
from logferry.model.chunk import Chunk
from tests.support.following import Scene
from tests.support.processes import client, peak_memory
from tests.support.running import RunningServer, numbered_line, running_server, wait_until
from tests.support.shipping import append, losses

# What a client may hold at most, whatever the line (docs/guarantees.md, "Memory is bounded").
CLIENT_BYTES = 60 * 1000 * 1000
KEPT = 1024 * 1024  # --max-line-bytes

WORDS = ("--mode", "continuous", "--poll-interval", "0.02")


@pytest.fixture
def arrived() -> list[bytes]:
    """Return all lines in the order in which they were stored, whatever their file."""
    return []


@pytest.fixture
def server(tmp_path: Path, arrived: list[bytes]) -> Iterator[RunningServer]:
    """Run a server that records the order in which it stores lines."""
    with running_server(tmp_path, echo=lambda piece: arrived.extend(piece.splitlines(keepends=True))) as running:
        yield running


def cut_line(kept: bytes) -> bytes:
    """Return how a line is stored that was cut after `kept`, which has no timestamp."""
    text = json.dumps(kept.decode(), ensure_ascii=False)
    return b'{"level": "UNKNOWN", "message": %s, "timestamp": null, "truncated": true}\n' % text.encode()


def punch(path: Path, size: int) -> None:
    """Append NULs to a file that take no place on the disk."""
    os.truncate(path, path.stat().st_size + size)


def is_cut(start: int, end: int) -> Any:
    """Return a predicate: whether a loss is the rest of a long line."""
    return lambda loss: start <= loss.start <= loss.end == end and "cut" in loss.reason


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--resilient", "--compress")], ids=["basic", "resilient-gzip"])
def test_a_line_of_50_megabytes_is_cut_in_bounded_memory_and_its_neighbours_are_intact(
    scene: Scene, words: tuple[str, ...]
) -> None:
    other = append(scene.folder / "other.log", range(100, 200))
    append(scene.log, range(10))
    start = scene.log.stat().st_size
    with scene.log.open("ab") as file:
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b"\n")
    end = scene.log.stat().st_size
    append(scene.log, range(10, 20))
    with client(scene.log, scene.server.port, *WORDS, *words, "--log-file", str(other), folder=scene.tmp_path) as run:
        wait_until(lambda: scene.server.stats.lines_stored == 121, "all is stored", deadline_s=30)
        assert peak_memory(run.process.pid) < CLIENT_BYTES
        assert run.terminate() == 3
    assert "1 lines were too long and were truncated" in run.stderr
    scene.names = [scene.log, other]
    scene.follow()
    numbers = [*range(20), *range(100, 200)]
    scene.reckon([*map(numbered_line, numbers), cut_line(b"x" * KEPT)], proven=[other], lost=is_cut(start, end))


def test_a_hole_of_a_gigabyte_in_a_line_is_cut_in_bounded_memory_and_another_file_is_stored_before_that(
    scene: Scene, arrived: list[bytes]
) -> None:
    other = append(scene.folder / "other.log", range(100, 200))
    append(scene.log, range(10))
    start = scene.log.stat().st_size
    with scene.log.open("ab") as file:
        file.write(b"y")
    punch(scene.log, 1024**3)
    with scene.log.open("ab") as file:
        file.write(b"\n")
    end = scene.log.stat().st_size
    append(scene.log, range(10, 20))
    with client(scene.log, scene.server.port, *WORDS, "--log-file", str(other), folder=scene.tmp_path) as run:
        wait_until(lambda: scene.server.stats.lines_stored == 121, "all is stored", deadline_s=30)
        assert peak_memory(run.process.pid) < CLIENT_BYTES
        assert run.terminate() == 3
    wait_until(lambda: len(arrived) == 121, "all is echoed")
    assert arrived.index(numbered_line(199)) < len(arrived) - 11
    (hole,) = {line for line in arrived if b"truncated" in line}
    assert json.loads(hole)["message"] == "y" + "\0" * (KEPT - 1)
    numbers = [*range(20), *range(100, 200)]
    scene.reckon([*map(numbered_line, numbers), hole], proven=[other], lost=is_cut(start, end))
    verdict = scene.verdict(scene.log)
    assert verdict.stored == verdict.lines == 21
    assert (verdict.missing, verdict.altered, verdict.repeated, verdict.problem) == ([], [], 0, "")


def test_a_file_that_grows_to_200_megabytes_without_a_newline_takes_bounded_memory_and_delays_no_other(
    scene: Scene,
) -> None:
    other = scene.folder / "other.log"
    append(scene.log, range(10))
    start = scene.log.stat().st_size
    with scene.log.open("ab") as log:
        log.write(b"y" * 100)
    with client(scene.log, scene.server.port, *WORDS, "--log-file", str(other), folder=scene.tmp_path) as run:
        for number in range(20):
            punch(scene.log, 10_000_000)
            append(other, [100 + number])
            stored = scene.server.stored_lines  # the echo leaves lines out while it writes a long one
            wait_until(lambda: numbered_line(100 + number) in stored(), "the other file is shipped")  # noqa: B023
        assert peak_memory(run.process.pid) < CLIENT_BYTES
        with scene.log.open("ab") as log:
            log.write(b"\n")
        end = scene.log.stat().st_size
        append(scene.log, range(10, 20))
        wait_until(lambda: scene.server.stats.lines_stored == 41, "all is stored")
        assert peak_memory(run.process.pid) < CLIENT_BYTES
        assert run.terminate() == 3
    (cut,) = {line for line in scene.server.stored_lines() if b"truncated" in line}
    assert json.loads(cut)["message"] == "y" * 100 + "\0" * (KEPT - 100)
    numbers = [*range(20), *range(100, 120)]
    scene.reckon([*map(numbered_line, numbers), cut], proven=[other], lost=is_cut(start, end))


def test_other_files_are_read_however_long_the_search_for_the_end_of_a_line_takes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line grows as fast as it is searched, until the lines of the other file are stored, one after the other."""
    monkeypatch.setattr("logferry.client.files.lines.line_reader.SCAN_BYTES", 2 * CHUNK_BYTES)
    other = append(scene.folder / "other.log", [100])
    scene.names = [scene.log, other]
    append(scene.log, [0])
    start = scene.log.stat().st_size
    with scene.log.open("ab") as log:
        log.write(b"y")
    punch(scene.log, 8 * CHUNK_BYTES)

    def after_read(_: Chunk | None) -> None:
        if scene.server.stats.lines_stored < 12:
            punch(scene.log, 4 * CHUNK_BYTES)

    with scene.running() as run:
        run.reader.after_read = after_read
        for number in range(101, 112):
            stored = scene.server.stored_lines
            wait_until(lambda: numbered_line(number - 1) in stored(), "the line before is stored")  # noqa: B023
            append(other, [number])
        run.settle()
        with scene.log.open("ab") as log:
            log.write(b"\n")
        end = scene.log.stat().st_size
        append(scene.log, [1])
        run.settle()
    scene.follow()
    (cut,) = {line for line in scene.server.stored_lines() if b"truncated" in line}
    expected = [*map(numbered_line, [0, 1, *range(100, 112)]), cut]
    assert json.loads(cut)["truncated"] is True
    scene.reckon(expected, proven=[other], lost=is_cut(start, end))


# --- content ----------------------------------------------------------------------------------------------------------


def test_binary_rubbish_is_shipped_byte_for_byte_but_for_the_nuls_at_its_beginning_and_proven(scene: Scene) -> None:
    everything = bytes(range(256)).replace(b"\n", b"") * 20
    random = os.urandom(5000).replace(b"\n", b"").replace(b"\r", b"")
    rubbish = [everything, random, b"x" + b"\0" * 3000, b"\1\0", b"\xff\xfe"]
    append(scene.log, [0])
    for line in rubbish:
        with scene.log.open("ab") as file:
            file.write(line + b"\n")
    append(scene.log, [1])
    scene.follow()
    scene.follow()
    first, *stored, last = scene.server.stored_lines()
    assert (first, last) == (numbered_line(0), numbered_line(1))
    assert list(map(bytes_of, stored)) == [line.lstrip(b"\0") for line in rubbish]
    scene.reckon([first, *stored, last], proven=[scene.log])


def bytes_of(stored: bytes) -> bytes:
    """Return the bytes of a line of no known shape from what is stored of it."""
    record = json.loads(stored)
    raw: str | None = record.get("raw")
    return base64.b64decode(raw) if raw is not None else record["message"].encode()


def test_a_hole_before_the_first_line_that_a_crash_left_behind_is_not_part_of_that_line(scene: Scene) -> None:
    """File systems leave NULs when power fails."""
    append(scene.log, [0])
    with scene.running() as run:
        run.settle()
        punch(scene.log, 4096)
        run.look()
        append(scene.log, [1, 2])
        run.settle()
    scene.follow()
    scene.reckon(map(numbered_line, range(3)), proven=[scene.log])
    assert losses(scene.server) == []
    assert scene.verdict(scene.log).nuls == 4096
