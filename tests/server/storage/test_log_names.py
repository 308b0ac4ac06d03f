"""Names of folders are safe, whatever a client sends, and people recognise them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.server.storage.log_names import host_name, safe_name


@given(st.text())
def test_a_safe_name_is_one_folder_below_its_parent(text: str) -> None:
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)
    assert len(name) < 120


@given(st.text(), st.text())
def test_different_texts_get_different_safe_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


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
