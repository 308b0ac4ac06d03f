"""The delivery extension's messages: batches with a source and a byte range, and answers that say how far it is stored.

docs/protocol.md specifies them, rules E1 to E20. `delivery_server.py` and `delivery_client.py` read what the other side
sends; the functions here write it. Control lines are JSON objects whose first key is `logferry`; the header of a
batch is followed by as many bytes as it says.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 1
CONTROL_PREFIX: Final = b'{"logferry"'

# A control line is a few hundred bytes; a path may take 4096, each byte escaped to six.
MAX_CONTROL_BYTES: Final = 64 * 1024

MAX_OFFSET: Final = 2**63 - 1  # what SQLite and file systems can count

# What a server that does not say how many sources one connection may open lets it open.
MAX_SOURCES: Final = 10_000

# A page of a report: so many extents of about 150 bytes stay far below what a client reads as one answer.
REPORT_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Hello:
    """The client asks for the extension."""

    client: str
    host: str


@dataclass(frozen=True, slots=True)
class Open:
    """The client is going to send batches of a source, and asks how far it is stored; it knows of `known` bytes."""

    source: str
    path: str
    known: int = MAX_OFFSET


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """Lines `[start, end)` of a source as NDJSON; `refusal` says why some line of it cannot be taken, if so.

    A `split` one does not begin where an event begins.
    """

    source: str
    start: int
    end: int
    lines: int
    crc32: int
    payload: bytes
    refusal: str | None = None
    split: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """Bytes `[start, end)` of a source will never come, for `reason`."""

    source: str
    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something about bytes `[start, end)` of a source is worth keeping, although a batch covers them."""

    source: str
    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The client asks what is stored of a source, from its offset `after` on."""

    source: str
    after: int


@dataclass(frozen=True, slots=True)
class Ping:
    """The client wants a sign of life."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The client has broken the rules of the extension; the connection must end."""

    reason: str


Request = Hello | Open | BatchRequest | Skip | Note | Report | Ping | Violation


def control_line(kind: str, /, **fields: object) -> bytes:
    """Return one control line of a client."""
    return json.dumps({"logferry": kind, **fields}).encode() + b"\n"


def batch_header(
    *, source: str, start: int, end: int, lines: int, crc32: int, size: int, is_gzip: bool, is_split: bool = False
) -> bytes:
    """Return the control line before a batch's `size` bytes; `crc32` is that of the NDJSON, not compressed."""
    encoding = "gzip" if is_gzip else "identity"
    split = ', "split": true' if is_split else ""
    return (
        f'{{"logferry": "batch", "source": "{source}", "start": {start}, "end": {end}, "lines": {lines}, '
        f'"bytes": {size}, "encoding": "{encoding}", "crc32": {crc32}{split}}}\n'
    ).encode()


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server speaks the extension and takes batches of at most `max_batch_bytes`, compressed or not.

    It lets one connection open `max_sources` sources.
    """

    version: int
    max_batch_bytes: int
    durability: str
    max_sources: int = MAX_SOURCES


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """The server does not know the hello (`answered_as_line`: it has stored it as if it were a log line)."""

    answered_as_line: bool


@dataclass(frozen=True, slots=True)
class Position:
    """How far a source is stored: everything before `committed`, as `lines` lines whose NDJSON has `crc32`."""

    source: str
    committed: int
    lines: int
    crc32: int
    is_answer_to_open: bool


@dataclass(frozen=True, slots=True)
class BatchRefused:
    """The server will not store a batch as it is. `committed` says how far the source is stored.

    `is_final` tells a line that will never be taken from a disagreement about where the batch begins.
    """

    source: str
    committed: int
    reason: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class Extent:
    """A piece of a source in one segment: what the ledger says of it, and whether the disk agrees (`state`)."""

    start: int
    end: int
    lines: int
    crc32: int
    state: str  # "ok", "altered", "missing" (the segment is gone) or "expired" (deleted by retention)
    segment: str


@dataclass(frozen=True, slots=True)
class RecordedLoss:
    """Bytes of a source that are not stored as they were, and why."""

    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReportPage:
    """A part of what a server knows about a source; `has_more` when another page begins after the last extent."""

    source: str
    is_known: bool
    committed: int
    lines: int
    crc32: int
    extents: tuple[Extent, ...]
    losses: tuple[RecordedLoss, ...]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Alive:
    """The server is there, whatever its disk does."""


@dataclass(frozen=True, slots=True)
class Gibberish:
    """Not an answer of the extension."""

    reason: str


Answer = Welcome | NotUnderstood | Position | BatchRefused | ReportPage | Alive | Gibberish


def answer_line(message: str, /, **fields: object) -> bytes:
    """Return one answer of a server that is not an error."""
    return json.dumps({"status": "ok", "message": message, **fields}).encode() + b"\n"


def refusal_line(reason: str, *, source: str, committed: int, is_final: bool) -> bytes:
    """Return the answer to a batch that is not stored."""
    fields = {"status": "error", "message": reason, "source": source, "committed": committed, "final": is_final}
    return json.dumps(fields).encode() + b"\n"


def report_line(page: ReportPage) -> bytes:
    """Return the answer to a Report."""
    return answer_line(
        "report",
        source=page.source,
        known=page.is_known,
        committed=page.committed,
        lines=page.lines,
        crc32=page.crc32,
        extents=[[e.start, e.end, e.lines, e.crc32, e.state, e.segment] for e in page.extents],
        losses=[[loss.start, loss.end, loss.reason] for loss in page.losses],
        more=page.has_more,
    )


def json_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object in a line; an empty one when it holds none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
