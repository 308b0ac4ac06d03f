"""What every reader promises (readers/base.py): for batch files, standard input, followed files, bytes in memory."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import pytest

from logferry.client.readers.base import Reader
from logferry.client.readers.batch import BatchReader
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.readers.stdin import StdinReader
from logferry.model.chunk import Chunk
from logferry.model.source import Source
from tests.support.builders import Clock
from tests.support.memory_reader import MemoryReader
from tests.support.shipping import input_settings

LINES: Final = b"".join(b"line %03d\n" % number for number in range(50))


class Input(Protocol):
    """What a reader reads, as a test writes it, and the reader."""

    reader: Reader

    def end(self) -> None:
        """Write nothing more."""


class BatchInput:
    """A file that is read once."""

    def __init__(self, folder: Path, data: bytes) -> None:
        path = folder / "app.log"
        path.write_bytes(data)
        self.reader = BatchReader([input_settings(path)])

    def end(self) -> None:
        """A batch run ends with what was there at its start."""


class FollowedInput:
    """A file that is followed."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self._path = folder / "app.log"
        self._path.write_bytes(data)
        os.utime(folder, (0, 0))  # or it could be listed again and again: it may change within a tick of the clock
        self.reader = FollowReader([input_settings(self._path)], clock=Clock())

    def grow(self, data: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(data)

    def end(self) -> None:
        """A followed file never ends."""


class PipeInput:
    """A pipe in place of standard input."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self._fd, self._writer = os.pipe()
        self.reader = StdinReader(input_settings("-"), self._fd, clock=Clock())
        self.grow(data)

    def grow(self, data: bytes) -> None:
        os.write(self._writer, data)

    def end(self) -> None:
        os.close(self._writer)


class MemoryInput:
    """Bytes in memory."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self.reader = MemoryReader()
        self.grow(data)

    def grow(self, data: bytes) -> None:
        self.reader.grow(data)

    def end(self) -> None:
        self.reader.end()


Growing = FollowedInput | PipeInput | MemoryInput

GROWING: Final = [FollowedInput, PipeInput, MemoryInput]


@pytest.fixture(params=[BatchInput, *GROWING], ids=lambda kind: kind.__name__)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Input]:
    """Return an input of 50 lines, and its reader."""
    made: Input = request.param(tmp_path, LINES)
    yield made
    made.reader.close()


@pytest.fixture(params=GROWING, ids=lambda kind: kind.__name__)
def growing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Growing]:
    """Return an input that is empty and grows, and its reader."""
    made: Growing = request.param(tmp_path, b"")
    yield made
    made.reader.close()


def read_all(reader: Reader, *, max_lines: int | None = None, is_acked: bool = False) -> list[Chunk]:
    """Look once, and read until there is nothing more now."""
    reader.poll()
    chunks = []
    while (chunk := reader.read(max_lines=max_lines)) is not None:
        chunks.append(chunk)
        if is_acked:
            chunk.source.committed = chunk.end
    return chunks


def data_of(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


def test_chunks_of_a_source_join_without_gaps_and_nothing_is_lost(opened: Input) -> None:
    chunks = read_all(opened.reader, max_lines=7)
    assert data_of(chunks) == LINES
    assert [chunk.start for chunk in chunks] == [0, *(chunk.end for chunk in chunks[:-1])]
    assert {chunk.source.id for chunk in chunks} == {chunks[0].source.id}
    assert opened.reader.take_losses() == []
    assert list(opened.reader.problems) == []


def test_a_chunk_has_whole_lines_and_at_most_as_many_as_allowed(opened: Input) -> None:
    chunks = read_all(opened.reader, max_lines=7)
    assert all(chunk.data.endswith(b"\n") and chunk.data.count(b"\n") <= 7 for chunk in chunks)


def test_the_tail_of_a_chunk_is_the_bytes_before_its_end(opened: Input) -> None:
    for chunk in read_all(opened.reader, max_lines=7):
        assert LINES[: chunk.end].endswith(chunk.tail)
        assert len(chunk.tail) >= min(chunk.end, 64)


def test_reading_never_waits_when_there_is_nothing(opened: Input) -> None:
    read_all(opened.reader)
    assert opened.reader.read(max_lines=None) is None
    assert not opened.reader.is_busy or not opened.reader.is_finished


def test_a_source_is_read_again_from_where_it_is_rewound_to(opened: Input) -> None:
    first, second, *_ = read_all(opened.reader, max_lines=7)
    first.source.epoch += 1
    opened.reader.rewind(first.source, second.start)
    again = read_all(opened.reader, max_lines=7)
    assert again[0].start == second.start
    assert data_of(again) == LINES[second.start :]
    assert {chunk.epoch for chunk in again} == {first.source.epoch} != {first.epoch}
    assert opened.reader.take_losses() == []


def test_a_rewound_source_is_read_line_by_line_as_far_as_is_asked_for(opened: Input) -> None:
    first, second, *_ = read_all(opened.reader, max_lines=7)
    opened.reader.rewind(first.source, 0, one_by_one_until=second.start)
    again = read_all(opened.reader, max_lines=7)
    assert [chunk.data.count(b"\n") for chunk in again[:8]] == [1] * 7 + [7]


def test_a_source_rewound_to_none_is_read_from_its_beginning_as_a_new_source(opened: Input) -> None:
    chunk = read_all(opened.reader)[0]
    opened.reader.rewind(chunk.source, None)
    again = read_all(opened.reader)
    assert data_of(again) == LINES
    assert again[0].source.id != chunk.source.id


def test_a_source_that_cannot_be_read_again_is_lost_as_far_as_it_was_read(opened: Input) -> None:
    foreign, unread = Source("gone.log", read_until=100), Source("unread.log")
    opened.reader.rewind(foreign, 40)
    opened.reader.rewind(unread, None)
    losses = opened.reader.take_losses()
    assert [(loss.source, loss.start, loss.end) for loss in losses] == [(foreign, 40, 100)]
    assert opened.reader.take_losses() == []


def test_a_duplicate_has_the_same_bytes_and_a_position_of_its_own(opened: Input) -> None:
    chunk = read_all(opened.reader, max_lines=7)[0]
    duplicate = opened.reader.duplicate(chunk.source)
    assert duplicate is not None
    duplicate.rewind(0)
    assert duplicate.peek(0, len(LINES)) == LINES
    found = duplicate.read(limit=chunk.end, is_final=True)
    duplicate.close()
    assert found is not None
    assert found.data == LINES[: chunk.end]
    assert opened.reader.read(max_lines=None) is None


def test_there_is_no_duplicate_of_an_unknown_source(opened: Input) -> None:
    assert opened.reader.duplicate(Source("gone.log")) is None


def test_a_report_says_how_far_each_file_was_read_and_acked(opened: Input) -> None:
    chunks = read_all(opened.reader, max_lines=7)
    chunks[0].source.committed = chunks[0].end
    (report,) = opened.reader.report()
    assert report.source == chunks[0].source.id
    assert report.path == chunks[0].source.path
    assert (report.size, report.offset, report.committed) == (len(LINES), len(LINES), chunks[0].end)
    assert not report.problem


def test_reports_are_made_in_another_thread_while_it_reads(opened: Input) -> None:
    failures: list[BaseException] = []
    is_over = threading.Event()

    def report() -> None:
        try:
            while not is_over.is_set():
                list(opened.reader.report())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=report)
    thread.start()
    assert data_of(read_all(opened.reader, max_lines=1)) == LINES
    is_over.set()
    thread.join()
    assert failures == []


def test_the_revision_does_not_grow_while_nothing_happens(opened: Input) -> None:
    for _ in range(3):
        read_all(opened.reader, is_acked=True)
    before = opened.reader.revision
    for _ in range(3):
        read_all(opened.reader, is_acked=True)
    assert opened.reader.revision == before


def test_its_patience_and_its_descriptors_can_be_waited_for(opened: Input) -> None:
    assert opened.reader.patience_s >= 0
    for fd in opened.reader.wake_fds:
        os.fstat(fd)


def test_after_a_stop_nothing_is_drained_once_all_is_acked(opened: Input) -> None:
    opened.end()
    read_all(opened.reader, is_acked=True)
    read_all(opened.reader, is_acked=True)  # stdin finds its end by reading once more
    opened.reader.stop()
    assert not opened.reader.is_draining


# --- readers of what grows --------------------------------------------------------------------------------------------


def test_what_is_appended_is_read_and_an_unfinished_line_waits_for_its_end(growing: Growing) -> None:
    assert read_all(growing.reader) == []
    growing.grow(b"one\ntw")
    assert data_of(read_all(growing.reader)) == b"one\n"
    growing.grow(b"o\nthree\n")
    assert data_of(read_all(growing.reader)) == b"two\nthree\n"
    assert not growing.reader.is_finished


@pytest.mark.parametrize("make", [BatchInput, PipeInput, MemoryInput])
def test_where_the_input_ends_a_last_line_without_newline_is_a_line(
    make: Callable[[Path, bytes], Input], tmp_path: Path
) -> None:
    opened = make(tmp_path, b"one\ntwo")
    opened.end()
    read = data_of(read_all(opened.reader)) + data_of(read_all(opened.reader))
    assert read == b"one\ntwo"
    assert opened.reader.is_finished
    opened.reader.close()
