"""A program that does not append writes on at its old offset in a truncated file: holes, and the lines behind them."""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from logferry.cli.client.verify import verdicts_as_table
from tests.client.readers.follow.test_copytruncate import copytruncate
from tests.support.following import Scene
from tests.support.running import numbered_line
from tests.support.shipping import log_line, once, shipping

SIZES = pytest.mark.parametrize("size", [1, 5000, 3_000_000])


class StaleWriter:
    """Writes lines where it wrote last, whatever became of the file."""

    def __init__(self, log: Path) -> None:
        self._fd = os.open(log, os.O_WRONLY | os.O_CREAT)

    def write(self, numbers: Iterable[int]) -> None:
        os.write(self._fd, b"".join(map(log_line, numbers)))

    def skip(self, size: int) -> None:
        """Go on so many bytes further on."""
        os.lseek(self._fd, size, os.SEEK_CUR)

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def writer(scene: Scene) -> Iterator[StaleWriter]:
    made = StaleWriter(scene.log)
    yield made
    made.close()


@SIZES
def test_lines_behind_holes_are_stored_once_and_the_holes_are_counted_and_logged_once(
    scene: Scene, writer: StaleWriter, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    with scene.running() as run, caplog.at_level(logging.WARNING):
        for first in range(0, 40, 10):
            writer.skip(size)
            writer.write(range(first, first + 10))
            run.shipping.wait_for_acks(first + 10)
        assert run.shipping.counters.bytes_nul == 4 * size
    first_hole, rest = [record.message for record in caplog.records if "NUL bytes" in record.message]
    assert ("repeated" in first_hole, "repeated 3 times" in rest) == (False, True)
    scene.conclude(range(40), proven=[scene.log])
    verdict = scene.verdict(scene.log)
    assert verdict.nuls == 4 * size
    assert f"{4 * size} NUL bytes" in verdicts_as_table([verdict])
    assert "all there, once" in verdicts_as_table([verdict])


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "stopped"])
def test_a_stale_writer_loses_nothing_in_any_rotation(scene: Scene, writer: StaleWriter, is_running: bool) -> None:
    copies = []
    for turn in range(4):
        with scene.running() as run:
            writer.write(range(turn * 20, turn * 20 + 10))
            run.settle()
            if is_running:
                copies.append(copytruncate(scene.log, turn + 1))
                writer.write(range(turn * 20 + 10, turn * 20 + 20))
                run.settle()
        if not is_running:
            copies.append(copytruncate(scene.log, turn + 1))
            writer.write(range(turn * 20 + 10, turn * 20 + 20))
    scene.conclude(range(80), proven=[scene.log, *copies])


def test_a_client_that_is_restarted_in_front_of_a_hole_reads_the_line_behind_it(
    scene: Scene, writer: StaleWriter
) -> None:
    writer.write(range(10))
    scene.follow()
    end = scene.log.stat().st_size
    os.truncate(scene.log, end + 700_000)
    for _ in range(2):
        with scene.running() as run:
            run.look()
    writer.skip(1_000_000)
    writer.write(range(10, 20))
    scene.conclude(range(20), proven=[scene.log])


def test_text_that_is_written_over_the_nuls_at_the_end_is_stored_across_restarts(scene: Scene) -> None:
    """A program that maps its log into memory makes the file longer than its text."""
    for turn in range(4):
        with scene.log.open("r+b" if turn else "w+b") as log:
            log.seek(len(log.read().rstrip(b"\0")))
            log.writelines(map(log_line, range(turn * 10, turn * 10 + 10)))
            log.truncate(500_000)
        with scene.running() as run:
            run.shipping.wait_for_acks(10)
            run.look()
    scene.reckon(map(numbered_line, range(40)), proven=[scene.log])


def test_a_batch_run_goes_on_where_the_text_ended_and_passes_the_holes_before(
    scene: Scene, writer: StaleWriter
) -> None:
    settings = once(scene.tmp_path, resume=True)
    for turn in range(3):
        with scene.log.open("r+b") as log:
            log.seek(len(log.read().rstrip(b"\0")) + 5000)
            log.writelines(map(log_line, range(turn * 10, turn * 10 + 10)))
            log.truncate(500_000)
        with shipping(scene.log, scene.server.port, **settings) as run:
            assert not run.result().problems
            assert run.counters.lines_acked == 10
    scene.reckon(map(numbered_line, range(30)), proven=[scene.log])


@SIZES
def test_a_hole_before_the_first_line_does_not_hide_the_format(scene: Scene, size: int) -> None:
    records = [b'{"level": "INFO", "message": "line %d"}\n' % number for number in range(20)]
    scene.log.write_bytes(bytes(size) + b"".join(records))
    scene.settings = {"format": "auto"}
    scene.follow()
    stored = [json.loads(line) for line in scene.server.stored_lines()]
    assert [(line["level"], line["message"]) for line in stored] == [("INFO", f"line {n}") for n in range(20)]
    assert scene.verdict(scene.log).is_proven


@SIZES
def test_the_level_of_an_event_behind_a_hole_is_found(scene: Scene, writer: StaleWriter, size: int) -> None:
    scene.settings = {"multiline": "timestamp", "multiline_timeout": 0.05}
    with scene.running() as run:
        for first in range(0, 30, 10):
            writer.write(range(first, first + 10))
            writer.skip(size)
            run.shipping.wait_for_acks(first + 10)
    scene.conclude(range(30), proven=[scene.log])
