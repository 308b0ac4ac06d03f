"""Stored bytes, damaged extents and repairs: values of both ends, and how answers are written.

Values only. `control_lines.py` parses the requests, `answer_lines.py` the answers.
"""

import binascii
from typing import Final, NamedTuple

from logferry.protocol.messages.writing import answer_line

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
