"""What tests are made of: log files, a clock, generated lines, cuts of bytes, and a server's decoder fed with them."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from hypothesis import strategies as st

from logferry.protocol.compressor import LENGTH_BYTES
from logferry.protocol.lines.validation import Accept, Lines
from logferry.protocol.plain.server import Limits, PlainServerProtocol, ServerEvent

# Pieces of lines, most of them legal in some place and none of them legal in every place.
_GRAMMAR = [
    *("2024-01-15", " ", "T", "08:23:45", ".123", ",5", "Z", "UTC", " GMT", "+01:00", "-0530", " +02"),
    *("INFO", "warn", "[ERROR]", "[x", "Debug:", ":", "]", "message", "é", "\u2028", "\ufeff", "\ud7ff", "🚢"),
    *("\t", "\r", "\x00", "\x0b", "\x1f", "\x7f", '"', "\\", "\\t", "\\u0000", "  ", "2024-01-15 08:23:45 INFO "),
]
_NOT_UTF8 = [b"\xff", b"\xe9", b"\xed\xa0\x80", b"\xc0\xaf", b"\xe2\x82", b"\x80"]

_pieces = st.one_of(
    st.sampled_from([piece.encode() for piece in _GRAMMAR]),
    st.sampled_from([piece.encode() for piece in _GRAMMAR] + _NOT_UTF8),
    st.binary(max_size=3),
)


def _without_newline(line: bytes) -> bytes:
    return line.replace(b"\n", b"")


_beginnings = st.sampled_from([b"", b"2024-01-15 08:23:45 ", b"2024-01-15T08:23:45.5Z INFO ", b"2024-01-15 08:23:45\t"])

# Lines of a log file, without their newlines, that are or nearly are of the known shape.
log_lines = st.builds(
    lambda begin, rest: _without_newline(begin + b"".join(rest)), _beginnings, st.lists(_pieces, max_size=8)
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut `data` at the given places (modulo its length) into pieces that join to it."""
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


def decode(
    pieces: Iterable[bytes],
    *,
    limits: Limits,
    accept: Accept = Accept.LEVEL_AND_MESSAGE,
    are_held: bool = False,
) -> list[ServerEvent]:
    """Give `pieces` to a server's side of a connection, then the end; return its events, runs of lines joined.

    As a server does, it takes all there is to say before it gives the next piece. The buffer must stay within bounds.
    With `are_held`, pieces are left to the next step.
    """
    connection = PlainServerProtocol(limits=limits, accept=accept)
    most = max(limits.max_record_bytes, limits.max_frame_bytes + LENGTH_BYTES)
    events: list[ServerEvent] = []
    for piece in pieces:
        if are_held:
            connection.hold_data(piece)
        else:
            events += connection.receive_data(piece)
        while connection.has_more:
            events += connection.next_events()
        assert connection.buffered_bytes <= most
    events += connection.receive_eof()
    while connection.has_more:
        events += connection.next_events()
    return join_runs(events)


def join_runs(events: list[ServerEvent]) -> list[ServerEvent]:
    """Join neighbouring runs of valid lines: where one was cut is no part of what was said."""
    joined: list[ServerEvent] = []
    for event in events:
        last = joined[-1] if joined else None
        if isinstance(event, Lines) and isinstance(last, Lines):
            joined[-1] = Lines(last.payload + event.payload, last.count + event.count)
        else:
            joined.append(event)
    return joined


def append(path: Path, data: bytes) -> None:
    """Append to a file; create it if it is not there."""
    with path.open("ab") as file:
        file.write(data)


def rewrite(path: Path, data: bytes) -> None:
    """Replace what is in a file; it stays the same file."""
    with path.open("r+b") as file:
        file.truncate()
        file.write(data)


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
