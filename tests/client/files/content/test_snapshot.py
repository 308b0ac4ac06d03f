"""Files whose size is not the number of their bytes, as the kernel has them in /proc and /sys: read to their end."""

from pathlib import Path

import pytest

from logferry.client.files.content import snapshot
from logferry.client.files.content.content import FileContent
from logferry.client.files.content.snapshot import Snapshot, with_true_size
from logferry.client.readers.batch import BatchReader
from tests.support.builders import append
from tests.support.events import prove
from tests.support.reading import read
from tests.support.running import RunningServer
from tests.support.shipping import input_settings, once, shipping

# Their content does not change while the machine runs.
LYING = [Path("/proc/version"), Path("/proc/filesystems"), Path("/sys/devices/system/cpu/possible")]


class Lying(FileContent):
    """A file of which only the size is not true."""

    sizes: list[int]

    def size(self) -> int:
        return self.sizes.pop(0) if len(self.sizes) > 1 else self.sizes[0]


@pytest.fixture
def lying(tmp_path: Path) -> Lying:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\ntwo\n")
    content = Lying.open(path)
    content.sizes = [0]
    return content


@pytest.mark.parametrize("path", LYING, ids=str)
def test_a_file_of_the_kernel_is_shipped_to_its_end_and_proven(
    tmp_path: Path, server: RunningServer, path: Path
) -> None:
    if not path.exists():
        pytest.skip(f"this machine has no {path}")
    content = path.read_bytes()
    assert path.stat().st_size != len(content) > 0
    with shipping(path, server.port, **once(tmp_path, state_dir=tmp_path / "state")) as run:
        assert not run.result().problems
    assert len(server.stored_lines()) == content.count(b"\n")
    prove(server.port, tmp_path / "state", path)


def test_a_file_of_the_kernel_is_read_again_as_it_was(tmp_path: Path) -> None:
    reader = BatchReader([input_settings(LYING[0])])
    source = reader.report()[0].source
    first = read(reader)
    (file,) = reader._files.values()
    assert file.source.id == source
    reader.rewind(file.source, 0)
    assert read(reader) == first == LYING[0].read_bytes()
    reader.close()


@pytest.mark.parametrize("size", [0, 4096])
def test_a_size_that_lies_is_noticed(lying: Lying, size: int) -> None:
    lying.sizes = [size]
    content = with_true_size(lying)
    assert isinstance(content, Snapshot)
    assert (content.size(), content.pread(100, 4), content.problems) == (8, b"two\n", [])
    duplicate = content.duplicate()
    content.close()
    assert duplicate.pread(3, 0) == b"one"
    duplicate.close()


@pytest.mark.parametrize("sizes", [[8], [0, 8], [4096, 8]], ids=str)
def test_a_size_that_is_true_or_has_just_changed_is_believed(lying: Lying, sizes: list[int]) -> None:
    lying.sizes = sizes
    assert with_true_size(lying) is lying
    lying.close()


def test_an_empty_file_stays_a_file(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.touch()
    content = with_true_size(FileContent.open(path))
    append(path, b"one\n")
    assert content.pread(10, 0) == b"one\n"
    content.close()


def test_a_file_that_has_more_bytes_than_memory_is_cut_and_reported(
    lying: Lying, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_MAX_BYTES", 5)
    content = with_true_size(lying)
    assert content.pread(100, 0) == b"one\nt"
    (problem,) = content.problems
    assert "more than 5 bytes" in problem
    assert content.cut_ends == (5,), "its last line is not whole"
    content.close()
