"""The registry of followed files: by identity, by source and by name, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from logferry.client.files.content.fd_pool import DescriptorPool
from logferry.client.finding.listing import FolderListings
from logferry.client.readers.follow.followed.file import FollowedFile, Standing
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.input_rules import InputRules
from tests.support.shipping import input_settings


class Folder:
    """A folder of followed names."""

    def __init__(self, path: Path, registry: Registry) -> None:
        self.path = path
        self.registry = registry
        self._descriptors = DescriptorPool(8)
        self._folders = FolderListings()

    def follow(self, base: str) -> FollowedName:
        path = str(self.path / base)
        name = FollowedName(path, InputRules(input_settings(path)))
        self.registry.names[path] = name
        return name

    def open(self, name: FollowedName, base: str, data: bytes = b"one\n") -> FollowedFile:
        path = self.path / base
        path.write_bytes(data)
        file = FollowedFile(str(path), name.path, descriptors=self._descriptors, folders=self._folders, now=0.0)
        self.registry.add(file)
        return file


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def folder(tmp_path: Path, registry: Registry) -> Folder:
    return Folder(tmp_path, registry)


def test_a_file_is_found_by_its_identity_its_source_and_its_name(folder: Folder, registry: Registry) -> None:
    name = folder.follow("app.log")
    file = folder.open(name, "app.log")
    assert registry.find(file.identity) is file
    assert registry.of_source(file.source) is file
    assert registry.owner(file) is name
    assert name.files == [file]


def test_a_forgotten_file_is_nowhere(folder: Folder, registry: Registry) -> None:
    name = folder.follow("app.log")
    file, before = folder.open(name, "app.log"), registry.revision
    registry.forget(file)
    assert registry.find(file.identity) is None
    assert registry.of_source(file.source) is None
    assert name.files == []
    assert file.standing is Standing.RELEASED
    assert file.source.is_finished
    assert not file.content.is_open
    assert registry.revision > before


def test_the_files_of_a_name_that_is_closed_are_not_finished(folder: Folder, registry: Registry) -> None:
    name = folder.follow("app.log")
    file = folder.open(name, "app.log")
    registry.close(name)
    assert not file.source.is_finished
    assert name.files == []


def test_a_renamed_file_goes_to_the_name_that_it_has_by_now(folder: Folder, registry: Registry) -> None:
    name, other = folder.follow("app.log"), folder.follow("app.log.1")
    file = folder.open(name, "app.log")
    assert registry.heir(file) is None
    Path(name.path).rename(other.path)
    registry.find_name(file)
    assert registry.heir(file) is other
    registry.hand_over(file, other)
    assert (name.files, other.files) == ([], [file])
    assert registry.owner(file) is other


def test_the_originals_of_a_file_are_the_followed_names_that_it_may_be_a_copy_of(
    folder: Folder, registry: Registry
) -> None:
    name, copy_name = folder.follow("app.log"), folder.follow("app.log.1")
    folder.follow("other.log")
    copy = folder.open(copy_name, "app.log.1")
    assert list(registry.originals(copy)) == [name]
    assert list(registry.originals(folder.open(name, "app.log"))) == []


def test_a_problem_of_a_name_is_logged_once(
    folder: Folder, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    name = folder.follow("app.log")
    for _ in range(2):
        registry.note_problem(name, "Permission denied")
    assert caplog.text.count("Permission denied") == 1
    assert name.problem == "Permission denied"


def test_a_file_that_cannot_be_read_now_stays(folder: Folder, registry: Registry) -> None:
    name = folder.follow("app.log")
    file = folder.open(name, "app.log")
    registry.note_failure(file, OSError(5, "Input/output error"))
    assert name.files == [file]
    assert name.file_problem == "Input/output error"
    assert registry.note_attention(name)


def test_a_source_stays_with_its_file_when_its_successor_cannot_be_read_now(
    folder: Folder, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = folder.follow("app.log")
    file, successor = folder.open(name, "app.log"), folder.open(name, "new", b"one\ntwo\n")
    source, other = file.source, successor.source
    chunk = file.read()
    assert chunk is not None
    assert chunk.end == 4
    pread = os.pread

    def fail(fd: int, size: int, offset: int) -> bytes:
        if os.fstat(fd).st_ino == successor.identity[1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(fd, size, offset)

    with monkeypatch.context() as broken:
        broken.setattr(os, "pread", fail)
        with pytest.raises(OSError, match="Input/output"):
            registry.succeed(file, successor)
    assert (registry.of_source(source), registry.of_source(other)) == (file, successor)
    assert name.files == [file, successor]
    registry.succeed(file, successor)
    assert (registry.of_source(source), registry.of_source(other)) == (successor, None)
    assert name.files == [successor]
    again = successor.read()
    assert again is not None
    assert (again.source, again.start, again.end) == (source, 4, 8)
