"""The answers of a server, as the client reads them: which keys each has, and what their values may be.

To add an answer, add its value to `messages/answers.py`, and its keys to `_ANSWERS`. Pure: `control_reader.py` reads
every value. Whether an answer belongs to a question, and whether its numbers agree with each other and with what the
client knows, is left to the caller.
"""

import binascii
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from logferry.errors import SPEAKS_TLS
from logferry.names import encodable
from logferry.printable import printable
from logferry.protocol.delivery.control_reader import (
    MAX_UNIX_TIME,
    MalformedLine,
    Shape,
    count,
    crc32,
    flag,
    list_of,
    moment_ms,
    offset,
    optional,
    pair_of,
    read_fields,
    read_object,
    row,
    source_id,
    text,
    whole_number,
)
from logferry.protocol.messages.answers import (
    Alive,
    Answer,
    BatchRefused,
    Failed,
    InvalidAnswer,
    NotAdmitted,
    NotUnderstood,
    Position,
    Positions,
    VerdictNoted,
    Welcome,
    WindowRecorded,
)
from logferry.protocol.messages.features import read_features, read_store_id
from logferry.protocol.messages.repairs import DamagedExtent, DamageNotice, DamagePage, RepairOutcome, StoredContent
from logferry.protocol.messages.reports import (
    Extent,
    LossPage,
    NamedSource,
    RecordedLoss,
    RecordedWindow,
    RecordPlace,
    ReportPage,
    SourcesPage,
)
from logferry.protocol.messages.writing import MAX_LOCATED, MAX_PATH_CHARS, MAX_SOURCES
from logferry.protocol.plain.acks import MAX_REASON_CHARS, TLS_ONLY, answered, parse_ack

_MAX_WORD_CHARS: Final = 64  # of a durability, or the state of an extent

_REASON: Final = text(MAX_REASON_CHARS)
_WORD: Final = text(_MAX_WORD_CHARS)
_POSITION: Final[Shape] = {"source": source_id, "committed": offset, "lines": count, "crc32": crc32}
_LOSSES: Final = list_of(row(RecordedLoss, offset, offset, _REASON))
_WINDOWS: Final = list_of(row(RecordedWindow, offset, moment_ms, moment_ms, _REASON))
_LIMIT: Final = whole_number(least=1)  # with a limit of 0 the client could never send anything

_WELCOME: Final[Shape] = {
    "version": offset,
    "max_batch_bytes": _LIMIT,
    "durability": _WORD,
    "max_sources": optional(_LIMIT, MAX_SOURCES),
    "store": read_store_id,
    "features": read_features,
    "auth": optional(_WORD, ""),
}

_NOT_ADMITTED: Final[Shape] = {"message": _REASON}


def read_welcome(line: bytes) -> Answer:
    """Read the first line of a server: a Welcome, NotUnderstood, or InvalidAnswer."""
    try:
        fields = read_object(line)
        if fields.get("status") == "denied":
            return _not_admitted(**read_fields(fields, _NOT_ADMITTED))
        if fields.get("status") == "ok" and fields.get("message") == "hello" and "version" in fields:
            return Welcome(**read_fields(fields, _WELCOME))
    except MalformedLine as problem:
        if b'"hello"' in line:
            return _invalid(line, problem)
    ack = parse_ack(line)
    if ack is None:
        return InvalidAnswer(answered(line))
    return InvalidAnswer(SPEAKS_TLS) if ack.message == TLS_ONLY else NotUnderstood(answered_as_line=ack.ok)


def read_answer(line: bytes) -> Answer:
    """Read a line that follows the welcome."""
    try:
        fields = read_object(line)
        kind = fields.get("message") if fields.get("status") == "ok" else fields.get("status")
        if kind == "error" and "source" not in fields:
            kind = "failed"
        if type(kind) is not str or kind not in _ANSWERS:
            raise MalformedLine("it is not of a known kind")
        shape, make = _ANSWERS[kind]
        return make(**read_fields(fields, shape))
    except MalformedLine as problem:
        return _invalid(line, problem)


def _invalid(line: bytes, problem: MalformedLine) -> InvalidAnswer:
    return InvalidAnswer(f"the server's answer is not part of the delivery extension ({problem}): {line[:80]!r}")


def _alive(storing: Any, reason: Any, since: Any) -> Alive:
    """Read a heartbeat; what a server says wrongly about its storing is ignored, because it is alive all the same."""
    if storing is not False:
        return Alive()
    shown = encodable(reason[:MAX_REASON_CHARS]) if type(reason) is str and reason else "it does not say why"
    is_time = (type(since) is int or type(since) is float) and 0 <= cast("float", since) < MAX_UNIX_TIME
    return Alive(is_storing=False, reason=shown, since=float(since) if is_time else 0.0)


def _positions(failed: Any, positions: tuple[Position, ...] | None) -> Positions:
    if failed is None and positions is None:
        raise MalformedLine("positions is not a list")
    return Positions(positions if failed is None else None)


def _damaged(source: str, extents: tuple[DamagedExtent, ...], more: bool) -> DamagePage:
    if any(extent.start > extent.end for extent in extents):
        raise MalformedLine("extents end before they start")
    return DamagePage(source, extents, more)


def _report(
    known: bool, more: bool, extents: tuple[Extent, ...], unreadable: tuple[tuple[int, str], ...], **fields: Any
) -> ReportPage:
    if unreadable:
        problems = dict(unreadable)
        extents = tuple(
            extent._replace(state="unreadable", problem=problems[extent.start])
            if extent.start in problems and extent.state == "missing"
            else extent
            for extent in extents
        )
    return ReportPage(is_known=known, has_more=more, extents=extents, **fields)


def _not_admitted(message: str) -> NotAdmitted:
    return NotAdmitted(printable(message))


def _next(value: Any) -> RecordPlace | None:
    return None if value is None else row(RecordPlace, offset, offset, offset)(value)


def _base64(value: Any) -> bytes:
    if type(value) is not str:
        raise MalformedLine("is not a text")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raise MalformedLine("is not base64") from None


def _anything(value: Any) -> Any:
    return value


def _located(source: str, committed: int, lines: int, crc32: int) -> Position:
    return Position(source, committed, lines, crc32, is_answer_to_open=False)


_ANSWERS: Final[Mapping[str, tuple[Shape, Callable[..., Answer]]]] = {
    "open": (_POSITION, lambda **fields: Position(**fields, is_answer_to_open=True)),
    "received": (_POSITION, lambda **fields: Position(**fields, is_answer_to_open=False)),
    "window": ({"source": source_id}, WindowRecorded),
    "verdict": ({}, VerdictNoted),
    "alive": ({"storing": _anything, "reason": _anything, "since": _anything}, _alive),
    "report": (
        {
            **_POSITION,
            "known": flag,
            "extents": list_of(row(Extent, offset, offset, count, crc32, _WORD, text(MAX_PATH_CHARS))),
            "losses": _LOSSES,
            "more": flag,
            "windows": optional(_WINDOWS, ()),
            "skipped": optional(list_of(pair_of(offset, offset)), ()),
            "unreadable": optional(list_of(pair_of(offset, _REASON)), ()),
        },
        _report,
    ),
    "losses": (
        {"source": source_id, "losses": _LOSSES, "skipped": _LOSSES, "windows": _WINDOWS, "next": _next},
        lambda losses, **fields: LossPage(lost=losses, **fields),
    ),
    "sources": (
        {"sources": list_of(row(NamedSource, source_id, offset, count, moment_ms)), "more": flag},
        lambda sources, more: SourcesPage(sources, more),
    ),
    "positions": (
        {
            "failed": _anything,
            "positions": optional(list_of(row(_located, source_id, offset, count, crc32), most=MAX_LOCATED), None),
        },
        _positions,
    ),
    "content": ({"source": source_id, "start": offset, "position": offset, "data": _base64}, StoredContent),
    "damaged": (
        {"source": source_id, "extents": list_of(row(DamagedExtent, offset, offset, count, crc32)), "more": flag},
        _damaged,
    ),
    "damage": ({"source": source_id}, DamageNotice),
    "repair": (
        {"source": source_id, "start": offset, "whole": flag, "reason": _REASON},
        lambda whole, **fields: RepairOutcome(is_whole=whole, **fields),
    ),
    "failed": ({"message": _REASON}, lambda message: Failed(printable(message))),
    "denied": (_NOT_ADMITTED, _not_admitted),
    "error": (
        {"source": source_id, "committed": offset, "message": _REASON, "final": flag},
        lambda source, committed, message, final: BatchRefused(source, committed, message, final),
    ),
}
