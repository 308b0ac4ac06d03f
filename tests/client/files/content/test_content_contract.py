"""What every Content guarantees for every implementation: a file, a gzip file, a pooled file, standard input."""

import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from logferry.client.files.archives.archive import open_content
from logferry.client.files.content.content import Content, FileContent
from logferry.client.files.content.fd_pool import DescriptorPool, PooledContent
from logferry.client.readers.stdin_content import StdinContent

DATA = b"".join(b"line %d\n" % number for number in range(2000))

Make = Callable[[Path, ExitStack], Content]


def file(folder: Path, _: ExitStack) -> Content:
    (folder / "app.log").write_bytes(DATA)
    return FileContent.open(folder / "app.log")


def compressed(folder: Path, _: ExitStack) -> Content:
    (folder / "app.log").write_bytes(gzip.compress(DATA))
    return open_content(folder / "app.log")


def pooled(folder: Path, _: ExitStack) -> Content:
    (folder / "app.log").write_bytes(DATA)
    return PooledContent(folder / "app.log", DescriptorPool(8))


def standard_input(_: Path, stack: ExitStack) -> Content:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    os.write(writing, DATA)
    os.close(writing)
    return StdinContent(reading, max_line_bytes=1000)


@pytest.fixture(params=[file, compressed, pooled, standard_input], ids=lambda make: str(make.__name__))
def content(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Content]:
    make: Make = request.param
    with ExitStack() as stack:
        content = make(tmp_path, stack)
        yield content
        content.close()


def test_all_bytes_are_read_by_offset(content: Content) -> None:
    assert content.pread(len(DATA), 0) == DATA
    assert content.pread(100, 5000) == DATA[5000:5100]
    assert content.pread(5, 0) == DATA[:5]


def test_fewer_bytes_than_asked_for_mean_the_end(content: Content) -> None:
    assert content.pread(2 * len(DATA), 0) == DATA
    assert content.pread(100, len(DATA) - 10) == DATA[-10:]
    assert content.pread(100, len(DATA)) == b""


def test_the_size_is_known_immediately_or_for_a_stream_after_everything_was_read(content: Content) -> None:
    assert content.is_stream or content.size() == len(DATA)
    content.pread(len(DATA) + 1, 0)
    assert content.size() == len(DATA)


def test_sound_bytes_report_no_problem(content: Content) -> None:
    content.pread(len(DATA) + 1, 0)
    assert list(content.problems) == []


def test_a_duplicate_reads_the_same_after_the_name_is_gone(content: Content, tmp_path: Path) -> None:
    content.pread(len(DATA), 0)
    duplicate = content.duplicate()
    (tmp_path / "app.log").unlink(missing_ok=True)
    assert duplicate.pread(len(DATA), 0) == DATA
    assert (duplicate.status().st_dev, duplicate.status().st_ino) == (content.status().st_dev, content.status().st_ino)
    duplicate.close()
    assert content.pread(10, 0) == DATA[:10]
