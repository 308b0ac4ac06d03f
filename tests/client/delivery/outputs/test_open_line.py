"""The path in an `open`: the full one, by which the store keeps the lines."""

import json
import os
from pathlib import Path

import pytest

from logferry.client.delivery.outputs.encoding import open_line
from logferry.model.source import Source


def path_in_open(path: str) -> object:
    return json.loads(open_line(Source(path)))["path"]


def test_files_of_the_same_relative_path_in_two_folders_have_different_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("web", "pay"):
        (tmp_path / service).mkdir()
        monkeypatch.chdir(tmp_path / service)
        assert path_in_open("logs/app.log") == f"{tmp_path}/{service}/logs/app.log"


def test_a_full_path_and_standard_input_stay_as_they_are() -> None:
    assert path_in_open("/var/log/app.log") == "/var/log/app.log"
    assert path_in_open("stdin") == "stdin"


def test_a_client_whose_working_folder_is_gone_gives_the_path_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    assert path_in_open("app.log") == "app.log"
