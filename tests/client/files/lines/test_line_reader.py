"""One open file: whole lines in chunks, long lines cut, and the check that it is still the same file."""

import os
import re
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from logferry.client.files.content.content import FileContent
from logferry.client.files.identity import TAIL_BYTES
from logferry.client.files.lines import line_reader as source_file
from logferry.client.files.lines.line_reader import CHUNK_BYTES, SourceFile
from logferry.errors import SourceError
from logferry.model.chunk import Chunk
from logferry.model.loss import Loss
from logferry.model.source import Source
from tests.support.builders import append, rewrite
from tests.support.memory_reader import MemoryContent

LIMIT = 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def opened(path: Path) -> Iterator[SourceFile]:
    """The file at `path`, empty when it is opened, with lines of at most LIMIT bytes."""
    path.touch()
    file = SourceFile(path, max_line_bytes=LIMIT)
    yield file
    file.close()


def read_all(file: SourceFile, *, max_lines: int | None = None, is_final: bool = False) -> list[Chunk]:
    """Read until there is nothing more; the chunks must follow each other without gap."""
    chunks: list[Chunk] = []
    while True:
        start = file.offset
        chunk = file.read(max_lines=max_lines, is_final=is_final)
        if chunk:
            assert (chunk.start, chunk.end) == (start, file.offset)
            chunks.append(chunk)
        elif not file.is_scanning:
            return chunks


def data_of(chunks: list[Chunk]) -> list[bytes]:
    return [chunk.data for chunk in chunks]


# --- whole lines ------------------------------------------------------------------------------------------------------


def lost_of(file: SourceFile) -> list[Loss]:
    """Return what is lost of the sources that a file had before."""
    return [lost for overwritten in file.overwritten for lost in overwritten.lost()]


def test_an_empty_file_has_no_chunk(opened: SourceFile) -> None:
    assert read_all(opened) == []
    assert opened.read(is_final=True) is None


def test_whole_lines_come_together(opened: SourceFile, path: Path) -> None:
    append(path, b"one\ntwo\n")
    (chunk,) = read_all(opened)
    assert (chunk.start, chunk.end, chunk.data, chunk.truncated) == (0, 8, b"one\ntwo\n", False)
    assert chunk.source is opened.source
    assert chunk.source.path == str(path)


def test_an_unfinished_line_is_held_until_its_newline_comes(opened: SourceFile, path: Path) -> None:
    append(path, b"one\ntw")
    assert data_of(read_all(opened)) == [b"one\n"]
    append(path, b"o")
    assert read_all(opened) == []
    append(path, b"\nthree\nfo")
    assert data_of(read_all(opened)) == [b"two\nthree\n"]
    assert opened.offset == 14


def test_a_last_line_without_newline_counts_once_the_file_will_not_grow(opened: SourceFile, path: Path) -> None:
    append(path, b"one\ntwo")
    assert data_of(read_all(opened, is_final=True)) == [b"one\n", b"two"]


def test_no_byte_from_the_limit_on_is_read(opened: SourceFile, path: Path) -> None:
    append(path, b"one\ntwo\nthree\n")
    first = opened.read(limit=6)
    second = opened.read(limit=6, is_final=True)
    assert first is not None
    assert second is not None
    assert (first.data, second.data) == (b"one\n", b"tw")
    assert opened.read(limit=6, is_final=True) is None


def test_a_large_file_comes_in_chunks_of_whole_lines(opened: SourceFile, path: Path) -> None:
    content = b"".join(b"line %d\n" % number for number in range(80_000))
    append(path, content)
    chunks = data_of(read_all(opened))
    assert b"".join(chunks) == content
    assert len(chunks) == -(-len(content) // CHUNK_BYTES)
    assert all(chunk.endswith(b"\n") and len(chunk) <= CHUNK_BYTES for chunk in chunks)


@pytest.mark.parametrize("max_lines", [1, 2, 3, 7, 100])
def test_a_chunk_holds_no_more_lines_than_asked_for(opened: SourceFile, path: Path, max_lines: int) -> None:
    content = b"".join(b"%d\n" % number for number in range(20))
    append(path, content)
    chunks = data_of(read_all(opened, max_lines=max_lines))
    assert b"".join(chunks) == content
    assert [chunk.count(b"\n") for chunk in chunks[:-1]] == [max_lines] * (len(chunks) - 1)


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(SourceError, match="is a directory"):
        SourceFile(tmp_path, max_line_bytes=LIMIT)
    os.mkfifo(path)
    with pytest.raises(SourceError, match="not a regular file"):
        SourceFile(path, max_line_bytes=LIMIT)
    with pytest.raises(FileNotFoundError):
        SourceFile(tmp_path / "missing", max_line_bytes=LIMIT)


def test_the_error_of_a_failing_disk_names_the_file(
    opened: SourceFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(SourceError, match=f"cannot read {re.escape(str(path))}: Input/output error"):
        opened.read()


# --- long lines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_a_line_at_the_limit_is_whole_and_a_longer_one_is_cut(opened: SourceFile, path: Path, ending: bytes) -> None:
    """Rule F9."""
    append(path, b"a\n" + b"x" * LIMIT + ending + b"y" * (LIMIT + 1) + ending + b"b\n")
    whole, cut, after = read_all(opened)
    assert (whole.data, whole.truncated) == (b"a\n" + b"x" * LIMIT + ending, False)
    assert (cut.data, cut.truncated) == (b"y" * LIMIT, True)
    assert (after.data, after.truncated) == (b"b\n", False)


@pytest.mark.parametrize("length", [LIMIT + 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES])
def test_a_long_line_of_any_length_is_cut_and_its_neighbours_are_intact(
    opened: SourceFile, path: Path, length: int
) -> None:
    append(path, b"before\n" + b"x" * length + b"\nafter\n")
    before, cut, after = read_all(opened)
    assert (before.data, after.data) == (b"before\n", b"after\n")
    assert (cut.data, cut.truncated, cut.end - cut.start) == (b"x" * LIMIT, True, length + 1)


def test_lines_longer_than_a_chunk_are_whole_when_the_limit_allows(path: Path) -> None:
    limit = 3 * CHUNK_BYTES
    lines = [b"a\n", b"x" * limit + b"\n", b"y" * limit + b"\r\n", b"z" * (limit + 1) + b"\n", b"b\n"]
    path.write_bytes(b"".join(lines))
    file = SourceFile(path, max_line_bytes=limit)
    chunks = read_all(file)
    file.close()
    assert data_of(chunks) == [*lines[:3], b"z" * limit, b"b\n"]
    assert [chunk.truncated for chunk in chunks] == [False, False, False, True, False]


def test_several_long_lines_in_a_row_are_all_cut(opened: SourceFile, path: Path) -> None:
    append(path, b"".join(b"%d" % digit * 200 + b"\n" for digit in range(5)))
    assert data_of(read_all(opened)) == [b"%d" % digit * LIMIT for digit in range(5)]


def test_the_search_for_the_end_of_a_long_line_continues_where_it_ended(opened: SourceFile, path: Path) -> None:
    append(path, b"x" * (2 * CHUNK_BYTES))
    assert read_all(opened) == []
    append(path, b"x" * 10)
    assert read_all(opened) == []
    append(path, b"\nnext\n")
    cut, following = read_all(opened)
    assert (cut.data, cut.end) == (b"x" * LIMIT, 2 * CHUNK_BYTES + 11)
    assert following.data == b"next\n"


def test_a_long_last_line_without_newline_is_cut_too(opened: SourceFile, path: Path) -> None:
    append(path, b"x" * (LIMIT + 1))
    (cut,) = read_all(opened, is_final=True)
    assert (cut.data, cut.truncated, cut.end) == (b"x" * LIMIT, True, LIMIT + 1)


@pytest.mark.parametrize("character", ["é", "日", "🚢"])
@pytest.mark.parametrize("shift", range(4))
def test_no_character_is_cut_in_two(opened: SourceFile, path: Path, character: str, shift: int) -> None:
    """Rule F9."""
    line = "x" * shift + character * LIMIT
    append(path, line.encode() + b"\n")
    (cut,) = read_all(opened)
    assert line.startswith(cut.data.decode())
    assert LIMIT - len(character.encode()) < len(cut.data) <= LIMIT


def test_bytes_that_are_not_text_are_cut_at_the_limit(opened: SourceFile, path: Path) -> None:
    append(path, b"\x80" * 100 + b"\n")
    assert data_of(read_all(opened)) == [b"\x80" * LIMIT]


def test_a_line_of_a_gigabyte_takes_little_memory_and_is_searched_in_steps(path: Path) -> None:
    path.write_bytes(b"before\n")
    os.truncate(path, 1024**3)  # a hole: it takes no disk
    append(path, b"\nafter\n")
    file = SourceFile(path, max_line_bytes=1024**2)
    tracemalloc.start()
    try:
        pauses = 0
        chunks: list[Chunk] = []
        while file.offset < file.size():
            chunk = file.read()
            pauses += chunk is None
            chunks += [chunk] if chunk else []
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024**2
    finally:
        tracemalloc.stop()
        file.close()
    before, cut, after = chunks
    assert (before.data, after.data) == (b"before\n", b"after\n")
    assert (cut.data, cut.truncated, cut.end) == (bytes(1024**2), True, 1024**3 + 1)
    assert pauses >= 1024**3 // source_file.SCAN_BYTES - 1


# --- the same file, or another ----------------------------------------------------------------------------------------


def test_every_source_has_a_random_id_of_its_own() -> None:
    """Rule E6."""
    ids = {Source("app.log").id for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,64}", source) for source in ids)


def test_after_a_truncation_the_file_is_a_new_source_from_its_beginning(opened: SourceFile, path: Path) -> None:
    """Rule E6."""
    append(path, b"one\ntwo\n")
    (old,) = read_all(opened)
    rewrite(path, b"three\n")
    assert read_all(opened) == []
    (new,) = read_all(opened)
    assert (new.start, new.data) == (0, b"three\n")
    assert new.source.id != old.source.id
    assert lost_of(opened) == [], "everything had been read"


@pytest.mark.parametrize("content", [b"1\n2\n3\n", b"new\n" * 100, b"new\n" + b"one\ntwo\n" * 9])
def test_a_file_rewritten_to_any_size_is_detected_by_its_content(
    opened: SourceFile, path: Path, content: bytes
) -> None:
    append(path, b"one\ntwo\n")
    read_all(opened)
    rewrite(path, content)
    read_all(opened)
    assert b"".join(data_of(read_all(opened))) == content


def test_a_rewrite_far_before_the_offset_is_ignored(opened: SourceFile, path: Path) -> None:
    append(path, b"x" * 20 + b"\n" + b"line\n" * TAIL_BYTES)
    read_all(opened)
    with path.open("r+b") as file:
        file.write(b"y")
    append(path, b"next\n")
    assert data_of(read_all(opened)) == [b"next\n"]


def test_what_was_seen_and_truncated_before_it_was_read_is_lost(opened: SourceFile, path: Path) -> None:
    append(path, b"one\n")
    (old,) = read_all(opened)
    append(path, b"two\nthree\n")
    opened.size()
    rewrite(path, b"")
    assert read_all(opened) == []
    (lost,) = lost_of(opened)
    assert (lost.source, lost.start, lost.end) == (old.source, 4, 14)
    assert "truncated" in lost.reason


def test_an_unfinished_line_that_was_seen_by_reading_is_lost_when_it_is_truncated(
    opened: SourceFile, path: Path
) -> None:
    append(path, b"one\ntw")
    read_all(opened)
    rewrite(path, b"three\n")
    read_all(opened)
    assert [(lost.start, lost.end) for lost in lost_of(opened)] == [(4, 6)]


@pytest.mark.parametrize("content", [b"", b"a\n", b"longer than before\n"])
def test_a_file_that_was_not_read_yet_is_recognised_by_its_beginning(
    opened: SourceFile, path: Path, content: bytes
) -> None:
    append(path, b"unread\n")
    opened.size()
    rewrite(path, content)
    assert read_all(opened) == []
    assert [(lost.start, lost.end) for lost in lost_of(opened)] == [(0, 7)]
    assert b"".join(data_of(read_all(opened))) == content


def test_a_read_during_which_the_file_was_truncated_and_written_to_counts_for_nothing(
    opened: SourceFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel copies page by page: the first pages are of the old content, the last ones of the new."""
    old, new = b"old line\n" * 1000, b"new lines\n" * 1200
    append(path, old)
    opened.size()
    pread = FileContent.pread

    def read_both(self: FileContent, size: int, offset: int) -> bytes:
        if size < CHUNK_BYTES:
            return pread(self, size, offset)
        before = pread(self, 4096, offset)
        rewrite(path, new)
        return before + pread(self, size - 4096, offset + 4096)

    with monkeypatch.context() as patch:
        patch.setattr(FileContent, "pread", read_both)
        assert opened.read() is None
    assert [overwritten.seen_size for overwritten in opened.overwritten] == [len(old)]
    assert b"".join(data_of(read_all(opened))) == new


def test_a_beginning_may_grow_before_it_is_read(opened: SourceFile, path: Path) -> None:
    for piece in (b"a", b"b" * 300, b"c\n"):
        append(path, piece)
        opened.size()
    assert read_all(opened)[0].end == 303
    assert lost_of(opened) == []


def test_a_search_for_the_end_of_a_long_line_ends_with_a_truncation(
    opened: SourceFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_file, "SCAN_BYTES", CHUNK_BYTES)
    append(path, b"one\n" + b"x" * (3 * CHUNK_BYTES))
    opened.read()
    assert opened.read() is None
    assert opened.is_scanning
    rewrite(path, b"")
    assert opened.read() is None
    assert not opened.is_scanning
    append(path, b"y" * CHUNK_BYTES + b"\nnew\n")
    assert data_of(read_all(opened)) == [b"y" * LIMIT, b"new\n"]


def test_truncating_a_long_line_while_it_is_read_does_not_crash(
    opened: SourceFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(path, b"one\n" + b"x" * (2 * CHUNK_BYTES) + b"\n")
    opened.read()
    pread = os.pread

    def pread_and_truncate(fd: int, size: int, offset: int) -> bytes:
        data = pread(fd, size, offset)
        if data.endswith(b"\n"):  # the end of the long line is found, the line itself not yet taken
            os.truncate(path, 0)
        return data

    monkeypatch.setattr(os, "pread", pread_and_truncate)
    assert read_all(opened) == []
    assert read_all(opened) == []
    assert [(lost.start, lost.end) for lost in lost_of(opened)] == [(4, 4 + 2 * CHUNK_BYTES)]


def test_skipping_to_the_end_goes_after_the_last_whole_line(opened: SourceFile, path: Path) -> None:
    append(path, b"one\ntwo\nthr")
    opened.skip_to_end()
    assert opened.offset == 8
    append(path, b"ee\nfour\n")
    assert data_of(read_all(opened)) == [b"three\nfour\n"]
    rewrite(path, b"new\n")
    read_all(opened)
    assert data_of(read_all(opened)) == [b"new\n"]


@pytest.mark.parametrize("size", [1, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 1])
def test_skipping_finds_the_last_newline_however_far_it_is_from_the_end(
    opened: SourceFile, path: Path, size: int
) -> None:
    append(path, b"one\n" + b"x" * size)
    opened.skip_to_end()
    assert opened.offset == 4


def test_a_file_without_a_newline_cannot_be_skipped(opened: SourceFile, path: Path) -> None:
    append(path, b"unfinished")
    opened.skip_to_end()
    assert opened.offset == 0


def test_a_renamed_file_is_read_on_and_a_deleted_one_knows_it(opened: SourceFile, path: Path, tmp_path: Path) -> None:
    path.rename(tmp_path / "app.log.1")
    append(tmp_path / "app.log.1", b"late\n")
    assert not opened.is_deleted
    (tmp_path / "app.log.1").unlink()
    assert opened.is_deleted
    assert data_of(read_all(opened)) == [b"late\n"]


class ShrinkingContent(MemoryContent):
    """Holds ten old lines until its size has been taken once, and then a new one."""

    def __init__(self) -> None:
        super().__init__()
        self.append(b"old\n" * 10)

    def size(self) -> int:
        size, self._data = super().size(), b"new\n"
        return size


def test_a_size_that_is_that_of_an_earlier_content_is_not_remembered() -> None:
    """The bytes that recognise the file would be those of the content after the truncation."""
    file = SourceFile(Path("app.log"), max_line_bytes=100, content=ShrinkingContent())
    assert file.seen_size == 0
    file.size()
    assert file.seen_size == 4
    assert file.read() is not None
    assert file.lost == []
