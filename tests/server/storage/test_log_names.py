"""Folders of logs: people find them by host and path, and nothing that a client sends leads anywhere else."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logferry.server.storage.disk.files.segment_names import is_log_folder, is_segment_path, segment_name
from logferry.server.storage.disk.files.surplus import surplus_name
from logferry.server.storage.disk.journals.journal import segment_of_journal
from logferry.server.storage.log_names import (
    MAX_BYTES,
    LogName,
    host_name,
    log_of_source,
    plain_log,
    proposed_folders,
)

names = st.one_of(
    st.sampled_from(["a", "b", "var", "plain", "..", ".", "", "2026-01-01-1.ndjson", "x.journal", "字" * 80, "\0"]),
    st.text(max_size=5),
)
paths = st.one_of(
    st.lists(names, max_size=8).map("/".join),
    st.integers(1, 4096).map(lambda count: "/a" * (count // 2)),
    st.integers(1, 30).map(lambda count: "/x\u0301字" * count * 5),
)
logs = st.builds(log_of_source, names, paths, identity=st.sampled_from(["", "a", "web-1", "10.0.0.7"]))


def folder_of(log: LogName) -> str:
    return next(proposed_folders(log))


@settings(max_examples=40)
@given(logs)
def test_a_folder_never_leads_out_and_every_name_and_path_fits(log: LogName) -> None:
    for folder in itertools.islice(proposed_folders(log), 3):
        assert is_log_folder(folder)
        assert is_segment_path(f"{folder}/2026-01-01-999999999.ndjson")
        assert folder.startswith(f"{log.identity}/" if log.identity else "")
        assert len(folder.encode()) <= MAX_BYTES + 64
        for name in folder.split("/"):
            assert len(name.encode()) + len(".new") <= 255
            assert segment_name(name) is None
            assert segment_name(segment_of_journal(name)) is None
            assert surplus_name(name) is None
        longest = f"{folder}/2026-01-01-999999999.ndjson.surplus-999999999-{10**18 - 1}.unacked.journal.new"
        assert len(longest.encode()) < 4096 - 2000  # what the data folder may have


@settings(max_examples=40)
@given(logs)
def test_no_source_is_among_the_lines_of_a_peer_that_speaks_the_plain_protocol(log: LogName) -> None:
    """A client could say that it is the host 10.0.0.7 and that its file is called `plain`."""
    assert "plain" not in folder_of(log).split("/")[bool(log.identity) :]


@settings(max_examples=40)
@given(logs)
def test_a_log_always_gets_the_same_folders_and_each_is_another(log: LogName) -> None:
    folders = list(itertools.islice(proposed_folders(log), 5))
    assert folders == list(itertools.islice(proposed_folders(log), 5))
    assert len(set(folders)) == 5


@pytest.mark.parametrize(
    ("host", "path", "folder"),
    [
        ("web-1", "/var/log/app/app.log", "web-1/var/log/app/app.log"),
        ("web-1", "/app.log", "web-1/app.log"),
        ("web-1", "app.log", "web-1/app.log"),
        ("web-1", "//var//log/", "web-1/var/log"),
        ("", "/app.log", "unknown/app.log"),
        ("машина", "/srv/журнал/日志.log", "машина/srv/журнал/日志.log"),
    ],
)
def test_a_path_is_a_path(host: str, path: str, folder: str) -> None:
    assert folder_of(log_of_source(host, path)) == folder
    assert folder_of(log_of_source(host, path, identity="team")) == f"team/{folder}"


@pytest.mark.parametrize(
    ("path", "begin"),
    [
        ("/", "h/_-"),
        ("", "h/_-"),
        ("//a/../b", "h/a/_-"),
        ("/a/./b", "h/a/_-"),
        ("/a\0b", "h/a_b-"),
        ("/plain", "h/plain-"),
        ("/plain/app.log", "h/plain-"),
        ("/x/2026-01-01-1.ndjson", "h/x/2026-01-01-1.ndjson-"),
        ("/2026-01-01-1.ndjson.journal/x", "h/2026-01-01-1.ndjson.journal-"),
        (r"C:\logs\app.log", "h/C__logs_app.log-"),
        ("/" + "x" * 4095, f"h/{'x' * 100}-"),
        ("/a" * 2048, "h/" + "a/" * 22 + "a-"),
        ("/" + "字" * 40 + "/" + "/".join(["名" * 40] * 10) + "/app.log", "h/" + "字" * 40),
    ],
)
def test_a_path_that_cannot_be_one_is_changed(path: str, begin: str) -> None:
    assert folder_of(log_of_source("h", path)).startswith(begin)


def test_long_paths_with_the_same_ends_differ() -> None:
    one, other = ("/a" * 20 + f"/{name}" + "/a" * 20 for name in "xy")
    assert folder_of(log_of_source("h", one)) != folder_of(log_of_source("h", other))


def test_lines_of_the_plain_protocol_lie_below_the_address() -> None:
    assert folder_of(plain_log("10.0.0.7")) == "10.0.0.7/plain"
    assert folder_of(plain_log("10.0.0.7", identity="team")) == "team/10.0.0.7/plain"


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8::1", "2001-db8--1"),
        ("fe80::1%eth0", "fe80--1"),
        ("2001:0DB8:0::1", "2001-db8--1"),
    ],
)
def test_an_address_is_a_folder_name_that_people_recognise(address: str, folder: str) -> None:
    assert host_name(address) == folder


def test_an_invalid_address_becomes_a_safe_name() -> None:
    assert "/" not in host_name("../../etc/passwd")


@settings(max_examples=40)
@given(logs)
def test_the_folder_of_a_log_can_be_made(tmp_path_factory: pytest.TempPathFactory, log: LogName) -> None:
    root: Path = tmp_path_factory.getbasetemp() / "made"
    folder = root / folder_of(log)
    folder.mkdir(parents=True, exist_ok=True)
    assert folder.resolve().is_relative_to(root.resolve())
