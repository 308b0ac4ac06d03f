"""The little of HTTP/1.1 that a server of numbers needs. Pure: bytes of a peer in, a request or an answer out.

Owns what is a valid request. Whatever a peer sends, the result is a request, an answer that says what is wrong with it,
or None while at most MAX_REQUEST_BYTES have come.
"""

import re
from dataclasses import dataclass
from typing import Final

# Prometheus and browsers send less than 2 KiB.
MAX_REQUEST_BYTES: Final = 8 * 1024

_LINE: Final = re.compile(rb"([A-Z]{1,20}) (/[!-~]{0,2000}) HTTP/1\.[0-9]").fullmatch
_HEADER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*").fullmatch
_BEGINNING: Final = re.compile(rb"[A-Z]{0,20}( .*)?", re.DOTALL).fullmatch

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a page. `path` is without the query; `is_head` asks for the head of the answer only."""

    path: str
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """An answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"

    def encode(self, *, is_head: bool = False) -> bytes:
        """Return the bytes for the peer; the connection ends after them."""
        lines = [
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
            *(["Allow: GET, HEAD"] if self.status == 405 else []),
        ]
        head = "".join(f"{line}\r\n" for line in lines) + "\r\n"
        return head.encode("ascii") + (b"" if is_head else self.body)


def parse(data: bytes | bytearray) -> Request | Response | None:
    """Return what a peer requests, the answer to bytes that are not a request, or None if the rest is to come."""
    head, has_end = _head_of(bytes(data[: MAX_REQUEST_BYTES + 1]))
    lines = head.split(b"\n")
    complete = [line.removesuffix(b"\r") for line in (lines if has_end else lines[:-1])]
    if not complete:
        return None if _BEGINNING(head) and len(head) <= MAX_REQUEST_BYTES else _bad("this is not a request")
    match = _LINE(complete[0])
    if match is None or not all(map(_HEADER, complete[1:])):
        return _bad("this is not a request of HTTP/1.1")
    if len(head) > MAX_REQUEST_BYTES:
        return _bad(f"the request has more than {MAX_REQUEST_BYTES} bytes")
    if match[1] not in (b"GET", b"HEAD"):
        return Response(405, b"only GET and HEAD are allowed\n")
    return Request(match[2].partition(b"?")[0].decode("ascii"), match[1] == b"HEAD") if has_end else None


def _head_of(data: bytes) -> tuple[bytes, bool]:
    """Return the head of a request, or as much of it as has come, and whether it is whole."""
    match = re.search(rb"\r?\n\r?\n", data)
    return (data[: match.start()], True) if match else (data, False)


def _bad(problem: str) -> Response:
    return Response(400, f"{problem}\n".encode())
