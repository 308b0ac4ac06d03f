"""Standard input as a source: lines as they come, nothing read without room for it, nothing lost at the end."""

import fcntl
import os
import pty
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.client.readers.stdin import StdinReader
from logferry.errors import SourceError
from logferry.model.chunk import Chunk
from logferry.model.source import Source
from tests.support.builders import Clock
from tests.support.reading import chunks_of, read
from tests.support.running import DEADLINE_S, PeakMemory, wait_until
from tests.support.shipping import input_settings

MIB = 1024 * 1024

Open = Callable[..., StdinReader]


class Pipe:
    """A pipe to read from; its writer never waits."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._is_ended = False

    def write(self, data: bytes | memoryview) -> int:
        """Write as much as there is room for; return how much that was."""
        try:
            return os.write(self._writer, data)
        except BlockingIOError:
            return 0

    def end(self) -> None:
        """Close the writing end."""
        if not self._is_ended:
            self._is_ended = True
            os.close(self._writer)

    def close(self) -> None:
        """Close both ends."""
        self.end()
        os.close(self.reader)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reading(clock: Clock) -> Open:
    """Make a reader of a descriptor."""

    def make(fd: int, **changes: Any) -> StdinReader:
        return StdinReader(input_settings("-", **{"max_line_bytes": 64, **changes}), fd, clock=clock)

    return make


def next_chunk(reader: StdinReader, *, max_lines: int | None = None) -> Chunk:
    chunk = reader.read(max_lines=max_lines)
    assert chunk is not None
    return chunk


def ack(chunk: Chunk) -> None:
    chunk.source.committed = chunk.end


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_line_is_there_when_its_newline_comes(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    assert reader.read(max_lines=None) is None
    pipe.write(b"one\ntw")
    assert next_chunk(reader).data == b"one\n"
    assert reader.read(max_lines=None) is None
    assert not reader.is_busy
    pipe.write(b"o\n")
    assert next_chunk(reader).data == b"two\n"
    assert not reader.is_finished


@pytest.mark.parametrize("pieces", [1, 2, 7, 1000])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_decides_however_the_bytes_come(
    pipe: Pipe, reading: Open, pieces: int, encoding: str
) -> None:
    """And it still holds when the bytes at the beginning are no longer kept."""
    reader, text, found = reading(pipe.reader), "\ufeffone\r\ntw\u0a0a\nthree", b""
    data = text.encode(encoding)
    for begin in range(0, len(data), pieces):
        pipe.write(data[begin : begin + pieces])
        found += read(reader)
    pipe.end()
    assert (found + read(reader)).decode() == text
    assert reader.is_finished


def test_a_long_line_of_utf_16_is_kept_whole_while_its_end_is_awaited(pipe: Pipe, reading: Open) -> None:
    reader, line = reading(pipe.reader, max_line_bytes=400_000), "\ufeff" + "x" * 399_000
    left = memoryview((line + "\n").encode("utf-16-le"))
    while left:
        left = left[pipe.write(left) :]
        found = reader.read(max_lines=None)
    assert found is not None
    assert (found.data.decode(), found.truncated) == (line + "\n", False)


def test_the_end_ends_the_last_line_and_the_reading(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"one\ntwo")
    pipe.end()
    assert read(reader) == b"one\ntwo"
    assert reader.is_finished
    assert not reader.is_busy
    assert reader.wake_fds == ()


def test_a_pipe_that_is_closed_with_nothing_in_it_is_finished(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    pipe.end()
    assert read(reader) == b""
    assert reader.is_finished


def test_lines_come_with_their_offsets_under_one_source(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"1\n2\n3\n")
    chunks = [next_chunk(reader, max_lines=2), next_chunk(reader, max_lines=2)]
    assert [(chunk.start, chunk.end, chunk.data) for chunk in chunks] == [(0, 4, b"1\n2\n"), (4, 6, b"3\n")]
    assert chunks[0].source is chunks[1].source
    source = chunks[0].source
    assert (source.path, source.device, source.inode) == ("stdin", 0, 0)


def test_the_descriptor_signals_when_there_is_more(pipe: Pipe, reading: Open) -> None:
    assert list(reading(pipe.reader).wake_fds) == [pipe.reader]


def test_flags_of_the_descriptor_stay_as_they_are(pipe: Pipe, reading: Open) -> None:
    """A terminal, and what a shell redirects, is shared with other programs."""
    before = fcntl.fcntl(pipe.reader, fcntl.F_GETFL)
    reader = reading(pipe.reader)
    reader.read(max_lines=None)
    assert fcntl.fcntl(pipe.reader, fcntl.F_GETFL) == before
    assert not before & os.O_NONBLOCK


def test_a_descriptor_that_does_not_block_is_read_all_the_same(pipe: Pipe, reading: Open) -> None:
    os.set_blocking(pipe.reader, False)
    reader = reading(pipe.reader)
    assert reader.read(max_lines=None) is None
    pipe.write(b"one\n")
    assert next_chunk(reader).data == b"one\n"


@pytest.mark.parametrize("length", [65, 300_000, 5 * MIB])
def test_a_long_line_is_cut_and_its_neighbours_are_whole(pipe: Pipe, reading: Open, length: int) -> None:
    reader, chunks = reading(pipe.reader), list[Chunk]()
    data = memoryview(b"one\n" + b"x" * length + b"\nthree\n")
    while data:
        data = data[pipe.write(data[:MIB]) :]
        chunks += chunks_of(reader)
    assert [(chunk.start, chunk.end, len(chunk.data), chunk.truncated) for chunk in chunks] == [
        (0, 4, 4, False),
        (4, 5 + length, 64, True),
        (5 + length, 11 + length, 6, False),
    ]


def test_a_line_without_end_takes_no_memory(pipe: Pipe, reading: Open) -> None:
    reader, size, block = reading(pipe.reader), 0, b"x" * MIB
    with PeakMemory() as memory:
        while size < 200 * MIB:
            size += pipe.write(block)
            assert reader.read(max_lines=None) is None
        pipe.end()
        (chunk,) = chunks_of(reader)
    assert (chunk.end, len(chunk.data), chunk.truncated) == (size, 64, True)
    assert memory.grown_bytes < 16 * MIB


# --- backpressure and memory ------------------------------------------------------------------------------------------


def test_nothing_is_taken_from_the_pipe_before_a_read(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    written = 0
    while count := pipe.write(b"0123456\n" * 512):  # a page
        written += count
    reader.poll()
    assert pipe.write(b"x") == 0
    assert len(read(reader)) == written // 8 * 8


def test_what_is_not_acked_is_kept_and_then_nothing_more_is_read(
    pipe: Pipe, reading: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that are not shipped fill no window, however many there are."""
    monkeypatch.setattr("logferry.client.readers.stdin_content._MAX_KEPT_BYTES", 4 * MIB)
    reader, chunks = reading(pipe.reader), list[Chunk]()
    for _ in range(100):
        pipe.write(b"\n" * MIB)
        if chunk := reader.read(max_lines=None):
            chunks.append(chunk)
    taken = chunks[-1].end
    assert 4 * MIB <= taken < 5 * MIB
    assert reader.wake_fds == ()
    assert pipe.write(b"\n") == 0
    ack(chunks[-1])
    assert next_chunk(reader).start == taken
    assert list(reader.wake_fds) == [pipe.reader]


def test_the_memory_of_acked_bytes_is_freed(pipe: Pipe, reading: Open) -> None:
    reader, size = reading(pipe.reader), 0
    with PeakMemory() as memory:
        while size < 200 * MIB:
            size += pipe.write(b"0123456\n" * 100_000)
            while chunk := reader.read(max_lines=None):
                ack(chunk)
    assert memory.grown_bytes < 16 * MIB


# --- reading again ----------------------------------------------------------------------------------------------------


def test_what_is_not_acked_is_read_again_when_it_is_sent_back(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"1\n2\n3\n4\n")
    chunks = [next_chunk(reader, max_lines=1) for _ in range(4)]
    ack(chunks[0])
    pipe.write(b"5\n")
    pipe.end()
    reader.poll()
    reader.rewind(chunks[0].source, 2, one_by_one_until=4)
    assert [chunk.data for chunk in chunks_of(reader)] == [b"2\n", b"3\n4\n5\n"]
    assert reader.is_finished
    assert reader.take_losses() == []


def test_what_was_acked_and_is_wanted_again_is_lost(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"1\n2\n3\n")
    chunks = [next_chunk(reader, max_lines=1) for _ in range(3)]
    ack(chunks[1])
    reader.poll()
    reader.rewind(chunks[0].source, 0)
    (lost,) = reader.take_losses()
    assert (lost.start, lost.end) == (0, 4)
    chunk = next_chunk(reader)
    assert (chunk.start, chunk.data) == (4, b"3\n")


def test_what_becomes_a_new_source_is_read_from_its_beginning(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"1\n2\n")
    first = next_chunk(reader)
    reader.rewind(first.source, None)
    again = next_chunk(reader)
    assert (again.start, again.data) == (0, b"1\n2\n")
    assert again.source.id != first.source.id
    reader.rewind(first.source, 0)
    assert [(lost.start, lost.end) for lost in reader.take_losses()] == [(0, 4)]


def test_a_twin_reads_what_is_kept_and_takes_nothing_from_the_pipe(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"1\n2\n")
    first = next_chunk(reader)
    pipe.write(b"3\n")
    duplicate = reader.duplicate(first.source)
    assert duplicate is not None
    duplicate.rewind(2)
    chunk = duplicate.read(is_final=True)
    assert chunk is not None
    assert chunk.data == b"2\n"
    assert duplicate.read(is_final=True) is None
    duplicate.close()
    assert next_chunk(reader).data == b"3\n"
    assert reader.duplicate(Source("stdin")) is None


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_a_stop_waits_a_moment_for_the_last_output_and_delivers_all_that_was_read(
    pipe: Pipe, reading: Open, clock: Clock
) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"one\n")
    reader.stop()
    first = next_chunk(reader)
    assert first.data == b"one\n"
    pipe.write(b"two\nthr")
    clock.now += 0.4
    assert next_chunk(reader).data == b"two\n"
    clock.now += 0.2
    last = next_chunk(reader)
    assert (last.data, last.truncated, last.is_incomplete) == (b"thr", True, True)
    assert reader.is_draining, "it is not acked"
    ack(last)
    assert not reader.is_draining
    assert not reader.is_finished, "its end has not come"
    assert reader.problems == []


def test_a_producer_that_ends_with_us_is_read_to_its_end(pipe: Pipe, reading: Open, clock: Clock) -> None:
    reader = reading(pipe.reader)
    reader.stop()
    pipe.write(b"last words")
    pipe.end()
    assert read(reader) == b"last words"
    assert reader.is_finished
    assert not reader.is_draining


def test_what_is_left_in_the_pipe_after_a_stop_is_a_problem(pipe: Pipe, reading: Open, clock: Clock) -> None:
    reader = reading(pipe.reader)
    reader.stop()
    clock.now += 1
    pipe.write(b"12345678")
    assert read(reader) == b""
    assert not reader.is_draining
    assert reader.problems == ["8 bytes of stdin were left unread"]


def test_closing_the_reader_finishes_the_source(pipe: Pipe, reading: Open) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"one\n")
    chunk = next_chunk(reader)
    reader.close()
    assert chunk.source.is_finished
    os.fstat(pipe.reader)  # still open: it belongs to the caller


# --- what standard input can be ---------------------------------------------------------------------------------------


def test_a_file_is_read_from_where_it_is(tmp_path: Path, reading: Open) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"".join(b"%d\n" % number for number in range(100_000)))
    with path.open("rb") as file:
        os.lseek(file.fileno(), 4, os.SEEK_SET)
        reader = reading(file.fileno())
        assert read(reader) == path.read_bytes()[4:]
        assert reader.is_finished


def test_an_empty_input_is_finished_immediately(reading: Open) -> None:
    with Path(os.devnull).open("rb") as nothing:
        reader = reading(nothing.fileno())
        assert read(reader) == b""
        assert reader.is_finished


def test_a_terminal_is_read_line_by_line_until_its_end_is_typed(reading: Open) -> None:
    keyboard, terminal = pty.openpty()
    try:
        reader = reading(terminal)
        for typed, line in ((b"one\ntw", b"one\n"), (b"o\n", b"two\n")):
            os.write(keyboard, typed)
            wait_until(lambda: read(reader) == line, "the line is there")  # noqa: B023
        os.write(keyboard, b"\x04")  # Ctrl-D
        wait_until(lambda: read(reader) == b"" and reader.is_finished, "its end is noticed")
    finally:
        os.close(keyboard)
        os.close(terminal)


def test_a_folder_is_refused(tmp_path: Path, reading: Open) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(SourceError, match="cannot read stdin: is a directory"):
            reading(folder)
    finally:
        os.close(folder)


def test_a_descriptor_that_is_closed_is_refused(reading: Open) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(SourceError, match="cannot read stdin: Bad file descriptor"):
        reading(reader)


def test_a_process_without_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SourceError, match="cannot read stdin: it is closed"):
        StdinReader(input_settings("-"))


def test_a_descriptor_that_fails_ends_there_and_it_is_a_problem(
    pipe: Pipe, reading: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = reading(pipe.reader)
    pipe.write(b"one\ntwo")
    assert next_chunk(reader).data == b"one\n"

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    pipe.write(b"x")
    monkeypatch.setattr(os, "read", fail)
    assert read(reader) == b"two"
    assert reader.is_finished
    assert reader.problems == ["cannot read all of stdin: Input/output error"]


# --- events -----------------------------------------------------------------------------------------------------------


def test_lines_of_one_event_wait_for_the_next_one_or_for_a_moment(pipe: Pipe, reading: Open, clock: Clock) -> None:
    reader = reading(pipe.reader, multiline="timestamp", multiline_timeout=5.0)
    pipe.write(b"2024-01-15 08:23:45 ERROR one\n  at two\n")
    assert reader.read(max_lines=None) is None
    pipe.write(b"2024-01-15 08:23:46 ERROR three\n")
    assert next_chunk(reader).data == b"2024-01-15 08:23:45 ERROR one\n  at two\n"
    assert reader.read(max_lines=None) is None
    clock.now += 4
    pipe.write(b"  at four\n")
    assert reader.read(max_lines=None) is None
    clock.now += 4
    assert reader.read(max_lines=None) is None
    clock.now += 2
    assert next_chunk(reader).data == b"2024-01-15 08:23:46 ERROR three\n  at four\n"


# --- from another thread ----------------------------------------------------------------------------------------------


def test_twins_may_be_read_while_it_is_read(pipe: Pipe, reading: Open) -> None:
    reader, seen, failures = reading(pipe.reader), list[Chunk](), list[Chunk]()
    may_end = threading.Event()

    def look() -> None:
        while not may_end.is_set():
            for chunk in seen[-3:]:
                duplicate = reader.duplicate(chunk.source)
                if duplicate is not None and duplicate.peek(chunk.start, len(chunk.data)) not in (chunk.data, b""):
                    failures.append(chunk)

    watcher = threading.Thread(target=look)
    watcher.start()
    for number in range(3000):
        pipe.write(b"%07d\n" % number * 1000)
        for chunk in chunks_of(reader):
            seen.append(chunk)
    may_end.set()
    watcher.join(DEADLINE_S)
    assert not failures
    assert len(seen) > 100
