"""What is read of certificates, and that nothing but ValueError comes of bytes that are not one."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.x509 import MAX_BYTES, MAX_NAMES, Certificate, read_certificate
from tests.support.certificates import DAY, NOW, authority, issued


def der_of(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


LEAF = der_of(
    issued("log.example", "*.logs.example", "192.0.2.7", "2001:db8::7", common_name="Log Server")
    .cert_chain_pems[0]
    .bytes()
)


def test_names_issuer_and_times_are_read() -> None:
    begin, end = NOW - 3 * DAY, NOW + 30 * DAY
    made = issued("log.example", "*.logs.example", "192.0.2.7", "2001:db8::7", not_before=begin, not_after=end)
    found = read_certificate(der_of(made.cert_chain_pems[0].bytes()))
    assert found.names == ("log.example", "*.logs.example", "192.0.2.7", "2001:db8::7")
    assert "Test Authority" in found.issuer
    assert (found.not_before, found.not_after) == (int(begin.timestamp()), int(end.timestamp()))


def test_the_common_name_is_the_subject_and_not_a_name_beside_others() -> None:
    found = read_certificate(LEAF)
    assert found.subject == "Log Server"
    assert "Log Server" not in found.names


def test_a_certificate_without_a_common_name_is_shown_by_its_organisation() -> None:
    found = read_certificate(der_of(authority("An Organisation").cert_pem.bytes()))
    assert found.subject == found.issuer
    assert found.subject.startswith("O=An Organisation")
    assert found.names == ()


def test_years_of_both_forms_of_time_are_read() -> None:
    """trustme's authorities are valid from 2000 (UTCTime) to 3000 (GeneralizedTime)."""
    found = read_certificate(der_of(authority().cert_pem.bytes()))
    assert found.not_before == 946_684_800
    assert found.not_after == 32_503_680_000


def test_no_more_names_are_kept_than_the_limit() -> None:
    names = [f"host-{number}.example" for number in range(MAX_NAMES + 20)]
    found = read_certificate(der_of(issued(*names).cert_chain_pems[0].bytes()))
    assert found.names == tuple(names[:MAX_NAMES])


@pytest.mark.parametrize("size", range(0, len(LEAF), 7))
def test_a_certificate_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_certificate(LEAF[:size])


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        read_certificate(LEAF + bytes(MAX_BYTES))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_certificate_or_a_value_error(data: bytes) -> None:
    assert_read_or_refused(data)


@given(st.lists(st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_certificate_with_changed_bytes_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(LEAF)
    for place, value in changes:
        data[place] = value
    assert_read_or_refused(bytes(data))


@given(st.integers(0, len(LEAF)), st.integers(0, len(LEAF)), st.binary(max_size=40))
def test_a_certificate_with_a_piece_replaced_is_read_or_refused(start: int, end: int, piece: bytes) -> None:
    assert_read_or_refused(LEAF[:start] + piece + LEAF[end:])


def assert_read_or_refused(data: bytes) -> None:
    try:
        found = read_certificate(data)
    except ValueError:
        return
    assert isinstance(found, Certificate)
    assert len(found.names) <= MAX_NAMES
    assert all(len(text) <= 2000 for text in (found.subject, found.issuer, *found.names))
