"""IP addresses as sockets report them."""

import pytest

from logferry.addresses import ip_of, is_loopback


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"])
def test_an_address_of_this_machine_alone_is_one_in_every_form(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address", ["10.0.0.7", "::ffff:10.0.0.7", "fe80::1%eth0", "::", "127.example.com", "", "unix"]
)
def test_any_other_address_and_what_is_none_is_not(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [("::ffff:10.0.0.7", "10.0.0.7"), ("fe80::1%eth0", "fe80::1"), ("10.0.0.7", "10.0.0.7"), ("unknown", "None")],
)
def test_an_address_has_one_form(address: str, shown: str) -> None:
    assert str(ip_of(address)) == shown
