"""A batch run whose server loses what it has acked: a restored backup, a wiped disk. Rules E18 and E22.

The files are real; the server is in memory, and loses lines of a finished file while it ends a connection.
"""

import gzip
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logferry.client.delivery.batches.batches import RenderingProducer
from logferry.client.delivery.engine.engine import DeliveryEngine
from logferry.client.delivery.servers.retry import Backoff
from logferry.client.readers.batch import BatchReader
from logferry.client.state.checkpoints import Checkpoints
from logferry.protocol.messages.features import POSITIONS
from logferry.telemetry.metrics import Metrics
from tests.support.memory_delivery import MemoryOutput, Time
from tests.support.running import numbered_line
from tests.support.shipping import append, input_settings, log_line, ship_settings
from tests.support.stopping import stop_signal

FIRST, LAST = range(20), range(20, 30)


class Site:
    """Two files of one run, and a server that loses some of the first one once the last one has arrived."""

    def __init__(self, first: Path, folder: Path, meanwhile: Callable[[], object]) -> None:
        self.time = Time()
        self.last = append(folder / "last.log", LAST)
        self.output = MemoryOutput(self.time, features=frozenset({POSITIONS}))
        self.output.behaviours.appendleft(self._store_the_first_and_break)
        self.reader = BatchReader([input_settings(first, self.last)])
        self._meanwhile = meanwhile
        self._settings = ship_settings(first, 1, mode="batch")
        self.metrics = Metrics()
        producer = RenderingProducer(self.reader, metrics=self.metrics)
        self._engine = DeliveryEngine(
            *(producer, self.output, self._settings),
            metrics=self.metrics,
            stop=stop_signal(),
            checkpoints=Checkpoints(None),
            stored_extents=lambda *_, **__: pytest.fail("nobody asks for extents"),
            backoff=Backoff(ceiling_s=1.0, uniform=lambda: 1.0),
            clock=self.time,
            poll=self.time.poll,
        )

    def run(self) -> Any:
        """Deliver everything; return what was counted."""
        self._engine.run()
        return self.metrics.total().counters

    def stored(self) -> list[bytes]:
        """Return all stored lines."""
        return sorted(line for stock in self.output.stock.values() for line in stock.data.splitlines(keepends=True))

    def _store_the_first_and_break(self, output: MemoryOutput) -> None:
        for source_id in list(output.opened):
            output.answer_open(source_id)
        self.reader.poll()
        for batch in list(output.arrived):
            if batch.source.path != str(self.last):
                output.store(batch)
            elif len(self.reader._files) == 1:  # the first one is acked to its end, and closed
                output.stock.clear()
                self._meanwhile()
                output.break_off()


def lines(numbers: list[int]) -> list[bytes]:
    return sorted(map(numbered_line, numbers))


@pytest.mark.parametrize("is_archive", [False, True], ids=["plain", "archive"])
def test_a_finished_file_is_opened_again_and_shipped_again(tmp_path: Path, is_archive: bool) -> None:
    first = append(tmp_path / "first.log", FIRST)
    if is_archive:
        archive = tmp_path / "first.log.gz"
        archive.write_bytes(gzip.compress(first.read_bytes()))
        first.unlink()
        first = archive
    site = Site(first, tmp_path, lambda: None)
    counted = site.run()
    assert site.stored() == lines([*FIRST, *LAST])
    assert (counted.bytes_lost, counted.lines_unaccounted, counted.lines_stored_before) == (0, 0, 0)
    assert site.reader.unacked() == []


@pytest.mark.parametrize("other", [None, b"2024-01-15 08:23:45 INFO another file\n" * 30], ids=["gone", "rewritten"])
def test_what_no_file_has_any_more_is_lost_and_counted(
    tmp_path: Path, other: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """So the run does not end with exit code 0."""
    caplog.set_level(logging.INFO)
    first = append(tmp_path / "first.log", FIRST)

    def change() -> None:
        if other is None:
            first.unlink()
        else:
            first.write_bytes(other)

    site = Site(first, tmp_path, change)
    size = first.stat().st_size
    assert site.run().bytes_lost == size == len(b"".join(map(log_line, FIRST)))
    assert site.stored() == lines([*LAST])
    assert f"first.log: bytes 0 to {size} are lost: " in caplog.text
