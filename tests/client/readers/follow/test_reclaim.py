"""Files that are opened again because a server lacks some of their bytes; the rest is lost or not needed."""

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.recognition.recognise import Recogniser
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.losses_file import read_losses
from logferry.model.source import Source
from tests.support.following import Scene
from tests.support.reading import read
from tests.support.running import wait_until
from tests.support.shipping import append, input_settings, log_line


def source_of_file(path: Path, name: Path, **fields: object) -> Source:
    """Return a source that was acked to the end of a file."""
    status, data = path.stat(), path.read_bytes()
    source = Source(str(name), "feed", status.st_dev, status.st_ino, head=data[:256], committed=len(data))
    source.tail, source.lines, source.read_until = data[-32:], data.count(b"\n"), len(data)
    for field, value in fields.items():
        setattr(source, field, value)
    return source


def test_what_another_server_got_by_the_plain_protocol_is_not_lost_when_nobody_follows_the_file(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    plain, other = append(scene.folder / "plain.log", range(10)), append(scene.log, range(20, 30))
    size = plain.stat().st_size
    scene.state.mkdir()
    checkpoints = Checkpoints(scene.state)
    checkpoints.follow(source_of_file(plain, plain, plain_until=size, plain_server="elsewhere:9000", plain_lines=10))
    checkpoints.close()
    with scene.running() as run:
        wait_until(lambda: run.shipping.is_over or "acked before (files: 1)" in caplog.text, "the server was asked")
        run.settle()
    scene.conclude(range(20, 30), proven=[other])
    assert read_losses(scene.state).losses == ()


class Reclaimed:
    """A reader of app.log, and a source of an earlier file of this name that the reader does not hold any more."""

    def __init__(self, folder: Path) -> None:
        log = folder / "app.log"
        self.rotated = append(folder / "app.log.1", range(10))
        append(log, range(10, 20))
        self.recogniser = Recogniser(Checkpoints(None))
        self.reader = FollowReader([input_settings(log)], recogniser=self.recogniser)
        read(self.reader)
        self.source = source_of_file(self.rotated, log)
        self.recogniser.checkpoints.follow(self.source)
        self.source.go_to(0, 0, 0)
        self.source.sent_back_because = "the server was set back"

    def lost(self) -> list[tuple[int, int]]:
        return [(loss.start, loss.end) for loss in self.reader.take_losses() if loss.source is self.source]


@pytest.fixture
def reclaimed(tmp_path: Path) -> Iterator[Reclaimed]:
    found = Reclaimed(tmp_path)
    with closing(found.reader):
        yield found


def fail(*args: object, **options: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_file_is_opened_again_and_read_from_where_the_server_lacks_it(reclaimed: Reclaimed) -> None:
    reclaimed.reader.rewind(reclaimed.source, 0)
    assert read(reclaimed.reader) == b"".join(map(log_line, range(10)))
    assert reclaimed.lost() == []


def test_a_file_that_cannot_go_back_after_it_was_opened_again_is_lost_and_ends_nothing(
    reclaimed: Reclaimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FollowedFile, "rewind", fail)
    reclaimed.reader.rewind(reclaimed.source, 0)
    assert reclaimed.lost() == [(0, reclaimed.rotated.stat().st_size)]
    assert read(reclaimed.reader) == b""


def test_a_file_that_cannot_be_remembered_when_it_is_opened_again_does_not_stay_half_open(
    reclaimed: Reclaimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Recogniser, "remember", fail)
        reclaimed.reader.rewind(reclaimed.source, 0)
    assert reclaimed.lost() == [(0, reclaimed.rotated.stat().st_size)]
    assert [found.name for found in reclaimed.reader.report()] == [str(reclaimed.rotated.parent / "app.log")]
