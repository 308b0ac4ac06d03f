"""Files that cannot be read when a run begins: no other file waits for them, and they are read when they can be."""

import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from logferry.client.readers.follow import reader as follow_reader
from tests.support.following import Run, Scene
from tests.support.reading import read
from tests.support.running import numbered_line, wait_until
from tests.support.shipping import append, input_settings, log_line


class Faults:
    """Makes reads of some files fail, or their opening."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._broken: dict[int, str] = {}
        self._pread, self._open = os.pread, os.open
        monkeypatch.setattr(os, "pread", self._read)
        monkeypatch.setattr(os, "open", self._open_file)

    def break_file(self, path: Path, how: str) -> None:
        self._broken[path.stat().st_ino] = how

    def heal(self) -> None:
        self._broken.clear()

    def _read(self, fd: int, size: int, offset: int) -> bytes:
        if self._broken.get(os.fstat(fd).st_ino) == "read":
            raise OSError(errno.EIO, "Input/output error")
        return self._pread(fd, size, offset)

    def _open_file(self, path: str | Path, *args: int, **options: int) -> int:
        fd = self._open(path, *args, **options)
        if self._broken.get(os.fstat(fd).st_ino) == "open":
            os.close(fd)
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return fd


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    monkeypatch.setattr(follow_reader, "RETRY_UNREAD_S", 0.05)
    return Faults(monkeypatch)


def current(scene: Scene) -> Path:
    append(scene.log, range(20, 30))
    return scene.log


def rotated(scene: Scene) -> Path:
    append(scene.log, range(20, 30))
    return scene.log.rename(scene.folder / "app.log.1")


def rotated_unseen(scene: Scene) -> Path:
    scene.log.rename(scene.folder / "app.log.2")
    return append(scene.folder / "app.log.1", range(20, 30))


def copied(scene: Scene) -> Path:
    append(scene.log, range(20, 30))
    copy = scene.folder / "app.log.1"
    copy.write_bytes(scene.log.read_bytes())
    os.truncate(scene.log, 0)
    return copy


def archived(scene: Scene) -> Path:
    append(scene.log, range(20, 30))
    archive = scene.folder / "app.log.1.gz"
    archive.write_bytes(gzip.compress(scene.log.read_bytes()))
    scene.log.unlink()
    return archive


def wait_for(run: Run, lines: list[bytes], scene: Scene) -> None:
    def are_stored() -> bool:
        return run.shipping.is_over or set(lines) <= set(scene.server.stored_lines())

    wait_until(are_stored, "the lines are stored")


@pytest.mark.parametrize("how", ["read", "open"])
@pytest.mark.parametrize("prepare", [current, rotated, rotated_unseen, copied, archived])
def test_a_file_that_cannot_be_read_at_a_start_delays_no_other_and_is_read_when_it_can_be(
    scene: Scene, faults: Faults, prepare: Callable[[Scene], Path], how: str
) -> None:
    other = append(scene.folder / "other.log", range(100, 110))
    scene.names = [scene.log, other]
    append(scene.log, range(20))
    scene.follow()
    broken = prepare(scene)
    if broken != scene.log:
        append(scene.log, range(30, 40))
    append(other, range(110, 120))
    faults.break_file(broken, how)
    readable = [*range(100, 120), *(range(30, 40) if broken != scene.log else ())]
    with scene.running() as run:
        wait_for(run, list(map(numbered_line, readable)), scene)
        faults.heal()
        wait_for(run, list(map(numbered_line, range(20, 30))), scene)
        run.settle()
    numbers = [*range(40 if broken != scene.log else 30), *range(100, 120)]
    scene.conclude(numbers, proven=[other, scene.log])


def test_the_end_of_a_file_that_cannot_be_read_at_a_start_is_not_asked_for_later(scene: Scene, faults: Faults) -> None:
    append(scene.log, range(10))
    faults.break_file(scene.log, "read")
    other = append(scene.folder / "other.log", range(100, 110))
    scene.names, scene.settings = [scene.log, other], {"start_at": "end"}
    with scene.running() as run:
        append(other, range(110, 120))
        wait_for(run, list(map(numbered_line, range(110, 120))), scene)
        faults.heal()
        run.look()
        append(scene.log, range(10, 20))
        wait_for(run, list(map(numbered_line, range(10, 20))), scene)


def test_a_renamed_file_whose_folder_was_exported_anew_ends_nothing_and_is_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, now = append(tmp_path / "app.log", range(10)), [1000.0]
    reader = follow_reader.FollowReader([input_settings(log)], clock=lambda: now[0])
    data = read(reader)
    renamed = log.rename(tmp_path / "moved")
    now[0] += 60
    reader.poll()
    inode, fstat = renamed.stat().st_ino, os.fstat

    def fail(fd: int) -> os.stat_result:
        status = fstat(fd)
        if status.st_ino == inode:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return status

    with monkeypatch.context() as broken:
        broken.setattr(os, "fstat", fail)
        now[0] += 60
        reader.poll()
    append(renamed, range(10, 20))
    now[0] += 60
    reader.poll()
    data += read(reader)
    reader.close()
    assert data == b"".join(map(log_line, range(20)))
    assert reader.take_losses() == []
