"""NULs at the beginnings of lines: skipped and counted in content of every kind, however it is read."""

import gzip
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.client.files.archives.archive import uncompressed
from logferry.client.files.content import holes
from logferry.client.files.content.content import Content, FileContent
from logferry.client.files.content.replay_buffer import BLOCK_BYTES, ReplayBuffer
from logferry.client.files.lines import line_reader
from logferry.client.files.lines.line_reader import CHUNK_BYTES, SourceFile
from logferry.client.readers.stdin_content import StdinContent
from logferry.model.chunk import Chunk
from logferry.model.render_spec import RenderSpec
from tests.support.builders import append
from tests.support.running import PeakMemory

MIB = 1024 * 1024

SPEC = RenderSpec(skips_nuls=True)
EVENTS = RenderSpec(skips_nuls=True, multiline="^[a-z]")

# Holes around every size that is treated in a way of its own.
SIZES = [1, 2, 300, 4095, 4097, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * MIB]


class Opened:
    """Content of one kind, written by a test, with its reader."""

    def __init__(self, content: Content, path: Path, spec: RenderSpec = SPEC) -> None:
        self.file = SourceFile(path, max_line_bytes=spec.max_line_bytes, content=content)
        self.file.render_as(spec)


def plain(path: Path, data: bytes) -> Content:
    path.write_bytes(data)
    return FileContent.open(path)


def sparse(path: Path, data: bytes) -> Content:
    with path.open("wb") as file:
        for block in range(0, len(data), 4096):
            if data[block : block + 4096].strip(b"\0"):
                file.seek(block)
                file.write(data[block : block + 4096])
        file.truncate(len(data))
    return FileContent.open(path)


def zipped(path: Path, data: bytes) -> Content:
    path.write_bytes(gzip.compress(data, compresslevel=1))
    return uncompressed(FileContent.open(path))


def piped(path: Path, data: bytes) -> Content:
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(data)

    threading.Thread(target=write, daemon=True).start()
    return StdinContent(reader, max_line_bytes=SPEC.max_line_bytes)


KINDS = [plain, sparse, zipped, piped]


def read_all(file: SourceFile, *, limit: int | None = None, max_lines: int | None = None) -> list[Chunk]:
    """Read to the end; the chunks must follow each other without a gap, and account for every byte."""
    chunks: list[Chunk] = []
    is_stream = isinstance(file._content, StdinContent)
    while True:
        start = file.offset
        is_final = not is_stream or file._content.is_ended  # type: ignore[attr-defined]
        chunk = file.read(limit=limit, max_lines=max_lines, is_final=is_final)
        if chunk is not None:
            assert (chunk.start, chunk.end) == (start, file.offset)
            assert chunk.truncated or chunk.end - chunk.start == len(chunk.data) + chunk.nuls
            chunks.append(chunk)
        elif not file.is_scanning and is_final:
            return chunks


def text_of(chunks: list[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


def nuls_of(chunks: list[Chunk]) -> int:
    return sum(chunk.nuls for chunk in chunks)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("before", [b"", b"one\n"], ids=["at the beginning", "in the middle"])
def test_a_hole_of_any_size_is_skipped_and_what_follows_is_a_line_of_its_own(
    path: Path, kind: Callable[[Path, bytes], Content], size: int, before: bytes
) -> None:
    """Rule F35."""
    file = Opened(kind(path, before + bytes(size) + b"two\nthree\n"), path).file
    chunks = read_all(file)
    assert (text_of(chunks), nuls_of(chunks)) == (before + b"two\nthree\n", size)
    file.close()


@pytest.mark.parametrize("kind", KINDS)
def test_nuls_inside_and_at_the_end_of_a_line_stay(path: Path, kind: Callable[[Path, bytes], Content]) -> None:
    data = b"a\0\0b\nc\0\n\n \0d\n"
    file = Opened(kind(path, data), path).file
    chunks = read_all(file)
    assert (text_of(chunks), nuls_of(chunks)) == (data, 0)
    file.close()


def test_what_an_earlier_version_shipped_with_its_nuls_is_read_with_them(path: Path) -> None:
    file = Opened(plain(path, b"\0\0one\n\0two\n"), path, RenderSpec()).file
    assert text_of(read_all(file)) == b"\0\0one\n\0two\n"
    file.close()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([b"", b"a", b"b\0", b"c\0\0d", b"e" * 70])), max_size=12),
    st.booleans(),
    st.sampled_from([None, 1, 2, 5]),
    st.sampled_from([RenderSpec(max_line_bytes=64, skips_nuls=True), EVENTS]),
)
def test_all_lines_come_without_the_nuls_before_them(
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[tuple[int, bytes]],
    is_ended: bool,
    max_lines: int | None,
    spec: RenderSpec,
) -> None:
    data = b"\n".join(bytes(nuls) + text for nuls, text in parts) + b"\n" * is_ended
    path = tmp_path_factory.mktemp("holes") / "app.log"
    file = Opened(plain(path, data), path, spec).file
    lines = [line for chunk in read_all(file, max_lines=max_lines) for line in chunk.data.splitlines(keepends=True)]
    expected = [line.lstrip(b"\0") for line in data.splitlines(keepends=True)]
    cut = [line if len(line.rstrip(b"\n")) <= spec.max_line_bytes else line[: spec.max_line_bytes] for line in expected]
    assert lines == [line for line in cut if line]
    assert file.offset == len(data)
    file.close()


def test_lines_behind_a_hole_are_found_again_from_any_offset_that_was_returned(path: Path) -> None:
    """As a restart, a server that sends the source back, and `verify` do."""
    data = bytes(300_000) + b"one\n" + bytes(5000) + b"two\n\0\0three\n"
    file = Opened(plain(path, data), path).file
    whole = read_all(file, max_lines=1)
    for chunk in whole:
        file.rewind(chunk.start)
        assert text_of(read_all(file, limit=chunk.end)) == chunk.data
    file.close()


def test_a_hole_at_the_end_waits_for_the_text_behind_it(path: Path) -> None:
    file = Opened(plain(path, b"one\n"), path).file
    assert text_of(read_all(file)) == b"one\n"
    with path.open("r+b") as writer:
        writer.truncate(700_000)
        assert file.read() is None
        assert (file.offset, file.is_scanning) == (4, False)
        writer.truncate(900_000)
        assert file.read() is None
        writer.seek(900_000)
        writer.write(b"two\n")
    chunks = read_all(file)
    assert (text_of(chunks), nuls_of(chunks)) == (b"two\n", 899_996)
    file.close()


@pytest.mark.parametrize("size", [5000, 3 * MIB])
@pytest.mark.parametrize("part", [b"", b"half a l"])
def test_text_that_is_written_over_the_nuls_at_the_end_of_a_file_is_read(path: Path, size: int, part: bytes) -> None:
    """A program that maps its log into memory makes it longer than its text."""
    file = Opened(plain(path, b"one\n" + part + bytes(size)), path).file
    seen = b""
    for more in (b"ine\ntwo\n", b"three\n", b"four\n"):
        while (chunk := file.read()) or file.is_scanning:
            seen += chunk.data if chunk else b""
        with path.open("r+b") as writer:
            writer.seek(len(path.read_bytes().rstrip(b"\0")))
            writer.write(more)
    while (chunk := file.read()) or file.is_scanning:
        seen += chunk.data if chunk else b""
    assert seen == b"one\n" + part + b"ine\ntwo\nthree\nfour\n"
    file.close()


def test_a_file_that_is_cut_where_its_text_ends_has_lost_nothing(path: Path) -> None:
    file = Opened(plain(path, b"one\n" + bytes(5000)), path).file
    chunk = file.read()
    assert chunk is not None
    assert chunk.data == b"one\n"
    assert file.read() is None
    os.truncate(path, 4)
    append(path, b"two\n")
    assert text_of(read_all(file)) == b"two\n"
    os.truncate(path, 8 + 5000)
    assert file.read() is None
    path.write_bytes(b"new\n")
    assert text_of([*read_all(file), *read_all(file)]) == b"new\n"
    assert file.lost == []
    assert [lost for overwritten in file.overwritten for lost in overwritten.lost()] == []
    file.close()


def test_a_hole_of_terabytes_is_passed_at_once(path: Path) -> None:
    with path.open("wb") as writer:
        writer.seek(2**41)
        writer.write(b"one\n")
    file = Opened(FileContent.open(path), path).file
    (hole, line) = read_all(file)
    assert (hole.nuls, line.start, line.data) == (2**41, 2**41, b"one\n")
    file.close()


def test_where_the_file_system_knows_no_holes_the_nuls_are_read_in_steps(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileContent, "next_data", lambda self, offset: offset)
    monkeypatch.setattr(line_reader, "SCAN_BYTES", MIB)
    with path.open("wb") as writer:
        writer.seek(10 * MIB)
        writer.write(b"one\n")
    file = Opened(FileContent.open(path), path).file
    steps = 0
    with PeakMemory() as memory:
        while (chunk := file.read()) is None:
            assert file.is_scanning
            steps += 1
    assert 8 <= steps <= 10
    assert chunk.nuls == 10 * MIB
    assert memory.grown_bytes < 2 * MIB
    file.close()


def test_a_hole_that_is_truncated_while_its_end_is_searched_for_hides_no_text(path: Path) -> None:
    file = Opened(plain(path, bytes(500_000)), path).file
    assert file.read() is None
    os.truncate(path, 1000)
    append(path, b"one\n")
    assert text_of(read_all(file)) == b"one\n"
    file.close()


def test_a_hole_ends_an_event_however_the_file_is_read(path: Path) -> None:
    data = b"a\n 1\n" + bytes(10) + b" 2\n" + bytes(300_000) + b" 3\nb\n"
    file = Opened(plain(path, data), path, EVENTS).file
    together = [chunk.data for chunk in read_all(file) if chunk.data]
    assert together == [b"a\n 1\n", b" 2\n", b" 3\nb\n"]
    file.rewind(0)
    assert [chunk.data for chunk in read_all(file, max_lines=1) if chunk.data] == [b"a\n 1\n", b" 2\n", b" 3\n", b"b\n"]
    file.close()


def test_a_hole_in_every_line_costs_no_chunk_of_its_own(path: Path) -> None:
    """As in text that is UTF-16, of which nobody can make sense anyway."""
    file = Opened(plain(path, b"x" + b"\n\0x" * 100_000 + b"\n"), path).file
    chunks = read_all(file)
    assert nuls_of(chunks) == 100_000
    assert len(chunks) < 10
    file.close()


# --- what is kept of a stream -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 1000, BLOCK_BYTES])
def test_a_hole_in_a_stream_takes_no_memory_and_the_line_behind_it_is_whole(step: int) -> None:
    size = 20_000 if step == 1 else 3 * MIB
    data = b"one\n" + bytes(size) + b"two " + b"x" * 3000 + b"\n"
    buffer = ReplayBuffer(max_line_bytes=4000)
    for start in range(0, len(data), step):
        buffer.append(data[start : start + step])
    assert buffer.read(len(data), 0) == data
    assert buffer.kept_bytes < 12_000 + (step if step > 1000 else 0)


def test_a_window_of_holes_is_bounded_in_pieces_too() -> None:
    buffer = ReplayBuffer(max_line_bytes=4000)
    for _ in range(10_000):
        buffer.append(bytes(5000) + b"x\n")
        buffer.trim_to(MIB)
    assert len(buffer._pieces) <= 5000


def test_the_helpers_agree_on_what_a_hole_is() -> None:
    for data in (b"", b"\0", b"\0\0a\0", b"a\0\0", bytes(300_000), bytes(300_000) + b"a"):
        assert holes.leading_nuls(data) == len(data) - len(data.lstrip(b"\0"))
        assert holes.without_trailing_nuls(data) == data.rstrip(b"\0")
    assert holes.first_hole(b"a\0b\n") == -1
    assert holes.first_hole(b"a\n\0b\n") == 2
    assert holes.without_holes(b"\0a\n\0\0b\0\n") == b"a\nb\0\n"
