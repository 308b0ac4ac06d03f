"""Folders that are held open: what a link leads to, and who has put it there."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from logferry.server.storage.disk.files.held_folder import HeldFolder

_SOMEBODY = 12345

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")


def held_below(parent: Path, name: str) -> str:
    """Hold a folder below `parent`; return which one it is."""
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        with HeldFolder(descriptor, parent).below(name) as held:
            return (held.path / "which").read_text()
    finally:
        os.close(descriptor)


def folders(tmp_path: Path) -> Path:
    """Return a folder with two of root's beside it, each of which says which one it is."""
    for name in ("meant", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("target", ["{tmp_path}/meant", "../meant"])
def test_a_link_of_ones_own_is_followed(tmp_path: Path, target: str) -> None:
    data = folders(tmp_path)
    (data / "link").symlink_to(target.format(tmp_path=tmp_path))
    assert held_below(data, "link") == "meant"


@only_root
def test_root_does_not_follow_the_link_of_another_user_to_a_folder_of_its_own(tmp_path: Path) -> None:
    data = folders(tmp_path)
    (data / "link").symlink_to(tmp_path / "other")
    os.chown(data / "link", _SOMEBODY, _SOMEBODY, follow_symlinks=False)
    with pytest.raises(OSError, match="a link to a folder of another user") as refused:
        held_below(data, "link")
    assert refused.value.errno == errno.ELOOP
    os.chown(tmp_path / "other", _SOMEBODY, _SOMEBODY)
    assert held_below(data, "link") == "other"


@only_root
@pytest.mark.parametrize("call", ["stat", "fstat", "readlink"])
def test_a_link_that_is_exchanged_after_it_was_looked_at_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What the owner of the folder puts in its place between two steps leads root nowhere else."""
    data = folders(tmp_path)
    (data / "link").symlink_to(tmp_path / "meant")
    original = getattr(os, call)

    def exchanging(*words: Any, **more: Any) -> Any:
        result = original(*words, **more)
        (data / "new").symlink_to(tmp_path / "other")
        os.chown(data / "new", _SOMEBODY, _SOMEBODY, follow_symlinks=False)
        os.replace(data / "new", data / "link")
        return result

    monkeypatch.setattr(f"logferry.server.storage.disk.files.held_folder.os.{call}", exchanging)
    try:
        found = held_below(data, "link")
    except OSError as refused:
        found = errno.errorcode[refused.errno or 0]
    assert found in ("meant", "ELOOP")
