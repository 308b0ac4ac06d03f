"""The messages of the delivery extension, and how each is written (docs/protocol.md, rules E1 to E20).

`delivery_server.py` and `delivery_client.py` parse what the other side sends. A control line is a JSON object whose
first key is `logferry`; the header of a batch is followed by the number of bytes it states.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 1
CONTROL_PREFIX: Final = b'{"logferry"'

# A control line has a few hundred bytes; a path may have 4096, each escaped to six.
MAX_CONTROL_BYTES: Final = 64 * 1024

MAX_OFFSET: Final = 2**63 - 1  # the largest offset of SQLite and of file systems

# How many sources one connection may open if the welcome does not say.
MAX_SOURCES: Final = 10_000

# Extents in one page of a report: at about 150 bytes each, far below the longest answer that a client accepts.
REPORT_PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Hello:
    """The client requests the extension."""

    client: str
    host: str


@dataclass(frozen=True, slots=True)
class Open:
    """The client will send batches of a source, and asks how far it is stored; it knows of `known` bytes."""

    source: str
    path: str
    known: int = MAX_OFFSET


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """The lines of bytes `[start, end)` of a source as NDJSON; `refusal` says why a line cannot be stored, if any.

    A `split` batch does not begin where an event begins.
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
    """A remark about bytes `[start, end)` of a source, although a batch covers them."""

    source: str
    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The client asks what is stored of a source from offset `after` on."""

    source: str
    after: int


@dataclass(frozen=True, slots=True)
class Ping:
    """The client asks for a heartbeat."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The client broke the rules of the extension; the connection must end."""

    reason: str


Request = Hello | Open | BatchRequest | Skip | Note | Report | Ping | Violation


def control_line(kind: str, /, **fields: object) -> bytes:
    """Return one control line of a client."""
    return json.dumps({"logferry": kind, **fields}).encode() + b"\n"


def batch_header(
    *, source: str, start: int, end: int, lines: int, crc32: int, size: int, is_gzip: bool, is_split: bool = False
) -> bytes:
    """Return the control line before the `size` bytes of a batch; `crc32` is that of the uncompressed NDJSON."""
    encoding = "gzip" if is_gzip else "identity"
    split = ', "split": true' if is_split else ""
    return (
        f'{{"logferry": "batch", "source": "{source}", "start": {start}, "end": {end}, "lines": {lines}, '
        f'"bytes": {size}, "encoding": "{encoding}", "crc32": {crc32}{split}}}\n'
    ).encode()


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server speaks the extension and accepts batches of at most `max_batch_bytes`, compressed or not.

    One connection may open `max_sources` sources.
    """

    version: int
    max_batch_bytes: int
    durability: str
    max_sources: int = MAX_SOURCES


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """The server does not know the hello (`answered_as_line`: it stored the hello as a log line)."""

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

    `is_final` distinguishes a line that will never be stored from a disagreement about where the batch begins.
    """

    source: str
    committed: int
    reason: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class Extent:
    """A piece of a source in one segment according to the ledger, and whether the disk agrees (`state`)."""

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
    """One page of what a server knows about a source; `has_more` if another page follows the last extent."""

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
    """A heartbeat: the server is alive, whatever its disk does."""


@dataclass(frozen=True, slots=True)
class InvalidAnswer:
    """The server sent something that is not an answer of the extension; nothing after it can be trusted."""

    reason: str


Answer = Welcome | NotUnderstood | Position | BatchRefused | ReportPage | Alive | InvalidAnswer


def answer_line(message: str, /, **fields: object) -> bytes:
    """Return one answer that is not an error."""
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
    """Return the JSON object in a line, or an empty one."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
