"""Copies that are made, renamed, and followed by others while the reader is at work: none of their lines is lost.

Each test puts one step of a storm of rotations between two steps of the reader; tests/properties/copytruncate_storm.py
lets the scheduler choose.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.finding.listing import FolderListings, Listing
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.readers.follow.truncation import Truncations
from logferry.client.recognition import rotated
from logferry.client.recognition.recognise import Recogniser
from logferry.client.state.checkpoints import Checkpoints
from tests.support.builders import Clock
from tests.support.shipping import append, input_settings, log_line

PATTERNS = pytest.mark.parametrize("pattern", ["app.log", "app.log*"], ids=["name", "pattern"])


class Storm:
    """A followed file, its reader, and what came out; every line is delivered and acked at once."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self.log = folder / "app.log"
        self.log.touch()
        self._checkpoints = Checkpoints(None)
        self.clock = Clock()
        self.reader = FollowReader(
            [input_settings(folder / pattern)], recogniser=Recogniser(self._checkpoints), clock=self.clock
        )
        self.written = 0
        self.data: list[bytes] = []

    def write(self, lines: int = 5) -> None:
        """Append lines with new numbers."""
        append(self.log, range(self.written, self.written + lines))
        self.written += lines

    def shift(self) -> None:
        """Move app.log.1 to app.log.2 and so on."""
        for number in sorted((int(path.suffix[1:]) for path in self.log.parent.glob("app.log.*")), reverse=True):
            self.log.with_name(f"app.log.{number}").rename(self.log.with_name(f"app.log.{number + 1}"))

    def rotate(self) -> None:
        """Make room for a copy, copy the file, and truncate it."""
        self.shift()
        shutil.copyfile(self.log, self.log.with_name("app.log.1"))
        self.log.write_bytes(b"")

    def poll(self) -> None:
        """Look, and read everything."""
        self.reader.poll()
        while chunk := self.reader.read(max_lines=None):
            self.data.append(chunk.data)
            chunk.source.committed, chunk.source.tail = chunk.end, chunk.tail
            self._checkpoints.register(chunk.source)

    def conclude(self) -> None:
        """Fail unless every line came out once, and none is reported as lost."""
        for _ in range(3):
            self.poll()
        assert [loss.reason for loss in self.reader.take_losses()] == []
        found, expected = Counter(self.lines), Counter(map(log_line, range(self.written)))
        assert expected - found == Counter(), "missing"
        assert found - expected == Counter(), "more often than once, or never written"

    @property
    def lines(self) -> list[bytes]:
        """What came out, in order."""
        return b"".join(self.data).splitlines(keepends=True)


@pytest.fixture
def storm(tmp_path: Path, pattern: str) -> Iterator[Storm]:
    """Return a storm over an empty file that the reader has seen."""
    storm = Storm(tmp_path, pattern)
    yield storm
    storm.reader.close()


def before_call(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, action: Callable[[], object], *, times: int = 1
) -> None:
    """Do something before each of the first calls of a method."""
    original, done = getattr(owner, method), list[str]()

    def act_first(self: Any, *args: Any, **options: Any) -> Any:
        if len(done) < times:
            done.append(method)
            action()
        return original(self, *args, **options)

    monkeypatch.setattr(owner, method, act_first)


def after_listing(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], *, times: int) -> None:
    """Do something after each of the next listings of a folder, before anybody has used it."""
    original, done = FolderListings.listing, list[str]()

    def listing(self: FolderListings, folder: str) -> Listing:
        found = original(self, folder)
        if len(done) < times:
            done.append(folder)
            action()
        return found

    monkeypatch.setattr(FolderListings, "listing", listing)


@PATTERNS
@pytest.mark.parametrize("is_read", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize("times", [1, 4])
def test_a_copy_that_is_renamed_while_it_is_looked_for_is_found(
    storm: Storm, monkeypatch: pytest.MonkeyPatch, times: int, is_read: bool
) -> None:
    storm.write()
    storm.reader.poll()
    if is_read:
        storm.poll()
        storm.write()
        storm.reader.poll()
    storm.rotate()
    storm.write()
    after_listing(monkeypatch, storm.shift, times=times)
    storm.conclude()


@PATTERNS
def test_a_copy_is_found_however_long_the_storm_of_renames_lasts(storm: Storm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search ends without a result, and is repeated; nothing is reported as lost meanwhile."""
    monkeypatch.setattr(rotated, "MAX_LISTINGS", 3)
    monkeypatch.setattr(rotated, "_MAX_PASSES", 3)
    storm.write()
    storm.reader.poll()
    storm.rotate()
    storm.write()
    storm.rotate()
    storm.write()
    after_listing(monkeypatch, storm.shift, times=40)
    for _ in range(40):
        storm.poll()
    storm.conclude()


@PATTERNS
def test_a_file_that_is_truncated_while_its_size_is_taken_is_read_from_its_copy(
    storm: Storm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is that of one content, its first bytes are those of another, by which no copy would be found."""
    storm.write()
    before_call(monkeypatch, SourceFile, "is_unchanged", storm.rotate)
    storm.reader.poll()
    storm.write()
    storm.conclude()


@PATTERNS
def test_a_file_that_is_truncated_before_it_is_remembered_is_read_from_its_copy(
    storm: Storm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotate_and_write() -> None:
        storm.rotate()
        storm.write()

    storm.write()
    before_call(monkeypatch, Recogniser, "remember", rotate_and_write)
    storm.conclude()


@PATTERNS
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("new", [0, 5], ids=["empty", "longer again"])
def test_what_an_empty_file_held_between_two_looks_is_read_from_its_copies_first(
    storm: Storm, pattern: str, times: int, new: int
) -> None:
    """The file itself shows nothing of it."""
    for _ in range(times):
        storm.write()
        storm.rotate()
    storm.write(new)
    storm.conclude()
    if pattern == "app.log":  # else the copies have names of their own, each with its turns
        assert storm.lines == [*map(log_line, range(storm.written))]


@pytest.mark.parametrize("pattern", ["app.log"])
@pytest.mark.parametrize("times", [1, 2, 4])
def test_an_empty_file_that_is_written_to_and_rotated_is_read_before_those_that_were_rotated_after_it(
    storm: Storm, times: int
) -> None:
    storm.poll()  # the file is the newest, and empty
    for _ in range(times):
        storm.write()
        storm.shift()
        storm.log.rename(storm.log.with_name("app.log.1"))
        storm.log.touch()
    storm.write()
    storm.conclude()
    assert storm.lines == [*map(log_line, range(storm.written))]


@PATTERNS
def test_what_an_empty_file_held_is_read_from_its_copy_although_the_file_is_read_before_it_is_looked_at(
    storm: Storm,
) -> None:
    storm.write()
    storm.poll()
    storm.rotate()
    storm.poll()  # empty
    storm.write()
    storm.rotate()
    storm.write()
    assert storm.reader.read(max_lines=None) is None
    storm.conclude()


@pytest.mark.parametrize("pattern", ["app.log*"])
def test_a_sweep_that_took_long_does_not_put_off_the_next_one_for_minutes(storm: Storm) -> None:
    """The machine was busy, or the process was stopped, while it looked at the files."""
    real_check = storm.reader._checker.check

    def slow_check(name: Any) -> bool:
        storm.clock.now += 10.0
        return real_check(name)

    storm.reader._checker.check = slow_check  # type: ignore[method-assign]
    storm.clock.now += 1.0
    storm.write()
    storm.poll()
    del storm.reader._checker.check
    storm.clock.now += 31.0
    storm.write()
    storm.rotate()
    storm.conclude()


@pytest.mark.parametrize("pattern", ["app.log*"])
def test_a_copy_that_is_empty_when_it_is_compared_and_whole_when_it_is_judged_is_no_separate_file(
    storm: Storm, monkeypatch: pytest.MonkeyPatch
) -> None:
    storm.write()
    storm.poll()
    copy = storm.log.with_name("app.log.1")
    copy.touch()

    def finish_copy() -> None:
        copy.write_bytes(storm.log.read_bytes())

    before_call(monkeypatch, Truncations, "_notice_originals", finish_copy)
    before_call(monkeypatch, Truncations, "_judge", finish_copy)
    storm.clock.now += 31.0
    storm.poll()
    finish_copy()
    storm.poll()
    storm.log.write_bytes(b"")
    storm.write()
    storm.conclude()
