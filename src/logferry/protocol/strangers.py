"""Who is at the other end if not a log client: strangers, recognised by the first bytes that they send.

Owns the table of strangers, and what each is answered. Pure. It must never take a line of a log client for a stranger:
a JSON object, a blank line and a frame begin like none of them (docs/protocol.md, rules M10 to M12).
"""

import re
from typing import Final, NamedTuple

from logferry.printable import quoted
from logferry.protocol.compressor import GZIP_MAGIC, LENGTH_BYTES

# A request line of HTTP has at most about 8000 bytes (RFC 9112). A first line that is longer, and has the form of a
# request's beginning, is one: a long target must not get past this check.
MAX_FIRST_LINE_BYTES: Final = 16 * 1024

PROXY_V2_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"

_MAX_SHOWN_CHARS: Final = 80

_SENTENCE: Final = (
    b"This is a Logferry server. It takes log lines over TCP, not HTTP requests; nothing of this request is stored.\n"
)
_HTTP_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


class Stranger(NamedTuple):
    """What a peer is that is not a log client. `name` continues the words "it sent"."""

    name: str
    advice: str = ""  # what to do next, as a sentence without its end; see `ClientLog.stranger` for {address} and {tls}
    answer: bytes = b""  # what it is sent before the connection closes, so that a person reads why
    shown: str = ""  # the first line, made safe

    def __str__(self) -> str:
        shown = f" ({self.shown})" if self.shown else ""
        return f"it sent {self.name}{shown}"


_HTTP: Final = Stranger("an HTTP request", answer=_HTTP_ANSWER)
_TLS: Final = Stranger("a TLS handshake", "this port takes connections without TLS{tls}")
_SSH: Final = Stranger("the greeting of SSH")
_PROXY_ADVICE: Final = "if {address} is your proxy, start the server with --proxy-protocol {address}"
PROXY_V1: Final = Stranger("a header of the PROXY protocol, version 1", _PROXY_ADVICE)
PROXY_V2: Final = Stranger("a header of the PROXY protocol, version 2", _PROXY_ADVICE)

# For connections from addresses that --proxy-protocol lists.
NO_HEADER: Final = Stranger(
    "no header of the PROXY protocol, or not a well-formed one",
    "--proxy-protocol lists {address}, so each connection from there must begin with a header",
)

# What shows after a few bytes, wherever a first line would end.
_BY_PREFIX: Final = (
    *((b"\x16\x03%c" % minor, _TLS) for minor in range(5)),
    *((b"SSH-%d." % major, _SSH) for major in (1, 2)),
    *((b"PROXY " + family, PROXY_V1) for family in (b"TCP4", b"TCP6", b"UNKNOWN")),
    (PROXY_V2_SIGNATURE, PROXY_V2),
    *((b"\xff%c" % command, Stranger("a negotiation of Telnet")) for command in range(0xFB, 0xFF)),
)
_LONGEST_PREFIX: Final = max(len(prefix) for prefix, _ in _BY_PREFIX)

# What a complete first line shows. Any line that ends like the request line of HTTP is one, whatever its method.
_BY_LINE: Final = (
    (re.compile(rb"[^\n]*\s(?i:HTTP)/\d(?:\.\d)?"), _HTTP),
    (re.compile(rb"\*\d{1,9}"), Stranger("a command of Redis")),
    (re.compile(rb"(?i:EHLO|HELO|LHLO) \S{1,255}"), Stranger("a greeting of SMTP")),
)
_LONG_REQUEST: Final = re.compile(rb"[!#-'*+.^_`|~0-9A-Za-z-]{1,64} +(?:/|[A-Za-z][A-Za-z0-9+.-]{0,64}://)[^ \n]*")


def stranger_of(head: bytes) -> Stranger | None:
    """Return the stranger that begins a connection with `head`, if `head` is enough to know."""
    for prefix, stranger in _BY_PREFIX:
        if head.startswith(prefix):
            return stranger
    end = head.find(b"\n") + 1
    if end:
        return stranger_of_line(head[:end])
    return _HTTP if len(head) >= MAX_FIRST_LINE_BYTES and _LONG_REQUEST.fullmatch(head) else None


def stranger_of_line(line: bytes) -> Stranger | None:
    """Return the stranger whose first line is `line`, which is complete."""
    text = line[-MAX_FIRST_LINE_BYTES:].rstrip()
    for pattern, stranger in _BY_LINE:
        if pattern.fullmatch(text):
            return stranger._replace(shown=quoted(text[: _MAX_SHOWN_CHARS + 1], max_chars=_MAX_SHOWN_CHARS))
    return None


def stranger_of_endless_line(beginning: bytes) -> Stranger | None:
    """Return the stranger that begins a line as long as no line may be."""
    return _HTTP if _LONG_REQUEST.match(beginning[:MAX_FIRST_LINE_BYTES]) else None


def may_become_stranger(head: bytes) -> bool:
    """Whether more bytes may show that `head`, which is not a stranger's yet, begins a stranger's connection.

    True for an incomplete first line, unless it has the form of a line that can be stored.
    """
    if len(head) < _LONGEST_PREFIX and any(prefix.startswith(head) for prefix, _ in _BY_PREFIX):
        return head not in (b"\r\n", b"\r\n\r\n")  # blank lines are answered at once
    return len(head) < MAX_FIRST_LINE_BYTES and b"\n" not in head and not may_be_stored(head)


def may_be_stored(message: bytes) -> bool:
    """Whether a message begins as every line that can be stored does, or as a frame (one that is too long, too)."""
    return message.lstrip()[:1] in (b"{", b"\0") or message.startswith(GZIP_MAGIC, LENGTH_BYTES)
