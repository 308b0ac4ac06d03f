"""Names of folders are safe, whatever a client sends, and people recognise them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.server.storage.log_names import PLAIN, LogName, host_name, log_at, log_of_source, safe_name


@given(st.text())
def test_a_safe_name_is_one_folder_below_its_parent(text: str) -> None:
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)
    assert len(name) < 120


@given(st.text(), st.text())
def test_different_texts_get_different_safe_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


@given(st.text())
def test_no_text_has_the_safe_name_that_another_one_is_changed_into(text: str) -> None:
    assert safe_name(safe_name(text)) == safe_name(text) == text or safe_name(safe_name(text)) != safe_name(text)


names = st.one_of(st.sampled_from(["a", "b", "a/b", "a-b", "..", "", "2026-01-01-1.ndjson"]), st.text(max_size=5))
logs = st.tuples(st.sampled_from(["", "a", "b", "web-1"]), names, names)


@given(logs, logs)
def test_identities_hosts_and_files_never_meet_in_a_folder(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """Rule E37: of two logs that differ, neither is in the other's folder, nor in the place of its segments."""
    first, second = (log_of_source(host, f"/x/{name}", folder=folder) for folder, host, name in (one, other))
    assert log_at(first.path) == first
    assert not first.path.startswith("/")
    is_same = (first.folder, one[1] or "unknown", one[2].rpartition("/")[2] or "unknown") == (
        *(second.folder, other[1] or "unknown", other[2].rpartition("/")[2] or "unknown"),
    )
    assert (first.path == second.path) is is_same
    if first.folder and second.folder and first.folder != second.folder:
        assert first.path.split("/")[0] != second.path.split("/")[0]
    below = second.path.removeprefix(f"{first.path}/")
    assert below == second.path or not re.fullmatch(r"[0-9-]+\.ndjson.*", below)


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


def test_no_source_is_kept_among_the_lines_of_a_plain_peer() -> None:
    """A client could say that it is the host 10.0.0.7 and that its file is called `plain`."""
    assert log_of_source("10.0.0.7", "/tmp/plain") != LogName(host_name("10.0.0.7"), PLAIN)
    assert log_of_source("10.0.0.7", "/tmp/plain").name.startswith("plain-")
