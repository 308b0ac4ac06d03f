"""Folders of logs, as the ledger gives them: no two logs share one, and a log keeps its own."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.segments.log_folders import LogFolders
from logferry.server.storage.log_names import LogName, log_of_source, plain_log


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A new ledger."""
    with closing(Ledger(tmp_path, durable=False)) as opened:
        yield opened


def folder_of(ledger: Ledger, log: LogName) -> str:
    folders = LogFolders(ledger)
    return folders.record(folders.of(log)).folder


names = st.sampled_from(["a", "b", "web", "plain", "..", "a-b", "2026-01-01-1.ndjson"])
logs = st.one_of(
    st.builds(plain_log, st.sampled_from(["10.0.0.7", "a"]), identity=st.sampled_from(["", "a", "web"])),
    st.builds(
        log_of_source,
        names,
        st.lists(names, max_size=3).map(lambda parts: "/" + "/".join(parts)),
        identity=st.sampled_from(["", "a", "web"]),
    ),
    st.sampled_from([LogName("a", path) for path in ("/b", "b", "//b", "/b/", "b//", "/./b")]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(logs, min_size=2, max_size=12))
def test_distinct_logs_never_share_a_folder_and_a_log_keeps_its_own(ledger: Ledger, several: list[LogName]) -> None:
    """Rule E37: neither is in the other's folder, nor in the place of its segments."""
    folders = {log: folder_of(ledger, log) for log in several}
    assert len(set(folders.values())) == len(folders)
    assert {log: folder_of(ledger, log) for log in several} == folders
    for log, folder in folders.items():
        assert folder.split("/")[-1] == "plain" or log.path
        assert not log.identity or folder.startswith(f"{log.identity}/")


def test_who_comes_second_gets_a_hash(ledger: Ledger) -> None:
    one = LogName("a", "/x", "web")
    other = LogName("web", "/a/x")
    third = LogName("web", "//a/x")
    assert folder_of(ledger, one) == "web/a/x"
    assert folder_of(ledger, other).startswith("web/a/x-")
    assert folder_of(ledger, third).startswith("web/a/x-")
    assert len({folder_of(ledger, log) for log in (one, other, third)}) == 3


def test_a_folder_of_an_old_store_belongs_to_no_new_log(ledger: Ledger) -> None:
    old = ledger.add_segment("web-1/app.log/2024-01-15-1.ndjson")
    assert folder_of(ledger, LogName("web-1", "/app.log")).startswith("web-1/app.log-")
    assert folder_of(ledger, LogName("web-1", "/app.log/x")) == "web-1/app.log/x"
    assert ledger.segment(old.id) == old


def test_a_plain_peer_goes_on_where_an_old_store_had_its_lines(ledger: Ledger) -> None:
    old = ledger.add_segment("10.0.0.7/plain/2024-01-15-1.ndjson")
    below = ledger.add_segment("10.0.0.7/plain/app.log/2024-01-15-1.ndjson")  # of the host "plain" of an identity
    assert folder_of(ledger, plain_log("10.0.0.7")) == "10.0.0.7/plain"
    log = ledger.find_log("", "10.0.0.7", "")
    assert log
    assert [row.id for row in ledger.open_segments_of(log.id)] == [old.id]
    assert ledger.segment(below.id) == below


def test_a_log_that_is_not_recorded_yet_takes_no_folder(ledger: Ledger) -> None:
    """Its folder could not be created: the disk may have had no room for it."""
    LogFolders(ledger).of(LogName("a", "/x", "web"))
    assert ledger.logs() == []
    assert folder_of(ledger, LogName("web", "/a/x")) == "web/a/x"
