"""Locking a folder: one process at a time, for as long as it lives."""

import os
from pathlib import Path

import pytest

from logferry.folder_lock import FolderInUse, lock_folder, lock_holder


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
