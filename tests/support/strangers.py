"""What strangers send first: the beginnings of connections that are not those of log clients."""

import struct
from collections.abc import Mapping
from typing import Final

BODY: Final = b'{"level": "INFO", "message": "from a web page"}\n' * 2

PROXY_V2: Final = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([10, 1, 2, 3, 127, 0, 0, 1]) + struct.pack(">HH", 40000, 9000)
)


def request(method: bytes, target: bytes = b"/", version: bytes = b"HTTP/1.1") -> bytes:
    """Return an HTTP request whose body would be stored if it were read as lines."""
    head = b"%b %b %b\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % (method, target, version, len(BODY))
    return head + BODY


# The name of each, what the server's message says of it, and what it sends.
STRANGERS: Final[Mapping[str, tuple[str, bytes]]] = {
    "POST": ("an HTTP request ('POST / HTTP/1.1')", request(b"POST")),
    "lower case": ("an HTTP request", request(b"post", version=b"http/1.1")),
    "unknown method": ("an HTTP request", request(b"x-w!ld~")),
    "no method": ("an HTTP request", request(b"{}", target=b"")),
    "HTTP/2": ("an HTTP request", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9) + BODY),
    "proxy request": ("an HTTP request", request(b"PUT", target=b"http://127.0.0.1:9000/x y")),
    "long target": ("an HTTP request", request(b"POST", target=b"/" + b"a" * 40_000)),
    "spaces before": ("an HTTP request", b"  " + request(b"POST")),
    "TLS": ("a TLS handshake", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + BODY),
    "SSH": ("the greeting of SSH", b"SSH-2.0-OpenSSH_9.6\r\n" + BODY),
    "PROXY v1": (
        "a header of the PROXY protocol, version 1",
        b"PROXY TCP4 10.1.2.3 127.0.0.1 40000 9000\r\n" + BODY,
    ),
    "PROXY v2": ("a header of the PROXY protocol, version 2", PROXY_V2 + BODY),
    "Redis": ("a command of Redis", b"*1\r\n$7\r\nCOMMAND\r\n" + BODY),
    "SMTP": ("a greeting of SMTP", b"EHLO mail.example.com\r\n" + BODY),
    "Telnet": ("a negotiation of Telnet", b"\xff\xfd\x03\xff\xfb\x18" + BODY),
}


def first_bytes(name: str) -> bytes:
    """Return what a stranger sends."""
    return STRANGERS[name][1]
