"""Batch mode: files are read to the size that they have at the start, each once, one after the other."""

import gzip
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.client.files.lines.line_reader import CHUNK_BYTES
from logferry.client.readers.batch import BatchReader
from logferry.client.recognition.recognise import Recogniser
from logferry.client.state.checkpoints import Checkpoints
from logferry.errors import SourceError
from logferry.model.source import Source
from tests.support.builders import append, rewrite
from tests.support.reading import chunks_of, read
from tests.support.shipping import input_settings

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")

Open = Callable[..., BatchReader]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def reading() -> Iterator[Open]:
    """Make a reader of files and patterns."""
    readers: list[BatchReader] = []

    def make(*names: Path | str, recogniser: Recogniser | None = None, **changes: Any) -> BatchReader:
        most = changes.pop("max_open_files", None)
        settings = input_settings(*names, **{"max_line_bytes": 64, **changes})
        readers.append(BatchReader([settings], recogniser=recogniser, max_open_files=most))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


def numbered_files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number:05}.log" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(b"line of %d\n" % number)
    return paths


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- one file ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def batch(path: Path, reading: Open) -> Callable[[bytes], BatchReader]:
    """Make a reader of a file with the given content."""

    def make(content: bytes) -> BatchReader:
        path.write_bytes(content)
        return reading(path)

    return make


MakeBatch = Callable[[bytes], BatchReader]


def test_batch_reads_a_file_to_its_end_and_is_finished(batch: MakeBatch) -> None:
    reader = batch(b"one\ntwo\n")
    assert not reader.is_finished
    assert read(reader) == b"one\ntwo\n"
    assert reader.is_finished
    assert reader.read(max_lines=None) is None
    assert reader.take_losses() == []


def test_batch_of_an_empty_file_is_finished_immediately(batch: MakeBatch) -> None:
    assert batch(b"").is_finished


def test_batch_ships_a_last_line_without_newline(batch: MakeBatch) -> None:
    assert read(batch(b"one\ntwo")) == b"one\ntwo"


@pytest.mark.parametrize("more", [b"three\n", b" continued\nthree\n"])
def test_batch_stops_at_the_size_at_start(batch: MakeBatch, path: Path, more: bytes) -> None:
    reader = batch(b"one\ntwo")
    append(path, more)
    assert read(reader) == b"one\ntwo"
    assert reader.is_finished


def test_batch_returns_at_most_as_many_lines_as_asked_for(batch: MakeBatch) -> None:
    assert [chunk.data for chunk in chunks_of(batch(b"1\n2\n3\n"), max_lines=2)] == [b"1\n2\n", b"3\n"]


@pytest.mark.parametrize("how", ["missing", "directory", "fifo", "under a file"])
def test_batch_of_what_is_not_a_file_is_refused_with_the_reason(path: Path, reading: Open, how: str) -> None:
    name, reason = path, "no such file"
    if how == "directory":
        path.mkdir()
        reason = "is a directory"
    elif how == "fifo":
        os.mkfifo(path)
        reason = "not a regular file"
    elif how == "under a file":
        path.touch()
        name, reason = path / "x", "Not a directory"
    with pytest.raises(SourceError) as caught:
        reading(name)
    assert (caught.value.path, caught.value.reason) == (str(name), reason)


@needs_permissions
def test_batch_of_an_unreadable_file_is_refused(path: Path, reading: Open) -> None:
    path.touch(mode=0)
    with pytest.raises(SourceError, match="Permission denied"):
        reading(path)


def test_batch_of_a_forbidden_file_is_refused(path: Path, reading: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    path.touch()
    monkeypatch.setattr(os, "open", forbid)
    with pytest.raises(SourceError, match="Permission denied"):
        reading(path)


def test_batch_reads_a_file_that_vanishes_to_its_end(batch: MakeBatch, path: Path) -> None:
    reader = batch(b"one\n")
    path.unlink()
    assert read(reader) == b"one\n"


def test_batch_of_a_file_that_shrinks_reports_what_is_lost(batch: MakeBatch, path: Path) -> None:
    reader = batch(b"one\ntwo\nthree\n")
    assert reader.read(max_lines=1) is not None
    os.truncate(path, 8)
    assert read(reader) == b"two\n"
    assert reader.is_finished
    assert [(lost.start, lost.end) for lost in reader.take_losses()] == [(8, 14)]
    assert reader.take_losses() == []


@pytest.mark.parametrize("content", [b"", b"1\n2\n3\n4\n5\n", b"x" * 500])
@pytest.mark.parametrize("already_read", [0, 1])
def test_batch_of_a_file_that_is_rewritten_reports_what_is_lost(
    batch: MakeBatch, path: Path, content: bytes, already_read: int
) -> None:
    reader = batch(b"one\ntwo\nxx")
    for _ in range(already_read):
        reader.read(max_lines=1)
    rewrite(path, content)
    assert read(reader) == b"", "nothing of the new content is taken for the old"
    assert reader.is_finished
    assert [(lost.start, lost.end) for lost in reader.take_losses()] == [(4 * already_read, 10)]


def test_batch_of_a_file_that_is_truncated_in_a_long_line_reports_what_is_lost(
    batch: MakeBatch, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.client.files.lines.line_reader.SCAN_BYTES", CHUNK_BYTES)
    size = 4 + 4 * CHUNK_BYTES
    reader = batch(b"one\n" + b"x" * (size - 4))
    assert reader.read(max_lines=None) is not None
    assert reader.read(max_lines=None) is None
    assert not reader.is_finished
    rewrite(path, b"y\n" * size)
    assert read(reader) == b""
    assert [(lost.start, lost.end) for lost in reader.take_losses()] == [(4, size)]


# --- many files -------------------------------------------------------------------------------------------------------


def test_files_are_read_one_after_the_other_in_the_order_of_their_patterns(tmp_path: Path, reading: Open) -> None:
    for name in ("b.log", "a.log", "c.txt", "d.log"):
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    reader = reading(tmp_path / "c.txt", tmp_path / "*.log", exclude=("d.*",))
    assert read(reader) == b"c.txt\na.log\nb.log\n"
    assert reader.is_finished
    assert reader.problems == []


def test_each_file_is_read_once_whatever_it_is_called(tmp_path: Path, reading: Open) -> None:
    (tmp_path / "a.log").write_bytes(b"one\n")
    (tmp_path / "b.log").symlink_to("a.log")
    os.link(tmp_path / "a.log", tmp_path / "c.log")
    (tmp_path / "twin.log").write_bytes(b"one\n")
    reader = reading(tmp_path / "a.log", tmp_path / "*.log", tmp_path / "**" / "*")
    assert [chunk.source.path for chunk in chunks_of(reader)] == [f"{tmp_path}/a.log", f"{tmp_path}/twin.log"]


def test_a_file_belongs_to_the_first_input_that_matches_it(tmp_path: Path) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"x" * 100 + b"\n")
    inputs = [
        input_settings(tmp_path / "b.log", max_line_bytes=64),
        input_settings(tmp_path / "*.log", max_line_bytes=80),
    ]
    reader = BatchReader(inputs)
    assert [(Path(chunk.source.path).name, len(chunk.data)) for chunk in chunks_of(reader)] == [
        ("b.log", 64),
        ("a.log", 80),
    ]
    reader.close()


def test_ten_thousand_files_need_few_descriptors(tmp_path: Path, reading: Open) -> None:
    numbered_files(tmp_path, 10_000)
    before, most = open_files(), 0
    reader = reading(tmp_path / "*.log")
    found = []
    while chunk := reader.read(max_lines=None):  # nothing is acked in between
        found.append(chunk.data)
        if len(found) % 100 == 0:
            most = max(most, open_files())
    assert found == [b"line of %d\n" % number for number in range(10_000)]
    assert most - before < 100


def test_a_file_that_is_acked_to_its_end_is_closed_and_finished(tmp_path: Path, reading: Open) -> None:
    numbered_files(tmp_path, 3)
    before = open_files()
    reader = reading(tmp_path / "*.log")
    chunks = chunks_of(reader)
    assert open_files() == before + 3
    reader.poll()
    assert open_files() == before
    assert all(chunk.source.is_finished for chunk in chunks)


def test_what_is_appended_to_a_file_before_its_turn_is_not_read(tmp_path: Path, reading: Open) -> None:
    paths = numbered_files(tmp_path, 5)
    reader = reading(tmp_path / "*.log", max_open_files=2)
    for path in paths:
        append(path, b"more\n")
    assert b"more" not in read(reader)


def test_a_file_that_is_renamed_before_its_turn_is_found(tmp_path: Path, reading: Open) -> None:
    paths = numbered_files(tmp_path, 20)
    reader = reading(tmp_path / "*.log", max_open_files=8)
    paths[15].rename(tmp_path / "renamed")
    paths[15].write_bytes(b"another\n")
    assert read(reader) == b"".join(b"line of %d\n" % number for number in range(20))
    assert reader.problems == []


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_file_that_is_gone_before_its_turn_is_a_problem_and_the_others_are_read(
    tmp_path: Path, reading: Open, is_replaced: bool
) -> None:
    paths = numbered_files(tmp_path, 20)
    reader = reading(tmp_path / "*.log", max_open_files=8)
    os.link(paths[15], tmp_path.parent / f"{tmp_path.name}-kept")  # so that its inode is not used again
    paths[15].unlink()
    if is_replaced:
        paths[15].write_bytes(b"another\n")
    assert read(reader) == b"".join(b"line of %d\n" % number for number in range(20) if number != 15)
    assert reader.problems == [f"cannot read {paths[15]}: deleted, replaced or moved away before it was read"]
    assert [report.path for report in reader.report() if report.problem] == [str(paths[15])]


def test_what_cannot_be_opened_is_a_problem_and_the_others_are_read(tmp_path: Path, reading: Open) -> None:
    paths = numbered_files(tmp_path, 2)
    (tmp_path / "folder").mkdir()
    reader = reading(tmp_path / "missing.log", paths[0], tmp_path / "folder", paths[1])
    assert read(reader) == b"line of 0\nline of 1\n"
    assert reader.problems == [
        f"cannot read {tmp_path}/missing.log: no such file",
        f"cannot read {tmp_path}/folder: is a directory",
    ]


def test_a_pattern_matches_only_files(tmp_path: Path, reading: Open) -> None:
    numbered_files(tmp_path, 1)
    (tmp_path / "folder.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "dangling.log").symlink_to("nowhere")
    reader = reading(tmp_path / "*.log")
    assert read(reader) == b"line of 0\n"
    assert reader.problems == []


def test_patterns_that_match_nothing_are_refused(tmp_path: Path, reading: Open) -> None:
    with pytest.raises(SourceError) as caught:
        reading(tmp_path / "*.log", tmp_path / "*.txt")
    assert (caught.value.path, caught.value.reason) == (f"{tmp_path}/*.log:{tmp_path}/*.txt", "no such file")


def test_each_of_several_unreadable_files_is_a_problem(tmp_path: Path, reading: Open) -> None:
    reader = reading(tmp_path / "a.log", tmp_path / "b.log")
    assert reader.is_finished
    assert len(reader.problems) == 2


def test_a_file_that_fails_while_it_is_read_is_a_problem_and_the_others_are_read(
    tmp_path: Path, reading: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = numbered_files(tmp_path, 3)
    reader = reading(tmp_path / "*.log")
    bad, pread = os.stat(paths[1]).st_ino, os.pread

    def fail(fd: int, size: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == bad:
            raise OSError(5, "Input/output error")
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", fail)
    assert read(reader) == b"line of 0\nline of 2\n"
    assert reader.problems == [f"cannot read {paths[1]}: Input/output error"]


# --- reading again ----------------------------------------------------------------------------------------------------


def test_an_earlier_file_is_read_again_when_it_is_sent_back(tmp_path: Path, reading: Open) -> None:
    numbered_files(tmp_path, 40)
    reader = reading(tmp_path / "*.log", max_open_files=8)
    chunks = [chunk for _ in range(30) if (chunk := reader.read(max_lines=None))]
    reader.rewind(chunks[3].source, 0)
    again = reader.read(max_lines=None)
    assert again is not None
    assert (again.source, again.data) == (chunks[3].source, b"line of 3\n")
    assert read(reader) == b"".join(b"line of %d\n" % number for number in range(30, 40))
    assert reader.is_finished


def test_a_file_is_sent_back_after_it_was_renamed_and_closed(tmp_path: Path, reading: Open) -> None:
    paths = numbered_files(tmp_path, 40)
    reader = reading(tmp_path / "*.log", max_open_files=8)
    chunks = [chunk for _ in range(30) if (chunk := reader.read(max_lines=None))]
    paths[3].rename(tmp_path / "renamed")
    reader.rewind(chunks[3].source, 0)
    again = reader.read(max_lines=None)
    assert again is not None
    assert again.data == b"line of 3\n"


def test_what_is_to_be_read_again_and_is_gone_is_lost(tmp_path: Path, reading: Open) -> None:
    paths = numbered_files(tmp_path, 40)
    reader = reading(tmp_path / "*.log", max_open_files=8)
    chunks = [chunk for _ in range(30) if (chunk := reader.read(max_lines=None))]
    os.link(paths[3], tmp_path.parent / f"{tmp_path.name}-kept")
    paths[3].unlink()
    reader.rewind(chunks[3].source, 0)
    (lost,) = reader.take_losses()
    assert (lost.source, lost.start, lost.end) == (chunks[3].source, 0, len(chunks[3].data))
    assert reader.duplicate(chunks[3].source) is None


def test_an_unknown_source_has_no_twin_and_cannot_be_sent_back(path: Path, batch: MakeBatch) -> None:
    reader = batch(b"one\n")
    assert reader.duplicate(Source(str(path))) is None
    reader.rewind(Source(str(path), read_until=5), 2)
    assert [(lost.start, lost.end) for lost in reader.take_losses()] == [(2, 5)]


def test_a_twin_of_a_closed_and_renamed_file_is_read_on_its_own(tmp_path: Path, reading: Open) -> None:
    paths = numbered_files(tmp_path, 40)
    reader = reading(tmp_path / "*.log", max_open_files=8)
    chunks = [chunk for _ in range(30) if (chunk := reader.read(max_lines=None))]
    paths[3].rename(tmp_path / "renamed")
    duplicate = reader.duplicate(chunks[3].source)
    assert duplicate is not None
    duplicate.rewind(0)
    chunk = duplicate.read(is_final=True)
    assert chunk is not None
    assert chunk.data == b"line of 3\n"
    duplicate.close()


# --- compressed -------------------------------------------------------------------------------------------------------


def packed(*parts: bytes) -> bytes:
    return b"".join(gzip.compress(part) for part in parts)


def test_a_compressed_file_is_read_as_what_it_was(path: Path, batch: MakeBatch) -> None:
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    chunks = chunks_of(batch(packed(lines, b"in two ", b"members")))
    assert b"".join(chunk.data for chunk in chunks) == lines + b"in two members"
    assert [chunk.start for chunk in chunks] == [0, *(chunk.end for chunk in chunks[:-1])]


def test_compressed_files_are_read_among_others(tmp_path: Path, reading: Open) -> None:
    (tmp_path / "1.log").write_bytes(b"1\n")
    (tmp_path / "2.log.gz").write_bytes(packed(b"2\n"))
    (tmp_path / "3.log.gz").write_bytes(packed(b"")[:12])
    (tmp_path / "4.log.gz").write_bytes(b"4\n")
    reader = reading(tmp_path / "*")
    assert read(reader) == b"1\n2\n4\n"
    assert reader.problems == [f"cannot read all of {tmp_path}/3.log.gz: truncated at compressed byte 12"]


def test_a_damaged_file_is_read_as_far_as_possible_before_it_is_reported(batch: MakeBatch, path: Path) -> None:
    reader = batch(packed(b"one\ntwo\nthree")[:-2])
    first = reader.read(max_lines=1)
    assert first is not None
    assert reader.problems == []
    assert read(reader) == b"two\nthree"
    assert reader.problems == [f"cannot read all of {path}: truncated at compressed byte {path.stat().st_size}"]
    assert reader.take_losses() == []


def test_what_is_appended_to_a_compressed_file_is_not_read(batch: MakeBatch, path: Path) -> None:
    reader = batch(packed(b"one\n"))
    append(path, packed(b"two\n"))
    assert read(reader) == b"one\n"
    assert reader.problems == []


@pytest.mark.parametrize("length", [300_000, 3_000_000, 30_000_000])
def test_a_long_line_in_a_compressed_file_is_cut_and_its_neighbours_are_whole(
    batch: MakeBatch, path: Path, length: int
) -> None:
    reader = batch(packed(b"one\n" + b"x" * length + b"\nthree\n"))
    chunks = chunks_of(reader)
    assert [(chunk.start, chunk.end, len(chunk.data), chunk.truncated) for chunk in chunks] == [
        (0, 4, 4, False),
        (4, 5 + length, 64, True),
        (5 + length, 11 + length, 6, False),
    ]


def test_a_compressed_file_is_sent_back_from_any_place(batch: MakeBatch) -> None:
    lines = b"".join(b"%07d\n" % number for number in range(2_000_000))
    reader = batch(packed(lines))
    chunks = chunks_of(reader)
    for chunk in (chunks[-1], chunks[0], chunks[len(chunks) // 2]):
        reader.rewind(chunk.source, chunk.start)
        again = reader.read(max_lines=None)
        assert again is not None
        assert (again.start, again.data) == (chunk.start, chunk.data)


def test_a_compressed_file_that_was_shipped_in_part_is_recognised(tmp_path: Path, path: Path, reading: Open) -> None:
    lines = b"".join(b"%07d\n" % number for number in range(200_000))
    path.write_bytes(packed(lines))
    checkpoints = Checkpoints(tmp_path / "state")
    first = reading(path)
    chunks = [first.read(max_lines=None) for _ in range(3)]
    for chunk in chunks:
        assert chunk is not None
        checkpoints.register(chunk.source)
        chunk.source.committed, chunk.source.tail = chunk.end, chunk.tail
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "state")
    rest = read(reading(path, recogniser=Recogniser(checkpoints)))
    checkpoints.close()
    assert chunks[-1] is not None
    assert rest == lines[chunks[-1].end :]
    assert CHUNK_BYTES < len(rest) < len(lines)
