"""Locking a folder: one process at a time, for as long as it lives."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from logferry import folder_lock
from logferry.folder_lock import FolderInUse, lock_folder, lock_holder
from tests.support.running import DEADLINE_S

TWO = ("lock", ".lock")


def test_a_locked_folder_is_refused_with_the_process_that_holds_it_until_the_lock_is_closed(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path)
    with pytest.raises(FolderInUse) as refusal:
        lock_folder(tmp_path)
    assert refusal.value.holder == str(os.getpid())
    lock.close()
    lock_folder(tmp_path).close()


def test_a_shorter_process_id_replaces_a_longer_one_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"123456789012345\n")
    lock = lock_folder(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.close()


def test_asking_who_holds_a_folder_does_not_lock_it(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None
    assert not (tmp_path / "lock").exists()
    lock = lock_folder(tmp_path)
    assert lock_holder(tmp_path) == str(os.getpid())
    (tmp_path / "lock").write_bytes(b"")
    assert lock_holder(tmp_path) == "unknown"
    lock.close()
    assert lock_holder(tmp_path) is None
    lock_folder(tmp_path).close()


def test_removing_the_lock_file_does_not_remove_the_lock(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path)
    (tmp_path / "lock").unlink()
    assert lock_holder(tmp_path) == "unknown"
    with pytest.raises(FolderInUse):
        lock_folder(tmp_path)
    lock.close()
    lock.close()
    assert lock_holder(tmp_path) is None
    lock_folder(tmp_path).close()


def test_the_files_of_the_lock_are_the_owners_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "lock").chmod(0o644)
    lock_folder(tmp_path, files=TWO).close()
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"lock": 0o600, ".lock": 0o600}


def test_what_is_not_a_file_is_not_locked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(OSError, match="not a file"):
        lock_folder(tmp_path)
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        lock_folder(tmp_path)


def test_a_file_that_is_exchanged_while_it_is_locked_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two processes would have the lock: one of the file that is gone, one of the file that is there."""
    lock_file, locked = folder_lock._lock, []

    def exchanging(descriptor: int) -> None:
        lock_file(descriptor)
        locked.append(os.fstat(descriptor).st_ino)
        if len(locked) == 1:
            (tmp_path / "lock").rename(tmp_path / "old")
            (tmp_path / "lock").touch()

    monkeypatch.setattr(folder_lock, "_lock", exchanging)
    lock = lock_folder(tmp_path)
    assert locked[1] == (tmp_path / "lock").stat().st_ino != locked[0]
    lock.close()


def _locked_by_another(folder: Path, *, user: int | None = None) -> "subprocess.Popen[str]":
    """Have another process lock a folder, of another user perhaps."""
    become = "" if user is None else f"os.setuid({user}); "
    lock = f"descriptor = os.open({str(folder)!r}, os.O_RDONLY); {become}fcntl.flock(descriptor, fcntl.LOCK_EX)"
    code = f"import fcntl, os; {lock}; print('locked', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "locked\n"
    return child


def _end(child: "subprocess.Popen[str]") -> None:
    child.kill()
    child.communicate(timeout=DEADLINE_S)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("files", [("lock",), ("lock", ".lock")])
def test_another_user_cannot_lock_a_folder(
    tmp_path: Path, files: Sequence[str], caplog: pytest.LogCaptureFixture
) -> None:
    child = _locked_by_another(tmp_path, user=65534)
    try:
        lock = lock_folder(tmp_path, files=files)
        assert "of user 65534 has locked the folder" in caplog.text
        with pytest.raises(FolderInUse):
            lock_folder(tmp_path, files=files)
        lock.close()
    finally:
        _end(child)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_file_that_another_user_has_opened_before_it_was_private_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lock").touch()
    child = _locked_by_another(tmp_path / "lock", user=65534)
    try:
        lock = lock_folder(tmp_path, files=TWO)
        assert "replacing the file" in caplog.text
        with pytest.raises(FolderInUse) as refusal:
            lock_folder(tmp_path, files=TWO)
        assert refusal.value.holder == str(os.getpid())
        lock.close()
    finally:
        _end(child)


def test_an_earlier_version_of_the_same_user_excludes_others_without_its_file(tmp_path: Path) -> None:
    child = _locked_by_another(tmp_path)
    try:
        with pytest.raises(FolderInUse) as refusal:
            lock_folder(tmp_path, files=TWO)
        assert refusal.value.holder == str(child.pid)
    finally:
        _end(child)


def test_with_two_files_a_removed_one_admits_nobody_although_the_folder_is_locked_by_a_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = _locked_by_another(tmp_path)
    monkeypatch.setattr(folder_lock, "_holders", lambda _: {})  # as from another container
    try:
        with pytest.raises(FolderInUse):
            lock_folder(tmp_path)
        lock = lock_folder(tmp_path, files=TWO)
        for name in TWO:
            (tmp_path / name).unlink(missing_ok=True)
            with pytest.raises(FolderInUse):
                lock_folder(tmp_path, files=[other for other in TWO if other != name])
            lock.close()
            lock = lock_folder(tmp_path, files=TWO)
        lock.close()
    finally:
        _end(child)


def test_who_may_not_open_the_file_learns_of_the_lock_from_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, open_any = lock_folder(tmp_path), os.open

    def refused(path: Any, *more: Any) -> int:
        if os.path.basename(path) == "lock":
            raise PermissionError(13, "Permission denied", str(path))
        return open_any(path, *more)

    monkeypatch.setattr(os, "open", refused)
    assert lock_holder(tmp_path) == "unknown"
    lock.close()
    assert lock_holder(tmp_path) is None
