"""Headers of stored messages: what is written is read again, and what somebody else has written is checked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry import checksum
from logferry.server.storage.nats.headers import Link, MalformedMessage, Names, Totals, read, written
from logferry.server.storage.nats.names import source_of, token

PAYLOAD = b'{"level": "INFO", "message": "x"}\n'
CRC = checksum.crc32(PAYLOAD)
BEFORE = Totals(100, 7, 300, 12345)


def batch(**changes: Any) -> Link:
    """Return a message with one line, after others."""
    totals = BEFORE.extended(140, 1, len(PAYLOAD), CRC)
    base: dict[str, Any] = {"kind": "batch", "start": 100, "lines": 1, "size": len(PAYLOAD), "crc32": CRC}
    base |= {"totals": totals, "prior_crc32": BEFORE.crc32, "names": Names("web-1", "/var/log/ä\u2028.log", "client-1")}
    return Link(**(base | changes))


def skip(**changes: Any) -> Link:
    """Return a message that passes bytes over."""
    base = {"kind": "skip", "lines": 0, "size": 0, "crc32": 0, "totals": BEFORE.extended(140, 0, 0, 0)}
    return batch(**(base | {"reason": "cut\r\nX: y", "lost": False} | changes))


@pytest.mark.parametrize("link", [batch(), batch(split=True), batch(names=None), skip(), skip(lost=True)])
def test_what_is_written_is_read_again(link: Link) -> None:
    headers = written(link)
    assert all(value.isascii() and value == value.strip() and "\n" not in value for value in headers.values())
    assert read(headers, link.size) == link
    assert link.prior == BEFORE


def test_names_that_are_long_are_left_to_the_record_of_the_source() -> None:
    link = batch(names=Names("web-1", "/" + 4000 * "ä", "client-1"))
    headers = written(link)
    assert sum(map(len, (*headers, *headers.values()))) < 4096
    assert read(headers, link.size).names is None


@pytest.mark.parametrize(
    "changes",
    [
        {"Lf-V": "2"},
        {"Lf-V": None},
        {"Lf-Kind": "other"},
        {"Lf-Start": "140"},
        {"Lf-Start": "-1"},
        {"Lf-End": str(2**63)},
        {"Lf-End": "1e9"},
        {"Lf-Lines": "9"},
        {"Lf-Total-Lines": "0"},
        {"Lf-Total-Bytes": "3"},
        {"Lf-Total-Crc": "1"},
        {"Lf-Prior-Crc": str(2**32)},
        {"Lf-Crc": None},
        {"Lf-Path": "/var/log/app.log"},
        {"Lf-Path": "7"},
        {"Lf-Host": f'"{256 * "x"}"'},
        {"Lf-Client": None},
        {"Lf-Kind": "skip", "Lf-Reason": '"x"'},
        {"Lf-Kind": "mark"},
    ],
)
def test_headers_that_are_not_those_of_a_message_are_refused(changes: dict[str, str | None]) -> None:
    headers = {key: value for key, value in (written(batch()) | changes).items() if value is not None}
    with pytest.raises(MalformedMessage):
        read(headers, len(PAYLOAD))


def test_a_payload_of_another_size_is_not_that_of_the_message() -> None:
    with pytest.raises(MalformedMessage):
        read(written(batch()), len(PAYLOAD) + 1)


@given(st.text(min_size=1, max_size=64))
def test_every_id_is_one_token_of_a_subject_and_comes_back(source: str) -> None:
    source = source.encode("utf-8", "ignore").decode() or "x"
    shown = token(source)
    assert shown.isascii()
    assert not set(shown) & set(" .*>\t\r\n")
    assert source_of(f"lf.3.{shown}") == source
