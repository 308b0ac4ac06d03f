"""Records are closed to other users from the moment they are created, and so are those of earlier versions."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from logferry.client.state.checkpoints import Checkpoints
from logferry.client.status import inspect as inspect_module
from logferry.errors import StateError
from logferry.model.source import Source
from logferry.permissions import Privacy, advice
from logferry.server.storage.disk.opening import PRIVACY
from tests.support.stores import LINES, Stored, opened, submit_each


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of everything below a folder, and of the folder itself."""
    paths = [folder, *folder.rglob("*")]
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in paths}


def wider(found: dict[str, int], folder: Path, *, folder_mode: int, file_mode: int) -> list[str]:
    """Return what has wider permissions than these."""
    return [
        f"{name} {mode:o}"
        for name, mode in found.items()
        if mode & ~(folder_mode if (folder / name).is_dir() else file_mode)
    ]


@pytest.fixture
def _nobody_changes_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a file is created with counts: afterwards, another user may have it open."""

    def fail(*_args: object, **_options: object) -> None:
        raise AssertionError("the permissions are changed after the creation")

    monkeypatch.setattr(os, "chmod", fail)
    monkeypatch.setattr(os, "fchmod", fail)


@pytest.fixture
def _umask_of_nothing() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask_of_nothing", "_nobody_changes_modes")
def test_nothing_of_a_store_is_ever_open_to_other_users(tmp_path: Path) -> None:
    """With every umask: the ledger, its log and index, the lock, the segments."""
    data = tmp_path / "data"
    stored = Stored()
    with opened(data) as store:
        submit_each(store, LINES[:3], stored)
        found = modes(data)
    assert {"lock", "ledger.sqlite3", "ledger.sqlite3-wal", "ledger.sqlite3-shm", "segments"} <= set(found)
    assert not wider(found, data, folder_mode=0o750, file_mode=0o640)
    assert not wider(modes(data), data, folder_mode=0o750, file_mode=0o640)


@pytest.mark.usefixtures("_umask_of_nothing", "_nobody_changes_modes")
def test_nothing_of_a_state_folder_is_ever_open_to_other_users(tmp_path: Path) -> None:
    """The client's id is in it."""
    folder = tmp_path / "state"
    checkpoints = Checkpoints(folder)
    checkpoints.register(Source("/var/log/app.log", device=1, inode=2))
    checkpoints.close()
    found = modes(folder)
    assert {"lock", "checkpoints.json"} <= set(found)
    assert not wider(found, folder, folder_mode=0o700, file_mode=0o600)


def test_a_store_of_an_earlier_version_is_closed_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever can open the ledger can read its lines, and stop the server with a lock."""
    data = tmp_path / "data"
    with opened(data) as store:
        submit_each(store, LINES[:1], Stored())
    (data / "ledger.sqlite3-wal").touch()
    data.chmod(0o755)
    for name in ("lock", "ledger.sqlite3", "ledger.sqlite3-wal"):
        (data / name).chmod(0o644)
    (data / "segments").chmod(0o755)
    with caplog.at_level(logging.INFO, "logferry.permissions"), opened(data):
        assert not wider(modes(data), data, folder_mode=0o750, file_mode=0o640)
    assert [record.getMessage() for record in caplog.records if record.name == "logferry.permissions"] == [
        f"closed '{data}' to other users, who could open it, or files in it"
    ]


def test_a_state_folder_of_an_earlier_version_is_closed_at_the_start(tmp_path: Path) -> None:
    """Its lock could be taken by anybody."""
    folder = tmp_path / "state"
    Checkpoints(folder).close()
    folder.chmod(0o755)
    (folder / "lock").chmod(0o644)
    Checkpoints(folder).close()
    assert not wider(modes(folder), folder, folder_mode=0o700, file_mode=0o600)


def test_a_folder_that_holds_other_files_keeps_its_permissions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may have passed a home folder, or /tmp: only the records in it are closed."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / "photo.jpg").touch()
    (folder / "ledger.sqlite3").touch()
    for name in ("photo.jpg", "ledger.sqlite3"):
        (folder / name).chmod(0o644)
    PRIVACY.make(folder)
    assert folder.stat().st_mode & 0o7777 == 0o1777
    assert (folder / "photo.jpg").stat().st_mode & 0o777 == 0o644
    assert (folder / "ledger.sqlite3").stat().st_mode & 0o777 == 0o640
    assert "also holds other files" in caplog.text


def test_a_link_in_place_of_a_record_is_not_followed(tmp_path: Path) -> None:
    """Another user may have planted it before the folder was closed."""
    folder, target = tmp_path / "data", tmp_path / "target"
    folder.mkdir()
    target.touch()
    target.chmod(0o666)
    (folder / "lock").symlink_to(target)
    PRIVACY.make(folder)
    assert target.stat().st_mode & 0o777 == 0o666


def test_permissions_that_a_user_has_narrowed_stay(tmp_path: Path) -> None:
    """A folder of 0700 is not widened to 0750."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "lock").touch(mode=0o600)
    PRIVACY.make(folder)
    assert modes(folder) == {".": 0o700, "lock": 0o600}


def test_whoever_may_not_open_a_folder_reads_who_may(tmp_path: Path) -> None:
    """The sentence names the owner; for every other error it is empty."""
    text = advice(tmp_path / "lock", PermissionError(13, "Permission denied"))
    assert text.startswith(f"; '{tmp_path}' belongs to ")
    assert "run this command as that user, or as root" in text
    assert not advice(tmp_path, FileNotFoundError(2, "No such file or directory"))


def test_status_for_another_user_says_whose_folder_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state folder is for its owner alone."""

    def refuse(_folder: Path) -> str:
        raise PermissionError(13, "Permission denied", str(tmp_path / "lock"))

    monkeypatch.setattr(inspect_module, "lock_holder", refuse)
    with pytest.raises(StateError, match=r"cannot read the state folder .*: Permission denied; .* belongs to"):
        inspect_module.inspect(tmp_path, now=0.0)


def test_a_file_is_created_once(tmp_path: Path) -> None:
    """An existing file keeps its content."""
    privacy = Privacy(0o700, 0o600, lambda _: True)
    (tmp_path / "ledger").write_text("content")
    privacy.create(tmp_path / "ledger")
    assert (tmp_path / "ledger").read_text() == "content"
