"""Which file is read next in continuous mode: whatever has the name."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logferry.client.files.lines.line_reader import CHUNK_BYTES
from logferry.client.readers.base import Reader
from logferry.client.readers.follow.reader import FollowReader
from logferry.errors import SourceError
from logferry.model.loss import LossKind
from tests.support.builders import Clock, append, rewrite
from tests.support.reading import chunks_of, read
from tests.support.shipping import input_settings

QUIET_S = 60.0

needs_permissions = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


def look_and_read(reader: Reader) -> bytes:
    reader.poll()
    return read(reader)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follow(path: Path, clock: Clock) -> Iterator[Callable[..., FollowReader]]:
    """Make a reader that follows `path`."""
    readers: list[FollowReader] = []

    def make(name: Path = path, *, start_at_end: bool = False) -> FollowReader:
        settings = input_settings(name, max_line_bytes=64, start_at="end" if start_at_end else "beginning")
        readers.append(FollowReader([settings], rotated_quiet_s=QUIET_S, clock=clock))
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


Follow = Callable[..., FollowReader]


def rotate(path: Path) -> Path:
    """Rename the file as logrotate does, older ones first; return its new name."""
    number = 1
    while path.with_name(f"{path.name}.{number}").exists():
        number += 1
    for older in range(number, 1, -1):
        path.with_name(f"{path.name}.{older - 1}").rename(path.with_name(f"{path.name}.{older}"))
    return path.rename(path.with_name(f"{path.name}.1"))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_following_waits_for_a_file_that_is_not_there_yet(
    follow: Follow, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = follow()
    for _ in range(3):
        assert look_and_read(reader) == b""
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"cannot read {path}: waiting for it to appear"
    ]
    append(path, b"first\n")
    assert look_and_read(reader) == b"first\n"


def test_following_never_finishes(follow: Follow, path: Path) -> None:
    append(path, b"one\n")
    reader = follow()
    assert read(reader) == b"one\n"
    assert not reader.is_finished
    assert not reader.is_busy


def test_following_reads_what_is_appended_and_holds_an_unfinished_line(follow: Follow, path: Path) -> None:
    reader = follow()
    append(path, b"one\ntw")
    assert look_and_read(reader) == b"one\n"
    append(path, b"o\n")
    assert look_and_read(reader) == b"two\n"


def test_an_unfinished_line_is_held_however_long_its_writer_takes(follow: Follow, path: Path, clock: Clock) -> None:
    append(path, b"unfin")
    reader = follow()
    clock.now += 1000 * QUIET_S
    assert look_and_read(reader) == b""
    append(path, b"ished\n")
    assert look_and_read(reader) == b"unfinished\n"


@pytest.mark.parametrize("name", ["directory", "fifo"])
def test_following_what_can_never_be_a_log_file_is_refused(follow: Follow, path: Path, name: str) -> None:
    if name == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(SourceError):
        follow()


def test_a_name_that_becomes_a_directory_for_a_while_is_followed_again(
    follow: Follow, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    append(path, b"one\n")
    reader = follow()
    path.unlink()
    path.mkdir()
    for _ in range(3):
        reader.poll()
    assert read(reader) == b"one\n"
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"cannot read {path}: is a directory"
    ]
    path.rmdir()
    append(path, b"two\n")
    assert look_and_read(reader) == b"two\n"


# --- rotation


def test_a_rotated_file_is_read_to_its_end_before_its_successor(follow: Follow, path: Path) -> None:
    append(path, b"one\n")
    reader = follow()
    append(path, b"two\n")
    rotate(path)
    append(path, b"three\n")
    reader.poll()
    assert [chunk.data for chunk in chunks_of(reader)] == [b"one\ntwo\n", b"three\n"]


def test_a_file_that_is_renamed_but_has_no_successor_is_read_on(follow: Follow, path: Path, clock: Clock) -> None:
    reader = follow()
    append(path, b"one\n")
    assert look_and_read(reader) == b"one\n"
    rotated = rotate(path)
    reader.poll()
    clock.now += 10 * QUIET_S
    append(rotated, b"two\n")
    assert look_and_read(reader) == b"two\n"


def test_late_writes_to_a_rotated_file_are_read(follow: Follow, path: Path, clock: Clock) -> None:
    append(path, b"one\n")
    reader = follow()
    rotated = rotate(path)
    append(path, b"new\n")
    assert look_and_read(reader) == b"one\nnew\n"
    for number in range(10):
        clock.now += QUIET_S - 1
        append(rotated, b"late %d\n" % number)
        assert look_and_read(reader) == b"late %d\n" % number


def test_a_file_that_was_quiet_long_before_its_rotation_still_has_its_time_for_late_writes(
    follow: Follow, path: Path, clock: Clock
) -> None:
    append(path, b"one\nunfin")
    reader = follow()
    assert read(reader) == b"one\n"
    clock.now += 100 * QUIET_S
    rotated = rotate(path)
    append(path, b"new\n")
    assert look_and_read(reader) == b"new\n"
    append(rotated, b"ished\nlate\n")
    assert look_and_read(reader) == b"unfinished\nlate\n"


def test_a_file_that_was_quiet_long_before_its_deletion_still_has_its_time_for_late_writes(
    follow: Follow, path: Path, clock: Clock
) -> None:
    append(path, b"one\n")
    reader = follow()
    assert read(reader) == b"one\n"
    clock.now += 100 * QUIET_S
    with path.open("ab") as writer:
        path.unlink()
        assert look_and_read(reader) == b""
        writer.write(b"late\n")
    assert look_and_read(reader) == b"late\n"


def test_the_unfinished_last_line_of_a_rotated_file_is_a_line_once_it_is_quiet(
    follow: Follow, path: Path, clock: Clock
) -> None:
    append(path, b"one\nunfinished")
    reader = follow()
    rotate(path)
    append(path, b"new\n")
    assert look_and_read(reader) == b"one\nnew\n"
    clock.now += QUIET_S
    assert look_and_read(reader) == b"unfinished"


def test_a_rotated_file_is_closed_when_it_is_read_acked_and_quiet(follow: Follow, path: Path, clock: Clock) -> None:
    append(path, b"one\n")
    reader = follow()
    before = open_files()
    rotate(path)
    append(path, b"new\n")
    reader.poll()
    (old, new) = (reader.read(max_lines=None), reader.read(max_lines=None))
    assert old is not None
    assert new is not None
    clock.now += 2 * QUIET_S
    assert look_and_read(reader) == b""
    assert open_files() == before + 1, "it is not stored yet"
    old.source.committed = old.end
    look_and_read(reader)
    assert open_files() == before


def test_a_quiet_old_file_that_is_not_stored_yet_ends_no_line_of_its_successor(
    follow: Follow, path: Path, clock: Clock
) -> None:
    append(path, b"one\n")
    reader = follow()
    rotate(path)
    append(path, b"unfinished")
    reader.poll()
    assert reader.read(max_lines=None) is not None
    clock.now += 2 * QUIET_S
    assert reader.read(max_lines=None) is None


def test_a_rotated_file_is_closed_however_busy_its_successor_is(follow: Follow, path: Path, clock: Clock) -> None:
    append(path, b"one\n")
    reader = follow()
    before = open_files()
    rotate(path)
    path.touch()
    for number in range(10):
        append(path, b"%d\n" % number)
        look_and_read(reader)
        clock.now += QUIET_S / 4
    assert open_files() == before


def test_the_file_that_has_the_name_is_never_closed(follow: Follow, path: Path, clock: Clock) -> None:
    append(path, b"one\n")
    reader = follow()
    for _ in range(5):
        look_and_read(reader)
        clock.now += 10 * QUIET_S
    append(path, b"two\n")
    assert look_and_read(reader) == b"two\n"


def test_several_rotations_while_nothing_could_be_read_lose_nothing(follow: Follow, path: Path, clock: Clock) -> None:
    reader = follow()
    for number in range(5):
        append(path, b"line %d\n" % number)
        reader.poll()
        rotate(path)
        clock.now += 1
    append(path, b"last\n")
    reader.poll()
    clock.now += 100 * QUIET_S
    assert read(reader) == b"line 0\nline 1\nline 2\nline 3\nline 4\nlast\n"


def test_a_file_that_is_deleted_and_created_again_is_read_from_its_beginning(follow: Follow, path: Path) -> None:
    append(path, b"one\n")
    reader = follow()
    append(path, b"two\n")
    path.unlink()
    append(path, b"one\n")
    reader.poll()
    old, new = chunks_of(reader)
    assert (old.data, new.data) == (b"one\ntwo\n", b"one\n")
    assert old.source.id != new.source.id


def test_a_deleted_file_is_closed_in_the_end(follow: Follow, path: Path, clock: Clock) -> None:
    append(path, b"one\nunfinished")
    reader = follow()
    before = open_files()
    path.unlink()
    assert look_and_read(reader) == b"one\n"
    clock.now += QUIET_S
    assert look_and_read(reader) == b"unfinished"
    clock.now += QUIET_S
    assert look_and_read(reader) == b""
    assert open_files() == before - 1
    append(path, b"new\n")
    assert look_and_read(reader) == b"new\n"


def test_a_symbolic_link_is_followed_to_where_it_points_and_back(
    follow: Follow, path: Path, tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = tmp_path / "first", tmp_path / "second"
    append(first, b"first 1\n")
    append(second, b"second 1\n")

    def point_to(target: Path) -> None:
        (tmp_path / "link").symlink_to(target)
        (tmp_path / "link").rename(path)

    point_to(first)
    reader = follow()
    assert look_and_read(reader) == b"first 1\n"
    point_to(second)
    assert look_and_read(reader) == b"second 1\n"
    point_to(first)
    for number in range(2, 6):
        append(first, b"first %d\n" % number)
        assert look_and_read(reader) == b"first %d\n" % number
        clock.now += QUIET_S
    assert sum("is a new file now" in record.message for record in caplog.records) == 1


def test_a_file_that_gets_its_name_back_is_not_read_again(follow: Follow, path: Path, clock: Clock) -> None:
    append(path, b"one\n")
    reader = follow()
    rotated = rotate(path)
    append(path, b"two\n")
    assert look_and_read(reader) == b"one\ntwo\n"
    rotated.rename(path)
    append(path, b"three\n")
    assert look_and_read(reader) == b"three\n"
    for _ in range(3):
        clock.now += QUIET_S
        assert look_and_read(reader) == b""


# --- truncation


def test_a_truncated_file_is_read_from_its_beginning(follow: Follow, path: Path) -> None:
    append(path, b"one\ntwo\n")
    reader = follow()
    first = chunks_of(reader)[0].source
    rewrite(path, b"")
    assert look_and_read(reader) == b""
    append(path, b"three\n")
    reader.poll()
    (chunk,) = chunks_of(reader)
    assert (chunk.start, chunk.data) == (0, b"three\n")
    assert chunk.source.id != first.id
    (loss,) = reader.take_losses()
    assert (loss.source, loss.kind, loss.start, loss.end) == (first, LossKind.UNSEEN, 8, 8)


@pytest.mark.parametrize("content", [b"1\n2\n3\n4\n", b"new\n" * 50, b"n\n"])
def test_a_file_truncated_and_written_again_to_any_size_is_read_from_its_beginning(
    follow: Follow, path: Path, content: bytes
) -> None:
    append(path, b"one\ntwo\n")
    reader = follow()
    read(reader)
    rewrite(path, content)
    assert look_and_read(reader) + look_and_read(reader) == content


def test_lines_that_were_truncated_before_they_were_read_are_reported_once(follow: Follow, path: Path) -> None:
    append(path, b"one\n")
    reader = follow()
    (chunk,) = chunks_of(reader)
    append(path, b"two\nthree\n")
    reader.poll()
    rewrite(path, b"new\n")
    assert look_and_read(reader) + look_and_read(reader) == b"new\n"
    lost, unseen = reader.take_losses()
    assert (lost.source, lost.start, lost.end) == (chunk.source, 4, 14)
    assert (unseen.source, unseen.kind, unseen.start) == (chunk.source, LossKind.UNSEEN, 14)
    assert reader.take_losses() == []


def test_a_truncation_in_the_middle_of_a_long_line_leaves_nothing_busy(
    follow: Follow, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("logferry.client.files.lines.line_reader.SCAN_BYTES", CHUNK_BYTES)
    append(path, b"one\n" + b"x" * 3 * CHUNK_BYTES)
    reader = follow()
    reader.read(max_lines=None)
    reader.read(max_lines=None)
    assert reader.is_busy
    rewrite(path, b"")
    reader.read(max_lines=None)
    assert not reader.is_busy


# --- --start-at end


def test_starting_at_the_end_reads_only_what_comes_after(follow: Follow, path: Path) -> None:
    append(path, b"one\ntwo\n")
    reader = follow(start_at_end=True)
    assert look_and_read(reader) == b""
    append(path, b"three\n")
    assert look_and_read(reader) == b"three\n"


def test_starting_at_the_end_in_the_middle_of_a_line_reads_that_line_whole(follow: Follow, path: Path) -> None:
    append(path, b"one\ntw")
    reader = follow(start_at_end=True)
    append(path, b"o\n")
    assert look_and_read(reader) == b"two\n"


def test_starting_at_the_end_reads_a_file_that_comes_later_from_its_beginning(follow: Follow, path: Path) -> None:
    reader = follow(start_at_end=True)
    append(path, b"one\n")
    assert look_and_read(reader) == b"one\n"


def test_starting_at_the_end_reads_the_next_file_from_its_beginning(follow: Follow, path: Path) -> None:
    append(path, b"one\n")
    reader = follow(start_at_end=True)
    rotate(path)
    append(path, b"two\n")
    assert look_and_read(reader) == b"two\n"
