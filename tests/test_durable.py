"""Replacing a file: what a crash or a full disk leaves of it."""

import os
from pathlib import Path
from typing import Any

import pytest

from logferry.durable import replace_file


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
def test_a_file_that_cannot_be_replaced_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "checkpoints.json"
    replace_file(path, b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "write":  # of all the steps the one that has no name in `os`
        real_open = os.fdopen
        monkeypatch.setattr(os, "fdopen", lambda *words: _Full(real_open(*words)))
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["checkpoints.json"]


class _Full:
    """A file on a disk that is full."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def close(self) -> None:
        self._file.close()

    def write(self, _: bytes) -> int:
        raise OSError(28, "No space left on device")


def test_a_temporary_file_left_by_a_crash_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.json.new").write_bytes(b"half of something that was much longer")
    replace_file(tmp_path / "checkpoints.json", b"new")
    assert (tmp_path / "checkpoints.json").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["checkpoints.json"]
