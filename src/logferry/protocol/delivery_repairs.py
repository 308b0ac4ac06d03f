"""Stored bytes, damaged extents and repairs: values of both ends, and how answers are written.

Values only. `delivery_server.py` parses the requests, `delivery_client.py` the answers.
"""

import binascii
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from logferry.protocol.delivery import MAX_OFFSET, answer_line

# Stored bytes in one answer: in base64 well below the longest answer that a client accepts.
CONTENT_BYTES: Final = 512 * 1024

# Damaged extents in one page.
DAMAGE_PAGE: Final = 200

# An extent grows until it has this many bytes of NDJSON, so it has at most these and one batch. It is the unit of
# repair; a source of a terabyte has 250,000 extents.
EXTENT_BYTES: Final = 4 * 1024 * 1024

# No server accepts a batch of more than 16 MiB, so no extent is larger than this, whatever a welcome says.
MAX_REPAIR_BYTES: Final = EXTENT_BYTES + 16 * 1024 * 1024


class StoredContent(NamedTuple):
    """What the disk has of an extent from `position` on: `data` is empty where the disk has nothing."""

    source: str
    start: int
    position: int
    data: bytes


class DamagedExtent(NamedTuple):
    """An extent whose stored bytes differ from the ledger, which records these lines and this CRC-32."""

    start: int
    end: int
    lines: int
    crc32: int


class DamagePage(NamedTuple):
    """Extents of a source that the server knows to be damaged; `has_more` if others follow the last of them."""

    source: str
    extents: tuple[DamagedExtent, ...]
    has_more: bool


class DamageNotice(NamedTuple):
    """The server knows damaged extents of this source, which the client may repair."""

    source: str


class RepairOutcome(NamedTuple):
    """The answer to a repair: whether the extent is whole now, and why not."""

    source: str
    start: int
    is_whole: bool
    reason: str = ""


def content_line(content: StoredContent) -> bytes:
    """Return the answer to a request for stored bytes."""
    data = binascii.b2a_base64(content.data, newline=False).decode()
    return answer_line("content", source=content.source, start=content.start, position=content.position, data=data)


def damage_line(page: DamagePage) -> bytes:
    """Return the answer to a request for the damaged extents of a source."""
    return answer_line(
        "damaged", source=page.source, extents=[list(extent) for extent in page.extents], more=page.has_more
    )


def notice_line(source: str) -> bytes:
    """Return the notice that extents of a source are damaged."""
    return answer_line("damage", source=source)


def repair_line(outcome: RepairOutcome) -> bytes:
    """Return the answer to a repair."""
    return answer_line(
        "repair", source=outcome.source, start=outcome.start, whole=outcome.is_whole, reason=outcome.reason
    )


def read_content(fields: Mapping[str, Any]) -> StoredContent:
    """Read an answer. Raises KeyError, TypeError or ValueError, like the functions below."""
    data = binascii.a2b_base64(_text(fields["data"]), strict_mode=True)  # its error is a ValueError
    return StoredContent(_text(fields["source"]), _number(fields["start"]), _number(fields["position"]), data)


def read_damage(fields: Mapping[str, Any]) -> DamagePage:
    """Read a page of damaged extents."""
    extents = tuple(DamagedExtent(*map(_number, extent)) for extent in fields["extents"])
    if any(extent.start > extent.end for extent in extents):
        raise ValueError("an extent ends before it starts")
    return DamagePage(_text(fields["source"]), extents, _flag(fields["more"]))


def read_notice(fields: Mapping[str, Any]) -> DamageNotice:
    """Read a notice."""
    return DamageNotice(_text(fields["source"]))


def read_repair(fields: Mapping[str, Any]) -> RepairOutcome:
    """Read the answer to a repair."""
    return RepairOutcome(
        _text(fields["source"]), _number(fields["start"]), _flag(fields["whole"]), _text(fields["reason"])
    )


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_OFFSET:
        raise ValueError(f"not an offset: {value!r}")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"not a text: {value!r}")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(f"neither true nor false: {value!r}")
    return value
