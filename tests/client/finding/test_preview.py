"""The preview of inputs: the files that each of them matches, and names that can never be log files."""

import dataclasses
import os
from pathlib import Path

import pytest

from logferry.client.finding.preview import not_log_files, preview
from logferry.config import STANDARD_INPUT, InputSettings
from tests.support.shipping import ship_settings


def an_input(*names: str) -> InputSettings:
    return dataclasses.replace(ship_settings(Path("app.log"), 9000).inputs[0], log_file=names)


def test_a_file_belongs_to_the_first_input_that_matches_it(tmp_path: Path) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(b"")
    a, b = f"{tmp_path}/a.log", f"{tmp_path}/b.log"
    first, second = preview([an_input(a, f"{tmp_path}/missing.log", STANDARD_INPUT), an_input(f"{tmp_path}/*.log")])
    assert (first.files, first.claimed_earlier) == ([a], [])
    assert (second.files, second.claimed_earlier) == ([a, b], [a])


def test_a_file_that_may_not_be_read_is_listed_as_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda name, mode: not (name == str(path) and mode == os.R_OK))
    [found] = preview([an_input(str(path))])
    assert found.unreadable == [str(path)]


def test_a_directory_and_a_fifo_are_rejected_and_a_missing_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"")
    os.mkfifo(tmp_path / "fifo")
    names = [f"{tmp_path}/", f"{tmp_path}/fifo", f"{tmp_path}/app.log", f"{tmp_path}/missing.log", STANDARD_INPUT]
    directory, fifo = not_log_files([an_input(*names)])
    assert directory.endswith(f"is a directory; '{tmp_path}/*' means the files in it")
    assert fifo.endswith("is a FIFO, which must be the only input of its client")
