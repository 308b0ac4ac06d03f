"""Strangers are recognised by their first bytes, in whatever pieces they come; no log client is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.protocol.opening.opening import Opened, Opening, Speaks
from logferry.protocol.strangers import MAX_FIRST_LINE_BYTES, Stranger
from tests.support.running import numbered_line
from tests.support.strangers import STRANGERS, first_bytes


def opened(data: bytes, *, step: int) -> Opened | None:
    """Return what the first bytes show, fed in pieces of `step` bytes."""
    opening = Opening()
    for start in range(0, len(data), step):
        if shown := opening.receive_data(data[start : start + step]):
            return shown
    return None


@pytest.mark.parametrize("step", [1, 3, 1_000_000])
@pytest.mark.parametrize("name", STRANGERS)
def test_a_stranger_is_named(name: str, step: int) -> None:
    """Rule M10."""
    shown = opened(first_bytes(name), step=step)
    if shown is not None and shown.peer is Speaks.PLAIN:  # the plain protocol goes on, and finds out at the next bytes
        assert name in ("PROXY v2", "no method")
        return
    assert shown is not None
    assert isinstance(shown.peer, Stranger)
    assert STRANGERS[name][0] in str(shown.peer)


@pytest.mark.parametrize("step", [1, 3, 1_000_000])
@pytest.mark.parametrize(
    "data",
    [
        numbered_line(1),
        b"  \t" + numbered_line(1),
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"GET out of here\n",
        b"HTTP/1.1\n",
        b"2024-01-15 08:23:45 INFO GET / HTTP/1.1 200\n",
        b"PROXY is a word\n",
        b"SSH is a word\n",
        b"* 1\n",
        b"x" * MAX_FIRST_LINE_BYTES,
        b"INFO /var/log/app.log is " + b"x" * MAX_FIRST_LINE_BYTES,
        b"\0\0\0\1",
        b"\x01\0\0\0\x1f\x8b",
        b'{"level": "INFO", "message": "GET / HTTP/1.1"}\n',
        '{"level": "INFO", "message": "\u2028 HTTP/1.1'.encode(),
    ],
)
def test_a_client_of_the_plain_protocol_is_not_taken_for_a_stranger(data: bytes, step: int) -> None:
    """Rule M11."""
    shown = opened(data, step=step)
    assert shown is not None
    assert shown.peer is Speaks.PLAIN


@given(st.binary(max_size=40), st.integers(1, 50))
def test_what_the_first_bytes_show_does_not_depend_on_how_they_are_cut(data: bytes, step: int) -> None:
    whole, pieces = opened(data, step=1000), opened(data, step=step)
    if whole is not None and isinstance(whole.peer, Stranger) and pieces is not None:
        assert pieces.peer in (whole.peer, Speaks.PLAIN)
    if pieces is not None and isinstance(pieces.peer, Stranger):
        assert whole is not None
        assert whole.peer == pieces.peer


def test_an_opening_holds_a_bounded_first_line() -> None:
    opening = Opening()
    while (shown := opening.receive_data(b"a rubbish line without an end ")) is None:
        assert opening.held_bytes < MAX_FIRST_LINE_BYTES
    assert shown.peer is Speaks.PLAIN


def test_the_end_shows_what_an_unfinished_line_is() -> None:
    for data, name in ((b"GET / HTTP/1.0", "an HTTP request"), (b"\x16", None), (b"PROX", None)):
        opening = Opening()
        assert opening.receive_data(data) is None
        shown = opening.receive_eof()
        assert shown is not None
        assert (shown.peer.name if isinstance(shown.peer, Stranger) else None) == name
