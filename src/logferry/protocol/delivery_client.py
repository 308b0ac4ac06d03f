"""The client's side of the delivery extension, without the socket: bytes in, answers out.

Owns the beginning of an answer that is not complete yet. Must never read a clock or a socket.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from logferry.protocol.acks import MAX_REASON_CHARS, answered, parse_ack
from logferry.protocol.delivery import MAX_LOCATED, MAX_OFFSET, MAX_SOURCES, json_object
from logferry.protocol.delivery_answers import (
    Alive,
    Answer,
    BatchRefused,
    InvalidAnswer,
    NotUnderstood,
    Position,
    Positions,
    Welcome,
    WindowRecorded,
)
from logferry.protocol.delivery_repairs import read_content, read_damage, read_notice, read_repair
from logferry.protocol.delivery_reports import (
    Extent,
    NamedSource,
    RecordedLoss,
    RecordedWindow,
    ReportPage,
    SourcesPage,
)
from logferry.protocol.features import read_features, read_store_id

# The longest answer is a page of a report, with room for long reasons and paths.
_MAX_ANSWER_BYTES: Final = 1024 * 1024


# Times of a server are shown to users: in the year 5138, every library still accepts them.
MAX_UNIX_TIME: Final = 1e11


class DeliveryClientProtocol:
    """Turns complete lines of the server into answers; the first shows whether the server knows the extension."""

    def __init__(self) -> None:
        self._buffer = b""
        self._is_welcome = False
        self._put_back: list[Answer] = []

    def put_back(self, answers: Sequence[Answer]) -> None:
        """Return answers that the caller has no use for now; the next call of `receive_data` returns them again."""
        self._put_back += answers

    @property
    def has_answers(self) -> bool:
        """Whether `receive_data` has something to return even without data."""
        return bool(self._put_back)

    def receive_data(self, data: bytes) -> list[Answer]:
        """Accept bytes from the socket; return the answers in order, up to the first that is invalid."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        answers, self._put_back = self._put_back, []
        for place, line in enumerate(lines):
            answer = self._read(line)
            answers.append(answer)
            if isinstance(answer, InvalidAnswer | NotUnderstood):
                self._buffer = b"\n".join((*lines[place + 1 :], self._buffer))
                return answers
        if len(self._buffer) > _MAX_ANSWER_BYTES:
            answers.append(InvalidAnswer(f"the server's answer does not end within {_MAX_ANSWER_BYTES} bytes"))
        return answers

    @property
    def unread(self) -> bytes:
        """What has arrived and was not returned as an answer."""
        return self._buffer

    def _read(self, line: bytes) -> Answer:
        fields = json_object(line)
        try:
            if not self._is_welcome:
                return self._read_welcome(fields, line)
            return _ANSWERS[str(fields["message"]) if fields["status"] == "ok" else "error"](fields)
        except (KeyError, TypeError, ValueError, OverflowError):  # OverflowError: JSON has numbers like 1e400
            return InvalidAnswer(f"the server's answer is not part of the delivery extension: {line[:80]!r}")

    def _read_welcome(self, fields: Mapping[str, Any], line: bytes) -> Answer:
        if fields.get("status") == "ok" and fields.get("message") == "hello" and "version" in fields:
            self._is_welcome = True
            max_batch_bytes, max_sources = int(fields["max_batch_bytes"]), int(fields.get("max_sources", MAX_SOURCES))
            if min(max_batch_bytes, max_sources) < 1:
                raise ValueError("with such limits the client could never send anything")
            return Welcome(
                int(fields["version"]),
                max_batch_bytes,
                str(fields["durability"]),
                max_sources,
                read_store_id(fields.get("store")),
                read_features(fields.get("features")),
            )
        ack = parse_ack(line)
        if ack is not None:
            return NotUnderstood(answered_as_line=ack.ok)
        return InvalidAnswer(answered(line))


def _read_position(fields: Mapping[str, Any], *, is_answer_to_open: bool) -> Position:
    return Position(
        str(fields["source"]),
        int(fields["committed"]),
        int(fields["lines"]),
        int(fields["crc32"]),
        is_answer_to_open,
    )


def _read_alive(fields: Mapping[str, Any]) -> Alive:
    """Read a heartbeat; what a server says wrongly about its storing is ignored, because it is alive all the same."""
    if fields.get("storing") is not False:
        return Alive()
    reason, since = fields.get("reason"), cast("float", fields.get("since"))
    shown = reason[:MAX_REASON_CHARS] if type(reason) is str and reason else "it does not say why"
    is_time = (type(since) is int or type(since) is float) and 0 <= since < MAX_UNIX_TIME
    return Alive(is_storing=False, reason=shown, since=float(since) if is_time else 0.0)


def _read_positions(fields: Mapping[str, Any]) -> Positions:
    if "failed" in fields:
        return Positions(None)
    rows: Sequence[Sequence[Any]] = fields["positions"]
    if type(rows) is not list:
        raise TypeError("these are not positions")
    found = tuple(Position(source, committed, lines, crc32, False) for source, committed, lines, crc32 in rows)
    if len(found) > MAX_LOCATED or not all(map(_is_possible, found)):
        raise ValueError("these are not positions")
    return Positions(found)


def _is_possible(at: Position) -> bool:
    numbers = (at.committed, at.lines, at.crc32)
    return type(at.source) is str and all(type(number) is int and 0 <= number <= MAX_OFFSET for number in numbers)


def _read_report(fields: Mapping[str, Any]) -> ReportPage:
    extents: Sequence[Sequence[Any]] = fields["extents"]
    losses: Sequence[Sequence[Any]] = fields["losses"]
    return ReportPage(
        source=str(fields["source"]),
        is_known=bool(fields["known"]),
        committed=int(fields["committed"]),
        lines=int(fields["lines"]),
        crc32=int(fields["crc32"]),
        extents=tuple(Extent(*extent) for extent in extents),
        losses=tuple(RecordedLoss(*loss) for loss in losses),
        has_more=bool(fields["more"]),
        windows=tuple(map(_read_window, fields.get("windows", ()))),
        skipped=tuple((int(start), int(end)) for start, end in fields.get("skipped", ())),
    )


def _read_sources(fields: Mapping[str, Any]) -> SourcesPage:
    rows: Sequence[Sequence[Any]] = fields["sources"]
    sources = tuple(NamedSource(str(source), *map(_number, numbers)) for source, *numbers in rows)
    return SourcesPage(sources, bool(fields["more"]))


def _read_window(fields: Sequence[Any]) -> RecordedWindow:
    start, last_look, noticed, reason = fields
    return RecordedWindow(_number(start), _number(last_look), _number(noticed), str(reason))


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_OFFSET:
        raise ValueError(f"not an offset, a count or a time: {value!r}")
    return value


_ANSWERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Answer]]] = {
    "open": lambda fields: _read_position(fields, is_answer_to_open=True),
    "received": lambda fields: _read_position(fields, is_answer_to_open=False),
    "window": lambda fields: WindowRecorded(str(fields["source"])),
    "alive": _read_alive,
    "report": _read_report,
    "sources": _read_sources,
    "positions": _read_positions,
    "content": read_content,
    "damaged": read_damage,
    "damage": read_notice,
    "repair": read_repair,
    "error": lambda fields: BatchRefused(
        str(fields["source"]), int(fields["committed"]), str(fields["message"]), bool(fields["final"])
    ),
}
