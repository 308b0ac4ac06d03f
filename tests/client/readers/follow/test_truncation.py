"""Copies: those that cannot be read when the original turns out to be truncated, and those that are not read."""

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logferry.client.files.content.fd_pool import FileGone
from logferry.client.files.overwritten import OverwrittenSource
from logferry.client.readers.follow.followed.copies import COPY_SETTLE_S
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.readers.input_rules import InputRules
from tests.support.builders import Clock
from tests.support.reading import open_descriptors
from tests.support.shipping import input_settings


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


@pytest.fixture
def reader(log: Path) -> Iterator[FollowReader]:
    """Return a reader that has read the first line of a log file; its second line is unread."""
    log.write_bytes(b"one\ntwo\n")
    reader = FollowReader([input_settings(log)], clock=Clock())  # it looks at everything in each poll
    chunk = reader.read(max_lines=1)
    assert chunk is not None
    assert chunk.data == b"one\n"
    yield reader
    reader.close()


def copytruncate(log: Path) -> Path:
    """Copy a file, truncate it and write another line to it; return the copy."""
    copy = Path(shutil.copy(log, log.with_name("app.log.1")))
    log.write_bytes(b"three\n")
    return copy


def read_all(reader: FollowReader) -> bytes:
    """Return everything that can be read now."""
    data = b""
    reader.poll()
    while chunk := reader.read(max_lines=None):
        data += chunk.data
    return data


def fail(error: OSError) -> Callable[..., Any]:
    """Return a function that raises `error`."""

    def raise_it(*args: Any, **options: Any) -> Any:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("owner", "method"),
    [(OverwrittenSource, "is_continued_in"), (FollowedFile, "take_over"), (InputRules, "prepare")],
    ids=["content", "position", "format"],
)
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), FileGone(errno.ENOENT, "it was deleted")], ids=repr)
def test_a_copy_that_cannot_be_read_is_closed_and_read_once_it_can_be(
    log: Path, reader: FollowReader, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, error: OSError
) -> None:
    copy = copytruncate(log)
    with monkeypatch.context() as broken:
        broken.setattr(owner, method, fail(error))
        for _ in range(3):
            reader.poll()
        assert open_descriptors(copy) == 0
    assert read_all(reader) == b"two\nthree\n"
    assert reader.take_losses() == []


def test_the_loss_is_recorded_once_although_the_format_of_the_copy_cannot_be_read_at_first(
    log: Path, reader: FollowReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copy(log, log.with_name("app.log.1")))
    with log.open("ab") as file:
        file.write(b"never copied\n")
    reader.poll()
    log.write_bytes(b"three\n")
    with monkeypatch.context() as broken:
        broken.setattr(InputRules, "prepare", fail(OSError(errno.EIO, "broken")))
        for _ in range(3):
            reader.poll()
        assert open_descriptors(copy) == 0
    assert read_all(reader) == b"two\nthree\n"
    assert [(loss.start, loss.end) for loss in reader.take_losses()] == [(8, 21)]


@pytest.mark.parametrize(("pattern", "is_read"), [("app.log", False), ("app.log*", True)])
def test_a_file_rotated_between_two_polls_that_its_successor_repeats_is_read_only_if_it_is_followed_itself(
    log: Path, pattern: str, is_read: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing distinguishes it from a copy of the file that has the name now."""
    caplog.set_level(logging.INFO)
    clock = Clock()
    log.write_bytes(b"one\n")
    reader = FollowReader([input_settings(log.with_name(pattern))], clock=clock)
    data = read_all(reader)
    log.rename(log.with_name("app.log.2"))
    log.with_name("app.log.1").write_bytes(b"two\n")
    log.write_bytes(b"two\n")
    for _ in range(10):
        data += read_all(reader)
        clock.now += COPY_SETTLE_S / 4
    reader.close()
    assert data == b"one\ntwo\n" + is_read * b"two\n"
    assert ("app.log.1: it looks like a copy of a followed file" in caplog.text) is not is_read
