"""Files that cannot be read when the reader opens them: the reader closes them and retries."""

from pathlib import Path

import pytest

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.readers.follow.reader import FollowReader
from logferry.client.recognition.recognise import Recogniser
from tests.support.builders import Clock
from tests.support.reading import open_descriptors, read
from tests.support.shipping import input_settings


def refuse(*args: object, **options: object) -> bytes:
    raise OSError(5, "Input/output error")


def test_a_file_whose_bytes_cannot_be_read_leaves_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "app.log"
    reader = FollowReader([input_settings(log)], clock=Clock())
    log.write_bytes(b"one\n")
    with monkeypatch.context() as broken:
        broken.setattr("logferry.client.files.content.fd_pool.os.pread", refuse)
        for _ in range(3):
            reader.poll()
        assert open_descriptors(log) == 0
    reader.poll()
    assert read(reader) == b"one\n"
    reader.close()


def test_a_file_that_cannot_be_compared_with_its_checkpoint_leaves_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    with monkeypatch.context() as broken:
        broken.setattr(Recogniser, "recognise", refuse)
        reader = FollowReader([input_settings(log)], clock=Clock())
        for _ in range(3):
            reader.poll()
        assert open_descriptors(log) == 0
    reader.poll()
    assert read(reader) == b"one\n"
    reader.close()


def test_a_source_file_that_cannot_be_read_at_first_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"one\n")
    with monkeypatch.context() as broken:
        broken.setattr("logferry.client.files.content.content.os.pread", refuse)
        with pytest.raises(OSError, match="Input/output error"):
            SourceFile(log, max_line_bytes=64)
    assert open_descriptors(log) == 0
