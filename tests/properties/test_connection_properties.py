"""However bytes arrive, they mean the same; no bytes at all raise, hang or take unbounded memory."""

import gzip
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from logferry.protocol.compressor import LENGTH_BYTES, encode_frame
from logferry.protocol.lines.validation import Accept, Lines, Verdict, validate_line
from logferry.protocol.plain.acks import ACK_OK, error_ack
from logferry.protocol.plain.client import Acked, ClientEvent, InvalidAck, PlainClientProtocol
from logferry.protocol.plain.server import Broken, Limits, ServerEvent
from tests.support.builders import cut, decode, join_runs
from tests.support.judging import validate

# Small, so that short examples reach them.
LIMITS = Limits(max_record_bytes=100, max_frame_bytes=120, max_inflated_bytes=400)

CANONICAL = b'{"level": "INFO", "message": "a", "timestamp": null}\n'

# Fragments of canonical lines and of what nearly is one.
_FRAGMENTS = [
    *(
        b'{"level": "',
        b"INFO",
        b"info",
        b"",
        b'", "message": "',
        b"text",
        b"\xc3\xa9",
        b"\xc3",
        b"\\n",
        b"\\",
        b"\\u00e9",
    ),
    *(b"\\ud800", b"\\u12", b"\x00", b"\t", b'", "timestamp": ', b'"2024-01-15 08:23:45"', b"null", b"nul", b'"', b"}"),
    *(b', "raw": "/w=="', b', "truncated": true', b" ", b"\r", b"{", b"[]", b"1", b'"message": 1, "level": 2', b"\xff"),
]
_CANONICAL_PARTS = CANONICAL[:-1].replace(b"a", b"\0").split(b"\0")

near_canonical = st.one_of(
    st.just(CANONICAL),
    st.lists(st.sampled_from(_FRAGMENTS), max_size=8).map(lambda parts: b"".join(parts) + b"\n"),
    st.sampled_from(_FRAGMENTS).map(lambda part: _CANONICAL_PARTS[0] + b'{"level": "I", "message": "' + part + b'"}\n'),
    st.tuples(st.sampled_from(_FRAGMENTS), st.integers(0, len(CANONICAL) - 1)).map(
        lambda change: CANONICAL[: change[1]] + change[0] + CANONICAL[change[1] :]
    ),
    st.integers(0, len(CANONICAL) - 2).map(lambda place: CANONICAL[:place] + CANONICAL[place + 1 :]),
)


def _raw_frame(body: bytes) -> bytes:
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


frames = st.one_of(
    st.lists(near_canonical, max_size=4).map(lambda lines: encode_frame(b"".join(lines), level=1)),
    st.binary(max_size=8).map(_raw_frame),
    st.binary(max_size=8).map(lambda rest: _raw_frame(b"\x1f\x8b" + rest)),
    st.integers(1, 9).map(lambda cut_off: _raw_frame(gzip.compress(CANONICAL * 2)[:-cut_off])),
    st.integers(300, 500).map(lambda size: encode_frame(b"\n" * size, level=1)),
)
rubbish = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"\n", b"\0", b"\x01\0\0\0\x1f\x8b", b"abc\n\x1f\x8b", b"\0\xff\0\0", b"x" * 150, b"x" * 150 + b"\n"]
    ),
)
conversations = st.lists(st.one_of(near_canonical, near_canonical, frames, rubbish), max_size=8).map(b"".join)
places = st.lists(st.integers(0, 2000), max_size=12)


def one_by_one(data: bytes) -> list[ServerEvent]:
    return decode((bytes([byte]) for byte in data), limits=LIMITS)


@given(conversations, places)
@example(b"abcd\x1f\x8b\n", [])
@example(b"x" * 101 + b"\n" + CANONICAL, [50])
def test_bytes_mean_the_same_whole_one_by_one_and_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    whole = decode([data], limits=LIMITS)
    assert decode(cut(data, cuts), limits=LIMITS) == whole
    assert decode(cut(data, cuts), limits=LIMITS, are_held=True) == whole
    assert one_by_one(data) == whole


@settings(max_examples=500)
@given(st.one_of(st.binary(max_size=300), conversations), st.sampled_from(Accept))
def test_no_bytes_ever_raise_and_nothing_follows_a_break(data: bytes, accept: Accept) -> None:
    events = decode([data], limits=LIMITS, accept=accept)
    assert not any(isinstance(event, Broken) for event in events[:-1])
    for event in events:
        if isinstance(event, Lines):
            assert event.payload.count(b"\n") == event.count > 0
            assert all(isinstance(json.loads(line), dict) for line in event.payload.split(b"\n")[:-1])


@given(st.lists(st.one_of(near_canonical, st.just(b"\n"), st.just(b"x" * 150 + b"\n")), max_size=12))
def test_every_line_is_answered_once(lines: list[bytes]) -> None:
    """Rule A1."""
    lines = [line for line in lines if not line.startswith(b"\0")]
    answers = sum(event.count if isinstance(event, Lines) else 1 for event in decode([b"".join(lines)], limits=LIMITS))
    assert answers == len(lines)


@given(st.lists(near_canonical, max_size=6), st.lists(near_canonical, max_size=6))
def test_a_frame_means_what_its_lines_mean(before: list[bytes], framed: list[bytes]) -> None:
    """Rule M1."""
    limits = Limits()
    plain = [line for line in before if not line.startswith(b"\0")]
    inner = [line for line in framed if not line.startswith(b"\0")] or [b"\n"]
    data = b"".join(plain) + encode_frame(b"".join(inner), level=1)
    assert decode([data], limits=limits) == decode([b"".join(plain + inner)], limits=limits)


@settings(max_examples=800)
@given(st.lists(near_canonical, max_size=6), st.sampled_from(Accept))
def test_a_run_of_lines_is_judged_as_its_lines_are(lines: list[bytes], accept: Accept) -> None:
    singly: list[ServerEvent] = [validate_line(line, accept=accept) for line in lines]
    together: list[Verdict] = validate(b"".join(lines), accept=accept)
    assert join_runs(list(together)) == join_runs(singly)


answers = st.lists(
    st.one_of(
        st.integers(1, 5).map(lambda count: ACK_OK * count),
        st.just(b'{"status":"ok"}\n'),
        st.text(max_size=8).map(error_ack),
        st.sampled_from([b"\n", b"rubbish\n", b'{"status": "odd"}\n', ACK_OK[:20]]),
        st.binary(max_size=6),
    ),
    max_size=8,
).map(b"".join)


def acks_until_invalid(pieces: list[bytes]) -> list[ClientEvent]:
    """Return a client's events up to the first that says that nothing can be trusted any more, runs taken apart."""
    connection = PlainClientProtocol(lines_per_send=None, compress_level=None)
    events: list[ClientEvent] = []
    for piece in pieces:
        for event in connection.receive_data(piece):
            events += [Acked(1)] * event.lines if isinstance(event, Acked) else [event]
            if isinstance(event, InvalidAck):
                return events
    return events


@given(answers, places)
def test_answers_mean_the_same_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    whole = acks_until_invalid([data])
    assert acks_until_invalid(cut(data, cuts)) == whole
    assert acks_until_invalid([bytes([byte]) for byte in data]) == whole
