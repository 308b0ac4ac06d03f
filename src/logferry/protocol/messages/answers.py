"""The answers of the delivery extension, as a client reads them (docs/protocol.md, rules E1 to E20).

Values only: `answer_lines.py` parses answers into them. A server writes answers with `writing.py`. They are named
tuples, because a client defines them at each start, and a frozen dataclass takes five times as long
(benchmarks/run.py, `startup`).
"""

from collections.abc import Iterable
from typing import NamedTuple

from logferry.protocol.messages.repairs import DamageNotice, DamagePage, RepairOutcome, StoredContent
from logferry.protocol.messages.reports import LossPage, ReportPage, SourcesPage
from logferry.protocol.messages.writing import MAX_SOURCES, answer_line
from logferry.protocol.plain.acks import MAX_REASON_CHARS


class Welcome(NamedTuple):
    """The server speaks the extension and accepts batches of at most `max_batch_bytes`, compressed or not.

    One connection may open `max_sources` sources. `store` is the id of the server's store, "" if the server states
    none; `features` are the names of what it understands beyond the first version of the extension (features.py). With
    `auth`, the server wants a proof of that kind before it says more (rule E40).
    """

    version: int
    max_batch_bytes: int
    durability: str
    max_sources: int = MAX_SOURCES
    store: str = ""
    features: frozenset[str] = frozenset()
    auth: str = ""


class NotUnderstood(NamedTuple):
    """The server does not know the hello (`answered_as_line`: it stored the hello as a log line)."""

    answered_as_line: bool


class NotAdmitted(NamedTuple):
    """The client may not ship, or not any more; the server ends the connection."""

    reason: str


class Position(NamedTuple):
    """How far a source is stored: everything before `committed`, as `lines` lines whose NDJSON has `crc32`."""

    source: str
    committed: int
    lines: int
    crc32: int
    is_answer_to_open: bool


class Positions(NamedTuple):
    """How far the sources of a request are stored, without those that the store does not have.

    None if the server could not read that now.
    """

    found: tuple[Position, ...] | None


class WindowRecorded(NamedTuple):
    """The server has recorded an unknown window of a source."""

    source: str


class VerdictNoted(NamedTuple):
    """The server has taken a verdict on a file."""


class BatchRefused(NamedTuple):
    """The server will not store a batch as it is. `committed` says how far the source is stored.

    `is_final` distinguishes a line that will never be stored from a disagreement about where the batch begins.
    """

    source: str
    committed: int
    reason: str
    is_final: bool


class Failed(NamedTuple):
    """The server cannot or will not answer a question, or ends the connection; nothing is wrong with its answer."""

    reason: str


class Alive(NamedTuple):
    """A heartbeat: the server is alive, whatever its disk does.

    Unless it `is_storing`, it stores nothing for `reason`, and has not `since` then (Unix time, 0 if it does not say).
    """

    is_storing: bool = True
    reason: str = ""
    since: float = 0.0


class InvalidAnswer(NamedTuple):
    """The server sent something that is not an answer of the extension; nothing after it can be trusted."""

    reason: str


Answer = (
    Welcome
    | NotUnderstood
    | NotAdmitted
    | Position
    | Positions
    | WindowRecorded
    | VerdictNoted
    | BatchRefused
    | Failed
    | ReportPage
    | SourcesPage
    | LossPage
    | StoredContent
    | DamagePage
    | DamageNotice
    | RepairOutcome
    | Alive
    | InvalidAnswer
)


def alive_line(*, reason: str = "", since: float = 0.0) -> bytes:
    """Return a heartbeat; with a `reason`, the server stores nothing since then."""
    if not reason:
        return answer_line("alive")
    return answer_line("alive", storing=False, reason=reason[:MAX_REASON_CHARS], since=round(since, 3))


def positions_line(positions: Iterable[Position]) -> bytes:
    """Return the answer to a request for positions."""
    return answer_line("positions", positions=[[at.source, at.committed, at.lines, at.crc32] for at in positions])


def positions_failed_line(reason: str) -> bytes:
    """Return the answer to a request for positions that the server cannot read now."""
    return answer_line("positions", failed=reason)
