"""Defines what the access logs of proxies and load balancers have in common (docs/protocol.md, rules F23 and F24)."""

from collections.abc import Iterable
from typing import Final

from logferry.rendering.engine.fields import Field, if_given, number_or_null, of_each, text, text_or_null
from logferry.rendering.engine.line_format import INSIDE_QUOTES, WORD_INSIDE_QUOTES

# A word without what JSON escapes, so that it is the same in both spellings.
WORD: Final = r"[^\x00-\x20\x22\\]++"

# Numbers as JSON writes them, or a dash. Where there is nothing to count, some programs write -1.
NUMBER: Final = "(?:0|[1-9][0-9]{0,17}|-1|-)"
DECIMAL: Final = r"(?:(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,18})?+|-1|-)"

# A client's address and port. An IPv6 address need not stand in brackets.
_PART: Final = r"[^\x00-\x20\x22:\\]*+"
CLIENT: Final = rf"(?P<remote_addr>{_PART}(?::{_PART}(?=:))*+):(?P<remote_port>0|[1-9][0-9]{{0,4}})"

# A request in quotes: a malformed one has no method, path and protocol.
REQUEST: Final = (
    rf'"(?P<request>(?P<method>[A-Z]++) (?P<path>{WORD_INSIDE_QUOTES}) (?P<protocol>HTTP/[0-9.]++)(?=")'
    rf'|{INSIDE_QUOTES})"'
)


def quoted(key: str) -> str:
    """Return the pattern of a text in quotes, as a group."""
    return f'"(?P<{key}>{INSIDE_QUOTES})"'


def words(keys: Iterable[str]) -> str:
    """Return the pattern of words, as groups, with a space before each."""
    return "".join(f" (?P<{key}>{WORD})" for key in keys)


def level_of_status(status: str | None) -> str:
    """Return ERROR for errors of the server, WARNING for errors of the client."""
    return {"5": "ERROR", "4": "WARNING"}.get(status[0] if status and len(status) == 3 else "", "INFO")


def number_of_status(status: str | None) -> int | None:
    """Return the status as a number; None if there is none."""
    return None if status is None or status == "-" else int(status)


LEVEL_OF_STATUS: Final = of_each("level", "status", level_of_status)
STATUS: Final = of_each("status", "status", number_of_status)
REQUEST_FIELDS: Final[tuple[Field, ...]] = (if_given("method"), if_given("path"), if_given("protocol"))

# The fields of every access, and those of a client with a port.
ACCESS: Final[tuple[Field, ...]] = (LEVEL_OF_STATUS, text("message", "request"), text("timestamp"))
CLIENT_FIELDS: Final[tuple[Field, ...]] = (text_or_null("remote_addr"), number_or_null("remote_port"))
