"""Notifications of changes in folders: what the kernel reports, what it misses, and what happens without inotify."""

import ctypes
import errno
import logging
import mmap
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from logferry.client.finding import inotify as inotify_module
from logferry.client.finding.inotify import Changes, FolderWatcher
from tests.support.running import DEADLINE_S

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")


@pytest.fixture
def watcher() -> Iterator[FolderWatcher]:
    watcher = FolderWatcher.create()
    assert watcher is not None, "this Linux has no inotify, or all its instances are in use"
    yield watcher
    watcher.close()


@pytest.fixture
def folder(tmp_path: Path, watcher: FolderWatcher) -> Path:
    """A watched folder with a file, app.log."""
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "app.log").write_bytes(b"one\n")
    assert watcher.watch(str(folder))
    return folder


def append(path: Path, data: bytes = b"two\n") -> None:
    with path.open("ab", buffering=0) as file:
        file.write(data)


def is_readable(watcher: FolderWatcher, timeout_s: float = 0.0) -> bool:
    return bool(select.select([watcher], [], [], timeout_s)[0])


# --- what the kernel reports ---


def test_a_file_that_grows_is_reported_once_by_its_path(watcher: FolderWatcher, folder: Path) -> None:
    append(folder / "app.log")
    append(folder / "app.log")
    assert watcher.read() == Changes(paths={f"{folder}/app.log"})
    assert watcher.read() == Changes(), "a change is reported only once"


def test_the_descriptor_is_readable_until_the_changes_are_read(watcher: FolderWatcher, folder: Path) -> None:
    assert not is_readable(watcher)
    append(folder / "app.log")
    assert is_readable(watcher, DEADLINE_S)
    watcher.read()
    assert not is_readable(watcher)


def test_reading_a_file_is_not_reported(watcher: FolderWatcher, folder: Path) -> None:
    (folder / "app.log").read_bytes()
    list(folder.iterdir())
    assert watcher.read() == Changes()


def test_a_truncation_is_reported(watcher: FolderWatcher, folder: Path) -> None:
    os.truncate(folder / "app.log", 0)
    assert watcher.read() == Changes(paths={f"{folder}/app.log"})


def test_a_file_written_through_a_mapping_is_reported_when_it_is_closed(watcher: FolderWatcher, folder: Path) -> None:
    with (folder / "app.log").open("r+b") as file:
        with mmap.mmap(file.fileno(), 0) as mapping:
            mapping[0:3] = b"two"
        assert watcher.read() == Changes(), "writing through a mapping is not reported"
    assert watcher.read() == Changes(paths={f"{folder}/app.log"})


@pytest.mark.parametrize("change", ["create", "delete", "rename", "arrive", "leave", "link", "chmod"])
def test_a_change_of_names_or_permissions_reports_the_folder(
    watcher: FolderWatcher, folder: Path, tmp_path: Path, change: str
) -> None:
    log, elsewhere = folder / "app.log", tmp_path / "elsewhere.log"
    elsewhere.write_bytes(b"")
    match change:
        case "create":
            os.mkfifo(folder / "new.log")
        case "delete":
            log.unlink()
        case "rename":
            log.rename(folder / "app.log.1")
        case "arrive":
            elsewhere.rename(folder / "app.log.1")
        case "leave":
            log.rename(elsewhere)
        case "link":
            (folder / "app.log.1").symlink_to(log)
        case "chmod":
            log.chmod(0o600)
    assert watcher.read() == Changes(folders={str(folder)})


def test_a_new_file_with_content_reports_file_and_folder(watcher: FolderWatcher, folder: Path) -> None:
    append(folder / "new.log")
    assert watcher.read() == Changes(paths={f"{folder}/new.log"}, folders={str(folder)})


def test_a_name_that_is_not_text_is_decoded_as_python_does(watcher: FolderWatcher, folder: Path) -> None:
    name = os.fsencode(folder) + b"/caf\xe9 \n.log"
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    (path,) = watcher.read().paths
    assert os.fsencode(path) == name


def test_a_folder_with_two_names_is_reported_under_both(watcher: FolderWatcher, folder: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(folder)
    assert watcher.watch(str(alias))
    append(folder / "app.log")
    assert watcher.read().paths == {f"{folder}/app.log", f"{alias}/app.log"}
    watcher.unwatch(str(folder))
    append(folder / "app.log")
    assert watcher.read().paths == {f"{alias}/app.log"}


def test_many_events_of_many_files_are_each_path_once(watcher: FolderWatcher, folder: Path) -> None:
    names = [folder / f"{number}.log" for number in range(200)]
    for name in names * 10:
        append(name)
    assert watcher.read() == Changes(paths=set(map(str, names)), folders={str(folder)})


# --- the end of a watch ---


def test_an_unwatched_folder_reports_nothing_not_even_queued_events(watcher: FolderWatcher, folder: Path) -> None:
    append(folder / "app.log")
    watcher.unwatch(str(folder))
    append(folder / "app.log")
    assert watcher.read() == Changes()
    assert watcher.watched == set()
    watcher.unwatch(str(folder))


def test_watching_twice_is_watching_once(watcher: FolderWatcher, folder: Path) -> None:
    assert watcher.watch(str(folder))
    assert watcher.watched == {str(folder)}
    append(folder / "app.log")
    assert watcher.read() == Changes(paths={f"{folder}/app.log"})
    watcher.unwatch(str(folder))
    append(folder / "app.log")
    assert watcher.read() == Changes()


def test_a_deleted_folder_is_reported_and_can_be_watched_again(watcher: FolderWatcher, folder: Path) -> None:
    (folder / "app.log").unlink()
    folder.rmdir()
    assert watcher.read() == Changes(folders={str(folder)})
    assert watcher.watched == set()
    folder.mkdir()
    append(folder / "app.log")
    assert watcher.read() == Changes(), "it is not watched"
    assert watcher.watch(str(folder))
    append(folder / "app.log")
    assert watcher.read() == Changes(paths={f"{folder}/app.log"})


def test_a_renamed_folder_is_reported_and_no_longer_watched(
    watcher: FolderWatcher, folder: Path, tmp_path: Path
) -> None:
    folder.rename(tmp_path / "old")
    assert watcher.read() == Changes(folders={str(folder)})
    assert watcher.watched == set()
    append(tmp_path / "old" / "app.log")
    assert watcher.read() == Changes()


def test_watching_a_name_again_follows_it_to_another_folder(
    watcher: FolderWatcher, folder: Path, tmp_path: Path
) -> None:
    """As after a parent folder was renamed, which the kernel does not report."""
    parent = tmp_path / "parent"
    inner = parent / "log"
    inner.mkdir(parents=True)
    assert watcher.watch(str(inner))
    parent.rename(tmp_path / "old")
    inner.mkdir(parents=True)
    assert watcher.watch(str(inner))
    append(tmp_path / "old" / "log" / "app.log")
    assert watcher.read() == Changes()
    append(inner / "app.log")
    assert watcher.read().paths == {f"{inner}/app.log"}


def test_a_folder_that_came_back_before_anybody_read_is_watched_as_the_new_one(
    watcher: FolderWatcher, folder: Path
) -> None:
    (folder / "app.log").unlink()
    folder.rmdir()
    folder.mkdir()
    assert watcher.watch(str(folder))
    watcher.read()
    assert watcher.watched == {str(folder)}, "the end of the old watch is not that of the new one"
    append(folder / "app.log")
    assert watcher.read().paths == {f"{folder}/app.log"}


# --- what the kernel misses ---


def test_an_overflow_is_reported_and_watching_continues(watcher: FolderWatcher, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert watcher.watch(str(other))
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip(f"fs.inotify.max_queued_events is {limit}: too many to run over")
    with (folder / "a.log").open("ab", buffering=0) as a, (folder / "b.log").open("ab", buffering=0) as b:
        for _ in range(limit // 2 + 1):
            a.write(b"x")
            b.write(b"x")
    other.rmdir()
    changes = watcher.read()
    assert changes.overflow
    assert changes.folders >= {str(other)}, "the lost events included the end of its watch"
    assert watcher.watched == {str(folder)}
    assert not watcher.read().overflow
    append(folder / "app.log")
    assert watcher.read() == Changes(paths={f"{folder}/app.log"})


def test_what_is_missing_or_not_a_folder_cannot_be_watched(
    watcher: FolderWatcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert not watcher.watch(str(tmp_path / "missing"))
    assert not watcher.watch(str(tmp_path / "file"))
    assert watcher.watched == set()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"cannot watch {tmp_path / 'file'} for changes, polling it instead: Not a directory"
    ]


def test_a_watched_folder_that_is_missing_when_it_is_watched_again_is_watched_no_longer(
    watcher: FolderWatcher, folder: Path, tmp_path: Path
) -> None:
    folder.rename(tmp_path / "old")
    assert not watcher.watch(str(folder))
    assert watcher.watched == set()
    append(tmp_path / "old" / "app.log")
    assert watcher.read() == Changes()


def test_too_many_watches_are_logged_once_with_the_limit_that_was_reached(
    watcher: FolderWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_more(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(inotify_module._Inotify, "add_watch", no_more)
    assert not watcher.watch(str(tmp_path))
    assert not watcher.watch(str(tmp_path / "another"))
    assert [record.getMessage() for record in caplog.records] == [
        f"cannot watch {tmp_path} for changes, polling it instead: No space left on device "
        "(the limit is fs.inotify.max_user_watches)"
    ]


def test_a_c_library_without_inotify_means_no_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert FolderWatcher.create() is None


def test_without_ctypes_there_is_no_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert FolderWatcher.create() is None


def test_no_more_instances_means_no_watcher_and_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    if limit > 1000:
        pytest.skip(f"fs.inotify.max_user_instances is {limit}: too many to use up")
    watchers: list[FolderWatcher] = []
    try:
        while len(watchers) <= limit and (another := FolderWatcher.create()) is not None:
            watchers.append(another)
    finally:
        for each in watchers:
            each.close()
    assert len(watchers) <= limit
    assert (
        "cannot watch for changes, polling instead: Too many open files (the limits are fs.inotify.max_user_instances"
        in caplog.text
    )
