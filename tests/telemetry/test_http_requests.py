"""What a peer of the HTTP server may send: requests, pieces of requests, and anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.telemetry.http_requests import MAX_REQUEST_BYTES, Request, Response, parse

GOOD = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\nAccept: text/plain;q=0.5\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "request_"),
    [
        (GOOD, Request("/metrics")),
        (GOOD + b"GET /more HTTP/1.1\r\n\r\n", Request("/metrics")),
        (b"HEAD /healthz HTTP/1.0\r\n\r\n", Request("/healthz", is_head=True)),
        (b"GET / HTTP/1.1\n\n", Request("/")),
    ],
)
def test_a_request_is_understood(data: bytes, request_: Request) -> None:
    assert parse(data) == request_


@pytest.mark.parametrize("size", range(len(GOOD)))
def test_the_beginning_of_a_request_is_waited_for(size: int) -> None:
    assert parse(GOOD[:size]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b'{"level": "INFO"}\n',
        b"get / HTTP/1.1\r\n\r\n",
        b"GET metrics HTTP/1.1\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * MAX_REQUEST_BYTES,
        b"GET " * MAX_REQUEST_BYTES,
    ],
)
def test_anything_else_is_a_bad_request(data: bytes) -> None:
    found = parse(data)
    assert isinstance(found, Response)
    assert found.status == 400


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"CONNECT", b"TRACE"])
def test_other_methods_are_not_allowed(method: bytes) -> None:
    found = parse(method + b" /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n123456789")
    assert isinstance(found, Response)
    assert b"\r\nAllow: GET, HEAD\r\n" in found.encode()


@given(st.binary(max_size=200) | st.builds(lambda head, tail: head + tail, st.just(b"GET / HTTP/1.1\r\n"), st.binary()))
def test_no_bytes_raise_and_no_bytes_get_anything_but_an_answer(data: bytes) -> None:
    found = parse(data)
    assert found is None or isinstance(found, Request) or found.status in (400, 405)


def test_a_head_request_gets_the_length_and_not_the_body() -> None:
    head, _, body = Response(200, b"12345").encode(is_head=True).partition(b"\r\n\r\n")
    assert b"Content-Length: 5\r\n" in head
    assert body == b""
