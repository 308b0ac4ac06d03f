"""The control lines of a client, as the server reads them: which keys each has, and what their values may be.

To add a message, add its value to `messages/requests.py`, and its keys to `_LINES`. Owns the limits of texts. Pure:
`control_reader.py` reads every value; which bytes follow a header is left to `server.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from logferry.protocol.delivery.control_reader import (
    MalformedLine,
    Shape,
    count,
    crc32,
    flag,
    list_of,
    moment_ms,
    offset,
    one_of,
    optional,
    read_fields,
    read_object,
    row,
    short_text,
    source_id,
    text,
)
from logferry.protocol.messages.client_state import ClientState, FileVerdict
from logferry.protocol.messages.features import read_features
from logferry.protocol.messages.reports import RecordPlace
from logferry.protocol.messages.requests import (
    Auth,
    Content,
    Damaged,
    End,
    Hello,
    Locate,
    Losses,
    Note,
    Open,
    Ping,
    Report,
    Request,
    Skip,
    SourcesOf,
    Violation,
    Window,
)
from logferry.protocol.messages.writing import (
    MAX_LOCATED,
    MAX_NAME_CHARS,
    MAX_OFFSET,
    MAX_PATH_CHARS,
    MAX_TOKEN_CHARS,
    VERSION,
)
from logferry.protocol.plain.acks import MAX_REASON_CHARS

MAX_VERSION_CHARS: Final = 64

_PATH: Final = text(MAX_PATH_CHARS)
_HOST: Final = text(MAX_NAME_CHARS)
_REASON: Final = text(MAX_REASON_CHARS)


def _read_feature_list(value: Any) -> frozenset[str]:
    if type(value) is not list:
        raise MalformedLine("is not a list")
    return read_features(value)


def _hello(version: int, client: str, host: str, features: frozenset[str]) -> Hello:
    if version < VERSION:
        raise MalformedLine(f"this server speaks version {VERSION}")
    return Hello(client, host, features)


_RANGE: Final[Shape] = {"source": source_id, "start": offset, "end": offset}
_BODY: Final[Shape] = {
    **_RANGE,
    "lines": count,
    "bytes": count,
    "encoding": one_of("identity", "gzip"),
    "crc32": crc32,
}

_Line = tuple[Shape, Callable[..., Request | dict[str, Any]]]

_LINES: Final[Mapping[str, _Line]] = {
    "hello": (
        {
            "version": offset,
            "client": short_text(MAX_NAME_CHARS, least=1),
            "host": _HOST,
            "features": optional(_read_feature_list, frozenset()),
        },
        _hello,
    ),
    "auth": ({"token": short_text(MAX_TOKEN_CHARS, least=1)}, Auth),
    "open": ({"source": source_id, "path": _PATH, "known": optional(offset, MAX_OFFSET)}, Open),
    "batch": ({**_BODY, "split": optional(flag, False)}, lambda **fields: {"logferry": "batch", **fields}),
    "skip": ({**_RANGE, "reason": _REASON, "lost": optional(flag, True)}, Skip),
    "note": ({**_RANGE, "reason": _REASON}, Note),
    "window": (
        {"source": source_id, "start": offset, "last_look": moment_ms, "noticed": moment_ms, "reason": _REASON},
        Window,
    ),
    "report": ({"source": source_id, "after": offset}, Report),
    "losses": ({"source": source_id, "first": row(RecordPlace, offset, offset, offset)}, Losses),
    "sources": ({"host": _HOST, "path": _PATH, "after": text(MAX_NAME_CHARS)}, SourcesOf),
    "positions": ({"sources": list_of(source_id, least=1, most=MAX_LOCATED)}, Locate),
    "content": (
        {"source": source_id, "start": offset, "position": offset, "bytes": count},
        lambda bytes, **fields: Content(**fields, size=bytes),
    ),
    "damaged": ({"source": source_id, "after": offset}, Damaged),
    "repair": (_BODY, lambda **fields: {"logferry": "repair", **fields}),
    "ping": (
        {
            "version": optional(text(MAX_VERSION_CHARS), ""),
            "unread_bytes": optional(offset, 0),
            "unacked_bytes": optional(offset, 0),
            "unacked_lines": optional(offset, 0),
            "behind_since": optional(moment_ms, 0),
            "waits_for": optional(_REASON, ""),
        },
        lambda version, **fields: Ping(ClientState(version, **fields) if version else None),
    ),
    "verdict": (
        {
            **dict.fromkeys(("lines", "stored", "missing", "altered", "repeated", "lost"), offset),
            "path": _PATH,
            "proven": flag,
            "verdict": _REASON,
        },
        lambda proven, **fields: FileVerdict(is_proven=proven, **fields),
    ),
    "end": ({}, End),
}


def read_control_line(line: bytes) -> Request | dict[str, Any]:
    """Parse one control line; return the header of a batch or repair as its fields."""
    try:
        given = read_object(line)
    except MalformedLine as problem:
        return Violation(f"not a control line that this server knows: {problem}")
    kind = given.get("logferry")
    if type(kind) is not str or kind not in _LINES:
        return Violation("not a control line that this server knows")
    shape, make = _LINES[kind]
    try:
        values = read_fields(given, shape)
        _check_range(values)
        return make(**values)
    except MalformedLine as problem:
        return Violation(f"{kind}: {problem}")


def _check_range(values: Mapping[str, Any]) -> None:
    if "end" in values and values["end"] < values["start"]:
        raise MalformedLine("end is before start")
    if "encoding" in values and values["lines"] > values["end"] - values["start"]:
        raise MalformedLine("more lines than bytes in its range")
