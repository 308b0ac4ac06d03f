"""Both sides of a conversation, without sockets (docs/protocol.md, rules M1 to M9, L5, L6, A1, C4).

Everything that is fed to the server's side is fed whole and byte by byte; both must give the same events.
"""

import tracemalloc
import zlib
from itertools import pairwise

import pytest

from logferry.protocol.compressor import LENGTH_BYTES, encode_frame, inflate
from logferry.protocol.lines.validation import Accept, Lines, Rejected
from logferry.protocol.plain.acks import ACK_OK, error_ack
from logferry.protocol.plain.client import (
    MAX_ACK_BYTES,
    Acked,
    ClientEvent,
    InvalidAck,
    PlainClientProtocol,
    Refused,
    cut_lines,
)
from logferry.protocol.plain.server import MAX_FRAME_REFUSALS, Broken, Limits, Met, PlainServerProtocol, ServerEvent
from logferry.protocol.steps import INFLATED_WEIGHT, SCANNED_WEIGHT, STEP_BYTES, STEP_LINES, STEP_REQUESTS
from tests.support.builders import decode

LIMITS = Limits(max_record_bytes=1024, max_frame_bytes=4096, max_inflated_bytes=16384)
LINE = b'{"level": "INFO", "message": "line 1", "timestamp": "2024-01-15 08:23:45"}\n'
BIG = b"\x01\x00\x00\x00\x1f\x8b"  # begins a frame of 16 MiB

TOO_LONG = Rejected("line longer than 1024 bytes")
TOO_LARGE = Broken("frame longer than 4096 bytes")


def numbered_lines(count: int) -> bytes:
    return b"".join(LINE.replace(b"1", b"%d" % number, 1) for number in range(count))


def frame(payload: bytes) -> bytes:
    return encode_frame(payload, level=1)


def raw_frame(body: bytes) -> bytes:
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def events_of(data: bytes, *, accept: Accept = Accept.LEVEL_AND_MESSAGE) -> list[ServerEvent]:
    """Return what `data` and the end after it mean to a server, however it arrives."""
    whole = decode([data], limits=LIMITS, accept=accept)
    assert decode((data[place : place + 1] for place in range(len(data))), limits=LIMITS, accept=accept) == whole
    return whole


def reasons(data: bytes) -> list[str]:
    events = events_of(data)
    assert all(isinstance(event, Rejected) for event in events)
    return [event.reason for event in events if isinstance(event, Rejected)]


def server(limits: Limits = LIMITS) -> PlainServerProtocol:
    return PlainServerProtocol(limits=limits, accept=Accept.LEVEL_AND_MESSAGE)


# --- lines ------------------------------------------------------------------------------------------------------------


def test_lines_become_one_event_that_holds_them_as_they_are() -> None:
    """Rules M2 and L7."""
    lines = numbered_lines(20)
    assert events_of(lines) == [Lines(lines, 20)]


def test_nothing_means_nothing() -> None:
    assert events_of(b"") == []


def test_an_unfinished_line_waits_for_its_end() -> None:
    """Rule M2."""
    connection = server()
    assert connection.receive_data(LINE[:30]) == []
    assert connection.buffered_bytes == 30
    assert connection.receive_data(LINE[30:] + LINE[:10]) == [Lines(LINE, 1)]
    assert connection.buffered_bytes == 10


def test_blank_lines_are_answered_with_an_error_each() -> None:
    """Rule L5."""
    assert events_of(LINE + b"\n\r\n \n" + LINE) == [Lines(LINE, 1), *[Rejected("empty line")] * 3, Lines(LINE, 1)]


def test_rubbish_between_lines_is_refused_line_by_line() -> None:
    events = events_of(LINE + b"hello\n[1]\n" + LINE)
    assert [type(event) for event in events] == [Lines, Rejected, Rejected, Lines]


def test_any_object_is_taken_where_that_is_asked_for() -> None:
    """Rule L1."""
    assert events_of(b'{"log": 1}\n', accept=Accept.ANY_OBJECT) == [Lines(b'{"log": 1}\n', 1)]


def test_a_line_at_the_limit_is_taken_and_a_longer_one_is_refused_once() -> None:
    """Rule L6."""

    def line_of(size: int) -> bytes:
        return LINE.replace(b"line 1", b"x" * (size - len(LINE) + len(b"line 1")))

    assert events_of(line_of(1024)) == [Lines(line_of(1024), 1)]
    assert events_of(line_of(1025)) == [TOO_LONG]
    assert events_of(LINE + line_of(1025) + LINE) == [Lines(LINE, 1), TOO_LONG, Lines(LINE, 1)]
    assert events_of(line_of(5000) + line_of(1026) + line_of(1024)) == [TOO_LONG, TOO_LONG, Lines(line_of(1024), 1)]


def test_a_line_without_end_is_refused_as_soon_as_it_is_too_long_and_passed_over_to_its_newline() -> None:
    """Rule L6."""
    connection = server()
    assert connection.receive_data(b"{" + b"x" * 1023) == []
    assert connection.receive_data(b"x") == [TOO_LONG]
    for _ in range(100):
        assert connection.receive_data(b"x" * 1000) == []
        assert connection.buffered_bytes == 0
    assert connection.receive_data(b"x\n" + LINE) == [Lines(LINE, 1)]


def test_a_long_line_that_never_ends_is_refused_once() -> None:
    assert events_of(b"x" * 3000) == [TOO_LONG]


def test_a_last_line_without_newline_is_judged_at_the_end() -> None:
    """Rule M9."""
    assert events_of(LINE + LINE[:-1]) == [Lines(LINE * 2, 2)]
    assert len(reasons(LINE[:20])) == 1


def test_a_last_line_of_white_space_is_an_empty_line() -> None:
    assert reasons(b"  ") == ["empty line"]


# --- frames -----------------------------------------------------------------------------------------------------------


def test_a_frame_holds_lines() -> None:
    """Rule M3."""
    assert events_of(frame(LINE * 10)) == [Lines(LINE * 10, 10)]


def test_the_last_line_of_a_frame_may_lack_its_newline() -> None:
    """Rule M3."""
    assert events_of(frame(LINE + LINE[:-1])) == [Lines(LINE * 2, 2)]


def test_lines_and_frames_alternate() -> None:
    """Rules M1 and M4."""
    data = LINE + frame(LINE * 2) + frame(LINE * 3) + LINE * 4 + frame(LINE * 5) + LINE
    assert events_of(data) == [Lines(LINE * 16, 16)]


def test_the_lines_of_a_frame_are_judged_like_others() -> None:
    events = events_of(frame(LINE + b"\n" + b"rubbish\n" + LINE + b"x" * 2000 + b"\n" + LINE))
    assert [type(event) for event in events] == [Lines, Rejected, Rejected, Lines, Rejected, Lines]
    assert events[4] == TOO_LONG


def test_what_begins_a_frame_begins_nothing_inside_a_frame() -> None:
    events = events_of(frame(LINE + b"\0\0\0\1x\n" + BIG + b"\n" + LINE))
    assert [type(event) for event in events] == [Lines, Rejected, Rejected, Lines]


def test_a_frame_of_length_zero_is_refused_and_the_connection_lives() -> None:
    """Rule M6."""
    assert events_of(LINE + bytes(4) + LINE + bytes(8)) == [
        Lines(LINE, 1),
        Rejected("empty frame"),
        Lines(LINE, 1),
        Rejected("empty frame"),
        Rejected("empty frame"),
    ]


def test_a_frame_of_no_lines_is_refused() -> None:
    """Rule M8."""
    assert reasons(frame(b"")) == ["empty frame"]
    assert reasons(frame(b"\n")) == ["empty line"]


@pytest.mark.parametrize("body", [b"x", b"not gzip", b"\x1fx", zlib.compress(LINE), LINE, b"\n\n\n", b"\0" * 50])
def test_a_frame_that_is_not_gzip_is_refused_once_and_passed_over(body: bytes) -> None:
    """Rule M5."""
    assert events_of(raw_frame(body) + LINE) == [Rejected("frame is not gzip"), Lines(LINE, 1)]


def test_the_body_of_a_frame_that_is_not_gzip_is_never_held() -> None:
    connection = server()
    assert connection.receive_data(b"\0\0\x10\0no") == [Rejected("frame is not gzip")]
    for _ in range(4):
        assert connection.receive_data(b"x" * 1000) == []
        assert connection.buffered_bytes == 0
    assert connection.receive_data(b"x" * 94 + LINE) == [Lines(LINE, 1)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (frame(LINE * 9)[LENGTH_BYTES:-9], "bad gzip: the data ends too early"),
        (b"\x1f", "bad gzip: the data ends too early"),
        (b"\x1f\x8b", "bad gzip: the data ends too early"),
        (frame(LINE)[LENGTH_BYTES:] + b"\0", "bad gzip: data after the end of the gzip member"),
        (frame(LINE)[LENGTH_BYTES:] * 2, "bad gzip: data after the end of the gzip member"),
        (frame(LINE)[LENGTH_BYTES:-1] + b"\xff", "bad gzip: "),
        (b"\x1f\x8b rubbish", "bad gzip: "),
        (frame(b"\n" * 16385)[LENGTH_BYTES:], "frame inflates to more than 16384 bytes"),
    ],
)
def test_a_frame_that_is_broken_inside_is_refused_once(body: bytes, reason: str) -> None:
    """Rule M8."""
    first, rest = events_of(raw_frame(body) + LINE)
    assert isinstance(first, Rejected)
    assert first.reason.startswith(reason)
    assert rest == Lines(LINE, 1)


def test_a_bomb_takes_no_memory() -> None:
    bomb = frame(b"\n" * 100_000_000)
    connection = server(Limits(max_inflated_bytes=100_000))
    tracemalloc.start()
    try:
        assert connection.receive_data(bomb) == [Rejected("frame inflates to more than 100000 bytes")]
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_at_the_limit_is_taken() -> None:
    body = frame(LINE)[LENGTH_BYTES:]
    limits = Limits(max_frame_bytes=len(body))
    assert decode([raw_frame(body)], limits=limits) == [Lines(LINE, 1)]
    assert decode([raw_frame(body + b"x")], limits=limits) == [Broken(f"frame longer than {len(body)} bytes")]


@pytest.mark.parametrize("header", [b"\0\0\x10\x01", b"\0\xff\xff\xff"])
def test_a_frame_length_over_the_limit_ends_the_conversation_at_its_header(header: bytes) -> None:
    """Rule M7."""
    connection = server()
    assert connection.receive_data(LINE + header) == [Lines(LINE, 1), TOO_LARGE]
    assert connection.receive_data(LINE) == []
    assert connection.receive_eof() == []
    assert connection.buffered_bytes == 0


@pytest.mark.parametrize("header", [b"\x01\0\0\0", b"\xff\xff\xff\xff", b"A   ", b"\x1f\x8b\x1f\x8b", b"\x80\0\0\0"])
@pytest.mark.parametrize("rest", [b"", b"x", b"\n", b"\n" + LINE, b"\0\n\0", b"x" * 2000 + b"\n"])
def test_a_frame_of_sixteen_mebibytes_or_more_is_known_by_its_magic_wherever_a_newline_follows(
    header: bytes, rest: bytes
) -> None:
    """Rule M7."""
    assert events_of(header + b"\x1f\x8b" + rest) == [TOO_LARGE]
    assert events_of(LINE + header + b"\x1f\x8b" + rest) == [Lines(LINE, 1), TOO_LARGE]
    assert events_of(frame(LINE) + b"x\n" + header + b"\x1f\x8b" + rest)[-1] == TOO_LARGE


@pytest.mark.parametrize(
    "line", [b"{abc\x1f\x8b", b"\nabc\x1f\x8b", b"a\nbc\x1f\x8b", b"abc\n\x1f\x8b", b"abcd \x1f\x8b"]
)
def test_the_magic_in_another_place_makes_no_frame(line: bytes) -> None:
    """Rule M7."""
    assert not any(isinstance(event, Broken) for event in events_of(line + b"\n" + LINE))


@pytest.mark.parametrize("size", range(1, 60, 7))
def test_a_frame_that_is_cut_short_by_the_end_is_refused(size: int) -> None:
    """Rule M9."""
    assert events_of(LINE + frame(LINE)[:size]) == [
        Lines(LINE, 1),
        Rejected("connection closed in the middle of a frame"),
    ]


def test_rubbish_that_begins_with_nul_gives_a_bounded_number_of_answers() -> None:
    assert len(events_of(b"\0" * 4000)) <= 1000
    assert [type(event) for event in events_of(b"\0rubbish\n" + LINE)] == [Broken]


def test_a_nul_inside_a_line_begins_no_frame() -> None:
    """Rule M4."""
    assert [type(event) for event in events_of(b"a\0b\n" + LINE + b"x\0\n" + LINE)] == [
        Rejected,
        Lines,
        Rejected,
        Lines,
    ]


# --- steps ------------------------------------------------------------------------------------------------------------


def steps_of(connection: PlainServerProtocol, data: bytes) -> list[list[ServerEvent]]:
    """Return the events of each step that `data` takes."""
    steps = [connection.receive_data(data)]
    while connection.has_more:
        steps.append(connection.next_events())
    return steps


def test_a_large_frame_is_judged_in_steps_and_what_follows_waits() -> None:
    """Rule M15."""
    connection = server(Limits())
    count = 4 * STEP_BYTES // len(LINE)
    events = connection.receive_data(frame(LINE * count) + LINE + b"x\n")
    steps = [sum(event.count for event in events if isinstance(event, Lines))]
    assert connection.has_more
    assert connection.receive_data(LINE[:5]) == []
    most = 0
    while connection.has_more:
        most = max(most, connection.unjudged_bytes)
        events = connection.next_events()
        steps.append(sum(event.count for event in events if isinstance(event, Lines)))
    assert most >= len(LINE) * count
    assert sum(step > 0 for step in steps) >= 4
    assert max(steps) <= STEP_BYTES // len(LINE) + 2
    assert sum(steps) == count + 1
    assert isinstance(events[-1], Rejected)
    assert connection.unjudged_bytes == 0
    assert connection.receive_data(LINE[5:]) == [Lines(LINE, 1)]


def test_a_frame_inflates_in_steps() -> None:
    connection = server(Limits())
    size = 8 * STEP_BYTES
    connection.receive_data(frame(LINE * (size // len(LINE))))
    held = [connection.unjudged_bytes]
    while not connection.next_events():
        held.append(connection.unjudged_bytes)
    grown = [after - before for before, after in pairwise(held)]
    assert max(grown) <= STEP_BYTES // INFLATED_WEIGHT + 100_000  # what is left of the body lies in the same account
    assert len(held) >= size * INFLATED_WEIGHT // STEP_BYTES


@pytest.mark.parametrize(
    "line", [b"\n", b"x\n", b"\xff\n", b" " + LINE], ids=["blank", "rubbish", "not UTF-8", "space"]
)
@pytest.mark.parametrize("may_be_strange", [True, False])
def test_lines_that_no_pattern_recognises_take_steps(line: bytes, may_be_strange: bool) -> None:
    connection = server(Limits())
    if not may_be_strange:
        connection.receive_data(LINE)
    count = 5 * STEP_LINES
    steps = steps_of(connection, line * count)
    assert max(map(len, steps)) <= STEP_LINES
    assert sum(map(len, steps)) == count


@pytest.mark.parametrize(
    "data",
    [raw_frame(b""), raw_frame(b"x"), raw_frame(b"\x1f\x8b"), frame(b""), frame(LINE), raw_frame(b"") + LINE],
    ids=["empty", "not gzip", "broken gzip", "nothing in gzip", "one line", "between lines"],
)
def test_small_frames_take_steps(data: bytes) -> None:
    """Rule M15: also those that are refused, of which one read may hold ten thousands."""
    connection = server(Limits())
    connection.receive_data(LINE)
    count = 5 * STEP_REQUESTS
    steps = steps_of(connection, data * count)
    kind = Rejected if any(isinstance(event, Rejected) for event in steps[0]) else Lines
    frames = [sum(isinstance(event, kind) for event in events) for events in steps]
    assert max(frames) <= STEP_REQUESTS
    assert sum(frames) == count


def test_a_long_line_is_judged_in_steps_also_at_the_end() -> None:
    line = LINE.replace(b"line 1", b"[1, " * 20 + b"x" * (2 * STEP_BYTES))[:-2] + b', "a": [[[[[[[1]]]]]]]}'
    whole, cut_short = server(Limits()), server(Limits())
    steps = steps_of(whole, line + b"\n")
    assert [event for events in steps for event in events] == [Lines(line + b"\n", 1)]
    assert len(steps) >= 2 * SCANNED_WEIGHT
    steps_of(cut_short, line)
    assert cut_short.receive_eof() == []
    events = []
    while cut_short.has_more:
        events += cut_short.next_events()
    assert events == [Lines(line + b"\n", 1)]


def test_the_rest_of_a_frame_with_many_bad_lines_is_refused_once() -> None:
    """Rule M14."""
    bad = MAX_FRAME_REFUSALS
    events = decode([frame(LINE + b"x\n" * bad + LINE) + LINE], limits=Limits())
    assert [type(event) for event in events] == [Lines, *[Rejected] * (bad + 1), Lines]
    assert isinstance(events[-2], Rejected)
    assert events[-2].reason.startswith("the rest of a frame")
    events = decode([frame(LINE + b"x\n" * (bad - 1) + LINE) + LINE], limits=Limits())
    assert [type(event) for event in events] == [Lines, *[Rejected] * (bad - 1), Lines]


@pytest.mark.parametrize("size", [STEP_BYTES - 1, 3 * STEP_BYTES, 5 * STEP_BYTES])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_long_lines_of_a_frame_are_whole_wherever_a_step_ends(size: int, end: bytes) -> None:
    long = LINE.replace(b"line 1", b"x" * size)
    lines = LINE * 5 + long + LINE * (STEP_BYTES // len(LINE)) + long + LINE
    assert decode([frame(lines[:-1] + end)], limits=Limits()) == [Lines(lines, lines.count(b"\n"))]


def test_a_request_of_http_is_recognised_behind_a_long_line() -> None:
    """Rule M10: also if its own line is long."""
    request = b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\n"
    events = decode([b"[" * 100_000 + b"\n" + request + LINE], limits=Limits())
    assert [type(event) for event in events] == [Rejected, Met]


def test_two_large_frames_in_one_read_are_both_judged() -> None:
    payload = LINE * (2 * STEP_BYTES // len(LINE))
    assert decode([frame(payload) * 2], limits=Limits()) == [Lines(payload * 2, 2 * payload.count(b"\n"))]


def test_an_illegal_frame_behind_a_large_one_still_ends_the_conversation() -> None:
    payload = LINE * (2 * STEP_BYTES // len(LINE))
    events = decode([frame(payload) + BIG + b"\n" + LINE], limits=Limits())
    assert events == [Lines(payload, payload.count(b"\n")), Broken("frame longer than 16777215 bytes")]


def test_what_is_discarded_is_forgotten_and_nothing_more_is_taken() -> None:
    connection = server(Limits())
    connection.receive_data(frame(LINE * 100_000) + LINE[:9])
    connection.discard()
    assert not connection.has_more
    assert connection.buffered_bytes == connection.unjudged_bytes == 0
    assert connection.receive_data(LINE) == connection.receive_eof() == []


# --- the client's side ------------------------------------------------------------------------------------------------


def client(*, lines_per_send: int | None = None, compress_level: int | None = None) -> PlainClientProtocol:
    return PlainClientProtocol(lines_per_send=lines_per_send, compress_level=compress_level)


def acks_of(data: bytes) -> list[ClientEvent]:
    """Return what `data` means to a client, whole and byte by byte, runs of acks joined."""

    def joined(events: list[ClientEvent]) -> list[ClientEvent]:
        result: list[ClientEvent] = []
        for event in events:
            if isinstance(event, Acked) and result and isinstance(result[-1], Acked):
                event = Acked(result.pop().lines + event.lines)  # type: ignore[union-attr]
            result.append(event)
        return result

    slow = client()
    singly = [event for place in range(len(data)) for event in slow.receive_data(data[place : place + 1])]
    whole = joined(client().receive_data(data))
    assert joined(singly)[: len(whole)] == whole
    return whole


def test_a_run_of_our_own_acks_is_counted_at_once() -> None:
    assert client().receive_data(ACK_OK * 5000) == [Acked(5000)]


def test_acks_of_other_servers_are_counted_one_by_one() -> None:
    assert acks_of(b'{"status":"ok"}\n' * 3 + ACK_OK * 2) == [Acked(5)]


def test_half_an_ack_waits_for_its_other_half() -> None:
    connection = client()
    assert connection.receive_data(ACK_OK + ACK_OK[:10]) == [Acked(1)]
    assert connection.receive_data(ACK_OK[10:20]) == []
    assert connection.receive_data(ACK_OK[20:] + ACK_OK) == [Acked(2)]


def test_refusals_keep_their_place_among_acks() -> None:
    data = ACK_OK * 2 + error_ack("no") + ACK_OK + error_ack("never")
    assert acks_of(data) == [Acked(2), Refused("no"), Acked(1), Refused("never")]


@pytest.mark.parametrize(
    "rubbish", [b"HTTP/1.1 400 Bad Request\r\n", b"\n", b"\0\xff\n", b"{}\n", b'{"status": "fine"}\n']
)
def test_what_is_not_an_ack_ends_what_can_be_trusted(rubbish: bytes) -> None:
    """Rule C4."""
    first, last = client().receive_data(ACK_OK + rubbish + ACK_OK)
    assert first == Acked(1)
    assert isinstance(last, InvalidAck)
    assert acks_of(ACK_OK + rubbish) == [first, last]


def test_an_invalid_answer_is_quoted_in_part() -> None:
    (event,) = client().receive_data(b"x" * 10_000 + b"\n")
    assert isinstance(event, InvalidAck)
    assert "xxx" in event.reason
    assert len(event.reason) < 200


def test_an_ack_without_end_is_not_waited_for() -> None:
    connection = client()
    assert connection.receive_data(b'{"status": "ok", ' + b" " * (MAX_ACK_BYTES - 17)) == []
    (event,) = connection.receive_data(b" ")
    assert isinstance(event, InvalidAck)


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (100, [7]), (None, [7])])
def test_no_send_holds_more_lines_than_asked_for(limit: int | None, sizes: list[int]) -> None:
    payload = numbered_lines(7)
    pieces = list(client(lines_per_send=limit).pieces(payload, 7))
    assert b"".join(pieces) == payload
    assert [piece.count(b"\n") for piece in pieces] == sizes
    assert list(cut_lines(payload, 7, limit)) == pieces
    frames = list(client(lines_per_send=limit, compress_level=1).pieces(payload, 7))
    assert [inflate(frame[LENGTH_BYTES:], max_inflated_bytes=10**6) for frame in frames] == pieces


@pytest.mark.parametrize("limit", [1, 2])
def test_a_send_ends_where_a_line_does_and_nowhere_else(limit: int) -> None:
    payload = b'{"message": "\r \x0b \x0c \x1c \x85 \xe2\x80\xa8"}\r\n' * 3
    assert [piece.count(b"\n") for piece in cut_lines(payload, 3, limit)] == ([1, 1, 1] if limit == 1 else [2, 1])
    assert b"".join(cut_lines(payload, 3, limit)) == payload


@pytest.mark.parametrize("compress_level", [None, 0, 1, 9])
@pytest.mark.parametrize("lines_per_send", [1, 2, None])
def test_a_server_understands_what_a_client_writes_and_the_client_its_acks(
    compress_level: int | None, lines_per_send: int | None
) -> None:
    payload = numbered_lines(10)
    sender = client(lines_per_send=lines_per_send, compress_level=compress_level)
    events = decode(sender.pieces(payload, 10), limits=LIMITS)
    assert events == [Lines(payload, 10)]
    assert sender.receive_data(ACK_OK * 10) == [Acked(10)]


def test_under_pressure_a_step_ends_before_a_frame_begins_to_inflate() -> None:
    """See test_delivery.py."""
    protocol = server()
    protocol.inflates_at_once = False
    payload = numbered_lines(100)
    assert protocol.receive_data(frame(payload)) == []
    assert protocol.is_inflating
    assert protocol.rest_bytes == len(payload)
    assert protocol.next_events() != []
