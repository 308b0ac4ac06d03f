"""Both sides of the delivery extension without a socket; what one writes the other reads, whole or byte by byte.

Each test names the rule of docs/protocol.md that it is about.
"""

import gzip
import json
import time
import zlib
from typing import Any

import pytest

from logferry.protocol.delivery import bulk as delivery_bulk
from logferry.protocol.delivery import server as delivery_server
from logferry.protocol.delivery.client import DeliveryClientProtocol
from logferry.protocol.delivery.server import DeliveryServerProtocol, is_hello_prefix
from logferry.protocol.messages.answers import (
    Alive,
    Answer,
    BatchRefused,
    InvalidAnswer,
    NotUnderstood,
    Position,
    Positions,
    Welcome,
    WindowRecorded,
    alive_line,
    positions_failed_line,
    positions_line,
)
from logferry.protocol.messages.repairs import (
    EXTENT_BYTES,
    DamagedExtent,
    DamageNotice,
    DamagePage,
    RepairOutcome,
    StoredContent,
    content_line,
    damage_line,
    notice_line,
    repair_line,
)
from logferry.protocol.messages.reports import (
    Extent,
    NamedSource,
    RecordedLoss,
    RecordedWindow,
    ReportPage,
    SourcesPage,
    report_line,
    sources_line,
)
from logferry.protocol.messages.requests import (
    BatchRequest,
    Content,
    Damaged,
    Hello,
    Locate,
    Note,
    Open,
    Ping,
    Repair,
    Report,
    Request,
    Skip,
    Violation,
    Window,
)
from logferry.protocol.messages.writing import (
    MAX_CONTROL_BYTES,
    MAX_LOCATED,
    answer_line,
    batch_header,
    control_line,
    refusal_line,
)
from logferry.protocol.plain.acks import ACK_OK, error_ack
from logferry.protocol.steps import INFLATED_WEIGHT, STEP_BYTES, STEP_LINES, STEP_REQUESTS
from tests.support.delivery import LINES, batch, hello, opening

PAYLOAD = b"".join(LINES[:5])


def read(data: bytes, *, max_batch_bytes: int = 100_000, max_inflated_bytes: int = 200_000) -> list[Request]:
    """Return what a server understands of a client that has opened "s1"; it must be the same however bytes are cut."""
    results = []
    for size, is_held in ((len(data) or 1, False), (1, False), (7, False), (20_000, False), (7, True), (5000, True)):
        session = DeliveryServerProtocol(max_batch_bytes=max_batch_bytes, max_inflated_bytes=max_inflated_bytes)
        session.sources["s1"] = True
        requests: list[Request] = []
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            if is_held:
                session.hold_data(piece)
            else:
                requests += session.receive_data(piece)
            while session.has_more:
                requests += session.next_requests()
        results.append((requests, session.buffered_bytes))
    assert all(result == results[0] for result in results)
    return results[0][0]


def steps_of(session: DeliveryServerProtocol, data: bytes) -> list[list[Request]]:
    """Return the requests of each step that `data` takes."""
    steps = [session.receive_data(data)]
    while session.has_more:
        steps.append(session.next_requests())
    return steps


def answers(data: bytes) -> list[Answer]:
    """Return what a client understands, which must be the same however the bytes are cut."""
    session = DeliveryClientProtocol()
    whole = session.receive_data(data)
    session = DeliveryClientProtocol()
    single: list[Answer] = []
    for byte in data:
        if not single or not isinstance(single[-1], InvalidAnswer | NotUnderstood):
            single += session.receive_data(bytes([byte]))
    assert single == whole
    return whole


WELCOME = answer_line("hello", version=1, encodings=["gzip"], max_batch_bytes=8388608, durability="fsync")


# --- the server's side


def test_e1_a_hello_names_the_client_and_its_host() -> None:
    """Rule E1."""
    assert read(hello()) == [Hello("test", "web-1")]


def test_e1_a_later_version_of_the_client_is_welcome_and_an_older_one_than_there_is_not() -> None:
    """Rule E1."""
    assert read(hello(version=2)) == [Hello("test", "web-1")]
    assert isinstance(read(hello(version=0))[0], Violation)


@pytest.mark.parametrize("size", range(11))
def test_e1_a_hello_is_known_by_its_first_bytes(size: int) -> None:
    """Rule E1."""
    assert is_hello_prefix(hello()[:size]) is (None if size < 11 else True)


@pytest.mark.parametrize("data", [LINES[0], b"\0\0\1\0\x1f\x8b", b"x", b'{"l ', b'{"logferr1'])
def test_e1_what_is_not_a_hello_is_known_by_its_first_bytes(data: bytes) -> None:
    """Rule E1."""
    assert is_hello_prefix(data) is False


def test_e3_e4_e12_e13_e14_e19_each_control_line_is_understood() -> None:
    """Rules E3, E4, E12, E13, E14 and E19."""
    lines = [
        opening("s-1_A", "/var/log/app.log"),
        control_line("skip", source="s1", start=5, end=9, reason="gone"),
        control_line("note", source="s1", start=5, end=9, reason="cut"),
        control_line("ping"),
        control_line("report", source="s1", after=77),
    ]
    assert read(b"".join(lines)) == [
        Open("s-1_A", "/var/log/app.log"),
        Skip("s1", 5, 9, "gone"),
        Note("s1", 5, 9, "cut"),
        Ping(),
        Report("s1", 77),
    ]


def test_e3_what_is_not_known_in_a_control_line_is_passed_over() -> None:
    """Rule E3."""
    assert read(control_line("ping", colour="blue")) == [Ping()]


def test_e3_a_control_line_may_have_64_kib_and_no_more() -> None:
    """Rule E3."""
    room = MAX_CONTROL_BYTES - len(control_line("ping", new=""))
    assert read(control_line("ping", new="x" * room)) == [Ping()]
    assert isinstance(read(control_line("ping", new="x" * (room + 1)))[0], Violation)
    assert isinstance(read(b'{"logferry": "' + b"x" * MAX_CONTROL_BYTES)[0], Violation)


@pytest.mark.parametrize("source", ["a", "Z" * 64, "0-_"])
def test_e6_a_source_id_is_letters_digits_dashes_and_underscores(source: str) -> None:
    """Rule E6."""
    assert read(opening(source, "p")) == [Open(source, "p")]


@pytest.mark.parametrize("source", ["", "x" * 65, "a/b", "a b", "ä", "a\n"])
def test_e6_any_other_source_id_is_a_violation(source: str) -> None:
    """Rule E6."""
    assert read(opening(source, "p")) == [Violation("open: source is not an id")]


@pytest.mark.parametrize("is_gzip", [False, True])
def test_e7_a_batch_is_its_header_and_its_bytes(is_gzip: bool) -> None:
    """Rule E7."""
    data = batch(LINES[:5], start=100, end=350, is_gzip=is_gzip)
    expected = BatchRequest("s1", 100, 350, 5, zlib.crc32(PAYLOAD), PAYLOAD, None)
    assert read(data + data + control_line("ping")) == [expected, expected, Ping()]


def test_e7_a_batch_in_large_pieces_and_crumbs_is_the_same_batch() -> None:
    """Rule E7."""
    payload = b"".join(LINES)
    data = batch(LINES, start=0)
    session = DeliveryServerProtocol(max_batch_bytes=10**6, max_inflated_bytes=10**6)
    session.sources["s1"] = True
    position, requests = 0, []
    for size in [3, 20_000, 1, 2, 50_000, 10, *[1000] * 200]:
        requests += session.receive_data(data[position : position + size])
        position += size
    assert requests == [BatchRequest("s1", 0, len(payload), len(LINES), zlib.crc32(payload), payload, None)]
    assert session.buffered_bytes == 0


def test_e7_a_batch_may_have_no_lines() -> None:
    """Rule E7."""
    assert read(batch([], start=5, end=7)) == [BatchRequest("s1", 5, 7, 0, 0, b"", None)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"level": "INFO"}\n', 'missing field "message"'),
        (b"\n", "empty line"),
        (b'{"level": "INFO", "message": "\xff"}\n', "not valid UTF-8"),
        (b' {"level": "INFO", "message": ""}\n', "white space around a line"),
    ],
)
def test_e11_a_batch_with_a_line_that_is_not_taken_says_why(line: bytes, reason: str) -> None:
    """Rule E11."""
    (request,) = read(batch([LINES[0], line, LINES[1]], start=0))
    assert isinstance(request, BatchRequest)
    assert request.refusal == reason


def header(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "source": "s1",
        "start": 0,
        "end": 500,
        "lines": 5,
        "crc32": zlib.crc32(PAYLOAD),
        "size": len(PAYLOAD),
        "is_gzip": False,
    }
    return batch_header(**(fields | changes))


@pytest.mark.parametrize("is_split", [False, True])
def test_e20_a_batch_that_does_not_begin_where_an_event_begins_says_so(is_split: bool) -> None:
    """Rule E20."""
    said = header(is_split=is_split)
    (request,) = read(said + PAYLOAD)
    assert isinstance(request, BatchRequest)
    assert request.split is is_split
    assert (b"split" in said) is is_split


def test_a_read_with_thousands_of_small_requests_costs_no_more_than_its_bytes() -> None:
    requests = 20_000
    data = (header(lines=1, size=len(LINES[0]), crc32=zlib.crc32(LINES[0])) + LINES[0]) * requests
    session = DeliveryServerProtocol(max_batch_bytes=1000, max_inflated_bytes=1000)
    session.sources["s1"] = True
    begin = time.process_time()
    assert sum(map(len, steps_of(session, data))) == requests
    assert time.process_time() - begin < 5  # with a copy of the rest at each of them it would be a minute


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header(crc32=1) + PAYLOAD, "a batch does not match its checksum"),
        (header(lines=4) + PAYLOAD, "a batch does not have as many lines as it says"),
        (header(size=100_001), "a batch of more than 100000 bytes"),
        (header(size=3, is_gzip=True) + b"abc", "bad gzip"),
        (header(size=len(PAYLOAD) - 1, crc32=zlib.crc32(PAYLOAD[:-1])) + PAYLOAD, "does not end with a newline"),
        (header(start=500, end=500) + PAYLOAD, "more lines than bytes in its range"),
        (header(start=501), "end is before start"),
        (header().replace(b"identity", b"zstd"), "encoding is not identity or gzip"),
        (header(start=-1), "start is out of range"),
        (header(end=2**63), "end is out of range"),
        (header().replace(b'"lines": 5', b'"lines": 5.0'), "lines is not a number"),
        (header().replace(b'"lines": 5', b'"lines": true'), "lines is not a number"),
        (header().replace(b'"source": "s1"', b'"source": 7'), "source is not a text"),
        (header().replace(b'"crc32"', b'"split": 1, "crc32"'), "split is not true or false"),
        (control_line("sing"), "not a control line"),
        (LINES[0], "not a control line"),
        (b"\n", "not a control line"),
        (b"[" * 60_000 + b"\n", "not a control line"),
        (b'{"logferry": ["ping"]}\n', "not a control line"),
        (control_line("skip", source="s1", start=0, end=5), "reason is not a text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_e16_what_breaks_the_rules_is_a_violation_and_the_last_thing_that_is_read(data: bytes, reason: str) -> None:
    """Rule E16."""
    *before, last = read(control_line("ping") + data + control_line("ping"))
    assert before == [Ping()]
    assert isinstance(last, Violation)
    assert reason in last.reason


def test_e16_gzip_that_grows_beyond_the_limit_is_a_violation() -> None:
    """Rule E16."""
    body = gzip.compress(bytes(10**7))
    (request,) = read(header(size=len(body), is_gzip=True) + body, max_inflated_bytes=1000)
    assert request == Violation("frame inflates to more than 1000 bytes")


@pytest.mark.parametrize("kind", ["batch", "repair"])
def test_e16_gzip_that_grows_beyond_what_may_be_sent_plain_is_a_violation(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule E16. The limit of a repair is one extent and one batch."""
    monkeypatch.setattr(delivery_server, "EXTENT_BYTES", 500)
    body = gzip.compress(bytes(2000))
    fields = {"source": "s1", "start": 0, "end": 10, "lines": 1, "bytes": len(body), "encoding": "gzip", "crc32": 1}
    (request,) = read(control_line(kind, **fields) + body, max_batch_bytes=1000)
    assert isinstance(request, Violation)
    assert "inflate" in request.reason


def test_e26_the_lines_of_a_repair_are_counted_and_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule E26: the store compares them with what it has recorded."""
    monkeypatch.delattr(delivery_bulk, "LineJudge")
    payload = b"\n" * 100
    fields = {"source": "s1", "start": 0, "end": 100, "encoding": "identity", "crc32": zlib.crc32(payload)}
    line = control_line("repair", **fields, lines=100, bytes=len(payload))
    (request,) = read(line + payload)
    assert isinstance(request, Repair)
    assert (request.lines, request.payload) == (100, payload)


def test_e4_what_follows_the_header_of_a_batch_is_not_taken_unless_its_source_is_open() -> None:
    """Rules E4 and E16: nothing is inflated for whoever has opened nothing."""
    body = gzip.compress(b"\n" * 30_000_000)
    fields = {"source": "s2", "start": 0, "end": 9, "lines": 1, "encoding": "gzip", "crc32": 1}
    session = DeliveryServerProtocol(max_batch_bytes=10**8, max_inflated_bytes=10**8)
    for data in (control_line("batch", **fields, bytes=len(body)), body):
        requests = session.receive_data(data)
        assert requests in ([Violation("a source must be opened first")], [])
        assert not session.has_more
    assert session.buffered_bytes == session.unjudged_bytes == 0


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_e11_a_batch_stops_at_its_first_bad_line_and_takes_steps(encoding: str) -> None:
    """Rules E11 and E16."""
    payload = b"".join(LINES[:5]) + b"\n" * (8 * STEP_BYTES)
    body = gzip.compress(payload) if encoding == "gzip" else payload
    fields = {"source": "s1", "start": 0, "end": 10**9, "encoding": encoding, "crc32": zlib.crc32(payload)}
    header = control_line("batch", **fields, lines=payload.count(b"\n"), bytes=len(body))
    session = DeliveryServerProtocol(max_batch_bytes=10**8, max_inflated_bytes=10**8)
    session.sources["s1"] = True
    steps = steps_of(session, header + body + control_line("ping"))
    assert len(steps) >= (8 * INFLATED_WEIGHT if encoding == "gzip" else 2)
    batch_, ping = [request for requests in steps for request in requests]
    assert isinstance(batch_, BatchRequest)
    assert (batch_.refusal, ping) == ("empty line", Ping())


@pytest.mark.parametrize("kind", ["ping", "open", "line", "gzip", "refused"])
def test_e3_one_read_of_small_requests_takes_steps(kind: str) -> None:
    """Rule E3."""
    data = {
        "ping": control_line("ping"),
        "open": control_line("open", source="s1", path="/a", known=0),
        "line": batch(LINES[:1], start=0),
        "gzip": batch(LINES[:1], start=0, is_gzip=True),
        "refused": batch([b"x\n"], start=0, is_gzip=True),
    }[kind]
    session = DeliveryServerProtocol(max_batch_bytes=1000, max_inflated_bytes=1000)
    session.sources["s1"] = True
    steps = steps_of(session, data * (4 * STEP_REQUESTS))
    if kind == "refused":  # what its lines cost ends a step first
        assert max(map(len, steps)) <= STEP_LINES
        assert sum(map(len, steps)) == 4 * STEP_REQUESTS
        return
    assert [len(requests) for requests in steps] == [STEP_REQUESTS] * 4


@pytest.mark.parametrize("is_gzip", [True, False])
def test_e7_no_line_of_a_batch_is_longer_than_a_batch_may_be(is_gzip: bool) -> None:
    """Rules E7 and L6: gzip is not a way around the limit."""
    line = LINES[0].replace(b"line", b"x" * 2000)
    (request,) = read(batch([line], start=0, is_gzip=is_gzip), max_batch_bytes=1000)
    assert isinstance(request, Violation)


def test_e16_after_a_violation_nothing_is_held() -> None:
    """Rule E16."""
    session = DeliveryServerProtocol(max_batch_bytes=1000, max_inflated_bytes=1000)
    session.receive_data(b"rubbish\n" + header() + PAYLOAD)
    assert session.buffered_bytes == 0
    assert session.receive_data(control_line("ping")) == []


def test_what_is_held_of_a_batch_is_counted() -> None:
    session = DeliveryServerProtocol(max_batch_bytes=100_000, max_inflated_bytes=1000)
    session.sources["s1"] = True
    session.receive_data(header() + PAYLOAD[:100])
    assert session.buffered_bytes == 100
    session.discard()
    assert session.buffered_bytes == 0


# --- the client's side


def test_e1_a_welcome_says_what_the_server_takes_and_promises() -> None:
    """Rule E1."""
    assert answers(WELCOME) == [Welcome(1, 8388608, "fsync", max_sources=10_000)]
    fields = {"version": 1, "max_batch_bytes": 5, "durability": "os", "max_sources": 77}
    assert answers(answer_line("hello", **fields)) == [Welcome(1, 5, "os", max_sources=77)]


def test_e22_a_request_for_positions_names_sources() -> None:
    """Rule E22."""
    assert read(control_line("positions", sources=["s1", "s2"])) == [Locate(("s1", "s2"))]
    longest = ["x" * 64] * MAX_LOCATED
    assert read(control_line("positions", sources=longest)) == [Locate(tuple(longest))]


@pytest.mark.parametrize("sources", [None, "s1", {}, [], [7], [["s1"]], ["no/id"], ["s"] * (MAX_LOCATED + 1)])
def test_e22_a_request_for_positions_of_anything_else_is_a_violation(sources: object) -> None:
    """Rule E22."""
    (request,) = read(control_line("positions", sources=sources))
    assert isinstance(request, Violation)


def test_e22_positions_are_read_as_they_were_written() -> None:
    """Rule E22."""
    found = (Position("s1", 9120, 125, 81, False), Position("s2", 0, 0, 0, False))
    assert answers(WELCOME + positions_line(found))[1:] == [Positions(found)]
    assert answers(WELCOME + positions_failed_line("Input/output error"))[1:] == [Positions(None)]


@pytest.mark.parametrize(
    "positions",
    [
        *(None, 7, {}, [7], [[]], [["s1", 1, 1]], [["s1", 1, 1, 1, 1]], [[7, 1, 1, 1]], [["s1", "1", 1, 1]]),
        *(
            [["s1", -1, 1, 1]],
            [["s1", 2**63, 1, 1]],
            [["s1", 1.0, 1, 1]],
            [["s1", True, 1, 1]],
            [["s1", 1, 1, 1]] * 501,
        ),
    ],
)
def test_e22_anything_else_is_not_an_answer(positions: object) -> None:
    """Rule E22."""
    (_, answer) = answers(WELCOME + answer_line("positions", positions=positions))
    assert isinstance(answer, InvalidAnswer)


def test_e27_a_window_is_read_as_it_was_written() -> None:
    """Rule E27."""
    values = {"start": 9120, "last_look": 1_768_464_520_000, "noticed": 1_768_464_590_000, "reason": "it is gone"}
    assert read(control_line("window", source="s1", **values)) == [Window("s1", *values.values())]  # type: ignore[arg-type]
    assert answers(WELCOME + answer_line("window", source="s1"))[1:] == [WindowRecorded("s1")]


@pytest.mark.parametrize(
    "change", [{"start": -1}, {"last_look": 1.5}, {"noticed": True}, {"noticed": 2**63}, {"reason": 7}]
)
def test_e27_a_window_with_other_values_is_a_violation(change: dict[str, object]) -> None:
    """Rule E27."""
    values = {"source": "s1", "start": 9120, "last_look": 1, "noticed": 2, "reason": "it is gone"}
    (request,) = read(control_line("window", **values | change))
    assert isinstance(request, Violation)


def test_e27_and_e28_a_report_lists_windows_and_what_nobody_asked_for() -> None:
    """Rules E27 and E28."""
    page = ReportPage(
        *("s1", True, 10, 0, 0, (), (RecordedLoss(0, 10, "x"),), False),
        windows=(RecordedWindow(10, 1, 2, "it is gone"),),
        skipped=((0, 10),),
    )
    assert answers(WELCOME + report_line(page))[1:] == [page]


NO_NUMBER = pytest.mark.parametrize("number", [-1, 2**63, 1.5, True, "1", None])


@pytest.mark.parametrize("place", range(3))
@NO_NUMBER
def test_e27_a_report_with_another_window_is_not_an_answer(place: int, number: Any) -> None:
    """Rule E27."""
    window: list[Any] = [10, 1, 2, "it is gone"]
    window[place] = number
    page = ReportPage("s1", True, 10, 0, 0, (), (), False, windows=(window,))  # type: ignore[arg-type]
    assert isinstance(answers(WELCOME + report_line(page))[-1], InvalidAnswer)


@pytest.mark.parametrize("place", range(1, 4))
@NO_NUMBER
def test_e30_sources_with_other_numbers_are_not_an_answer(place: int, number: Any) -> None:
    """Rule E30."""
    row: list[Any] = ["s1", 9120, 125, 1_768_464_520_000]
    named = NamedSource(*row)
    assert answers(WELCOME + sources_line(SourcesPage((named,), False)))[1:] == [SourcesPage((named,), False)]
    row[place] = number
    page = SourcesPage((NamedSource(*row),), False)
    assert isinstance(answers(WELCOME + sources_line(page))[-1], InvalidAnswer)


def test_e28_a_skip_says_whether_its_bytes_are_lost() -> None:
    """Rule E28."""
    skip = {"source": "s1", "start": 0, "end": 10, "reason": "x"}
    assert read(control_line("skip", **skip) + control_line("skip", **skip, lost=False)) == [
        Skip("s1", 0, 10, "x"),
        Skip("s1", 0, 10, "x", lost=False),
    ]


def test_e29_a_heartbeat_may_say_why_nothing_is_stored() -> None:
    """Rule E29."""
    line = alive_line(reason="No space left on device", since=1700000000.5)
    fields = {"status": "ok", "message": "alive", "storing": False, "reason": "No space left on device"}
    assert json.loads(line) == {**fields, "since": 1700000000.5}
    assert answers(WELCOME + line)[1:] == [Alive(False, "No space left on device", 1700000000.5)]
    assert json.loads(alive_line()) == {"status": "ok", "message": "alive"}


@pytest.mark.parametrize(
    ("fields", "alive"),
    [
        ({"storing": True, "reason": "x"}, Alive()),
        ({"storing": 0, "reason": "x"}, Alive()),
        ({"storing": "false"}, Alive()),
        ({"reason": "x"}, Alive()),
        ({"storing": False}, Alive(False, "it does not say why", 0.0)),
        ({"storing": False, "reason": ["x"], "since": "now"}, Alive(False, "it does not say why", 0.0)),
        ({"storing": False, "reason": "x" * 1000, "since": True}, Alive(False, "x" * 200, 0.0)),
        ({"storing": False, "reason": "x", "since": -1}, Alive(False, "x", 0.0)),
        ({"storing": False, "reason": "x", "since": 1e300}, Alive(False, "x", 0.0)),
        ({"storing": False, "reason": "x", "since": 17}, Alive(False, "x", 17.0)),
    ],
)
def test_e29_what_a_heartbeat_says_wrongly_is_ignored(fields: dict[str, object], alive: Alive) -> None:
    """Rule E29: the server is alive all the same."""
    assert answers(WELCOME + answer_line("alive", **fields))[1:] == [alive]


def welcomed(**fields: object) -> Welcome:
    terms = {"version": 1, "max_batch_bytes": 5, "durability": "os"}
    (answer,) = answers(answer_line("hello", **terms | fields))
    assert isinstance(answer, Welcome)
    return answer


def test_e21_a_welcome_states_the_store_and_what_the_server_understands() -> None:
    """Rule E21."""
    welcome = welcomed(store="0123abcd", features=["repair", "windows"])
    assert welcome.store == "0123abcd"
    assert welcome.features == {"repair", "windows"}
    assert not welcomed().store
    assert not welcomed().features


@pytest.mark.parametrize("store", ["", "a" * 65, "a b", "../x", "é", 7, None, ["a"]])
def test_e21_what_is_not_an_id_of_a_store_is_ignored(store: object) -> None:
    """Rule E21."""
    assert welcomed(store=store).store == ""


@pytest.mark.parametrize("features", [None, "repair", {"repair": 1}, 7, [["repair"], {}, 7, None, "", "x" * 65]])
def test_e21_what_is_not_the_name_of_a_feature_is_ignored(features: object) -> None:
    """Rule E21."""
    assert welcomed(features=features).features == set()


def test_e21_a_client_reads_at_most_64_features() -> None:
    """Rule E21."""
    assert welcomed(features=[f"f{n}" for n in range(1000)]).features == {f"f{n}" for n in range(64)}


def test_e21_both_ends_ignore_keys_that_they_do_not_know() -> None:
    """Rule E21."""
    assert welcomed(new={"a": [1]}) == welcomed()
    fields = {"source": "s1", "committed": 9120, "lines": 125, "crc32": 81}
    new = {"new": [{"a": 1}]}
    data = WELCOME + answer_line("open", **fields, **new) + answer_line("alive", **new)
    assert answers(data)[1:] == [Position("s1", 9120, 125, 81, is_answer_to_open=True), Alive()]
    assert read(hello(**new) + control_line("ping", **new)) == [Hello("test", "web-1"), Ping()]
    for line in (opening(), header()):
        assert line.endswith(b"}\n")
        assert read(line[:-2] + b', "new": [{"a": 1}]}\n' + PAYLOAD) == read(line + PAYLOAD)


@pytest.mark.parametrize("name", ["version", "max_batch_bytes", "max_sources"])
@pytest.mark.parametrize("value", [b"1e400", b"-1e400", b"NaN", b'"x"', b"null"])
def test_e2_a_welcome_with_a_number_that_is_not_an_integer_is_not_an_answer(name: str, value: bytes) -> None:
    """Rule E2."""
    fields = {"version": 1, "max_batch_bytes": 5, "durability": "os", "max_sources": 77} | {name: 123456}
    (answer,) = answers(answer_line("hello", **fields).replace(b"123456", value))
    assert isinstance(answer, InvalidAnswer)


@pytest.mark.parametrize("name", ["max_batch_bytes", "max_sources"])
@pytest.mark.parametrize("value", [0, -1])
def test_e2_a_welcome_whose_limits_allow_nothing_is_not_an_answer(name: str, value: int) -> None:
    """Rule E2. The client would reconnect for ever, because each connection is used up before it sends anything."""
    fields = {"version": 1, "max_batch_bytes": 5, "durability": "os", "max_sources": 77} | {name: value}
    (answer,) = answers(answer_line("hello", **fields))
    assert isinstance(answer, InvalidAnswer)


def test_e2_an_error_or_a_plain_ack_means_that_the_hello_was_not_understood() -> None:
    """Rule E2."""
    assert answers(error_ack('missing field "level"')) == [NotUnderstood(answered_as_line=False)]
    assert answers(ACK_OK) == [NotUnderstood(answered_as_line=True)]


@pytest.mark.parametrize("line", [b"220 smtp.example.org ESMTP\n", b"{}\n", b"[]\n", b"\xff\n"])
def test_e2_anything_else_is_no_answer(line: bytes) -> None:
    """Rule E2."""
    (answer,) = answers(line)
    assert isinstance(answer, InvalidAnswer)


def test_e4_e8_positions_are_understood() -> None:
    """Rules E4 and E8."""
    fields = {"source": "s1", "committed": 9120, "lines": 125, "crc32": 81}
    data = WELCOME + answer_line("open", **fields) + answer_line("received", **fields, durability="fsync")
    assert answers(data)[1:] == [
        Position("s1", 9120, 125, 81, is_answer_to_open=True),
        Position("s1", 9120, 125, 81, is_answer_to_open=False),
    ]


@pytest.mark.parametrize("is_final", [False, True])
def test_e10_e11_refusals_are_understood(is_final: bool) -> None:
    """Rules E10 and E11."""
    data = WELCOME + refusal_line("no", source="s1", committed=5, is_final=is_final)
    assert answers(data)[1:] == [BatchRefused("s1", 5, "no", is_final)]


def test_e14_a_sign_of_life_is_understood() -> None:
    """Rule E14."""
    assert answers(WELCOME + answer_line("alive"))[1:] == [Alive()]


def test_e19_a_report_is_read_as_it_was_written() -> None:
    """Rule E19."""
    page = ReportPage(
        source="s1",
        is_known=True,
        committed=9,
        lines=2,
        crc32=81,
        extents=(Extent(0, 9, 2, 81, "ok", "h/a/1.ndjson"),),
        losses=(RecordedLoss(0, 5, "cut"),),
        has_more=False,
    )
    assert answers(WELCOME + report_line(page))[1:] == [page]


def test_e16_an_error_that_is_about_no_batch_is_no_answer_of_the_extension() -> None:
    """Rule E16."""
    (_, answer) = answers(WELCOME + error_ack("a batch does not match its checksum"))
    assert not isinstance(answer, BatchRefused)


def test_what_a_client_writes_is_json_with_logferry_as_its_first_key() -> None:
    for line in (hello(), opening(), header()):
        assert next(iter(json.loads(line))) == "logferry"
        assert line.count(b"\n") == 1


# --- stored bytes, damage and repairs


def repair_header(**changes: Any) -> bytes:
    fields: dict[str, Any] = {"source": "s1", "start": 500, "end": 900, "lines": 5, "bytes": len(PAYLOAD)}
    fields |= {"encoding": "identity", "crc32": zlib.crc32(PAYLOAD)}
    return control_line("repair", **(fields | changes))


def test_e23_a_hello_lists_features_and_what_is_not_the_name_of_one_is_passed_over() -> None:
    """Rule E23."""
    assert read(hello(features=["heal", 7, "", None])) == [Hello("test", "web-1", frozenset({"heal"}))]
    assert isinstance(read(hello(features="heal"))[0], Violation)


def test_e24_e25_stored_bytes_and_damaged_extents_are_asked_for() -> None:
    """Rules E24 and E25."""
    lines = [
        control_line("content", source="s1", start=5, position=7, bytes=9),
        control_line("damaged", source="s1", after=5),
    ]
    assert read(b"".join(lines)) == [Content("s1", 5, 7, 9), Damaged("s1", 5)]


@pytest.mark.parametrize("is_gzip", [False, True])
def test_e26_a_repair_is_its_header_and_its_bytes(is_gzip: bool) -> None:
    """Rule E26."""
    body = gzip.compress(PAYLOAD) if is_gzip else PAYLOAD
    data = repair_header(bytes=len(body), encoding="gzip" if is_gzip else "identity") + body + control_line("ping")
    assert read(data) == [Repair("s1", 500, 900, 5, zlib.crc32(PAYLOAD), PAYLOAD), Ping()]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (repair_header(crc32=1) + PAYLOAD, "a repair does not match its checksum"),
        (repair_header(lines=4) + PAYLOAD, "a repair does not have as many lines as it says"),
        (repair_header(bytes=100_001 + EXTENT_BYTES), f"a repair of more than {100_000 + EXTENT_BYTES} bytes"),
        (repair_header(bytes=3, encoding="gzip") + b"abc", "bad gzip"),
        (repair_header(end=499), "end is before start"),
        (repair_header(encoding="zstd"), "encoding is not identity or gzip"),
        (repair_header(start=-1), "start is out of range"),
        (repair_header(lines=5.0), "lines is not a number"),
        (repair_header(source="../s1"), "source is not an id"),
        (control_line("content", source="s1", start=0, position=-1, bytes=1), "position is out of range"),
        (control_line("content", source="s1", start=0, position=0), "bytes is not a number"),
        (control_line("damaged", source="s1", after="x"), "after is not a number"),
        (control_line("damaged", source="", after=0), "source is not an id"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_e16_e26_a_repair_that_breaks_the_rules_is_a_violation(data: bytes, reason: str) -> None:
    """Rules E16, E24, E25 and E26."""
    (violation,) = read(data)
    assert isinstance(violation, Violation)
    assert reason in violation.reason


ANSWERS = [
    (content_line(StoredContent("s1", 5, 7, b"\0\xff{}\n")), StoredContent("s1", 5, 7, b"\0\xff{}\n")),
    (damage_line(DamagePage("s1", (), False)), DamagePage("s1", (), False)),
    (
        damage_line(DamagePage("s1", (DamagedExtent(0, 9, 1, 7), DamagedExtent(9, 9, 0, 0)), True)),
        DamagePage("s1", (DamagedExtent(0, 9, 1, 7), DamagedExtent(9, 9, 0, 0)), True),
    ),
    (notice_line("s1"), DamageNotice("s1")),
    (repair_line(RepairOutcome("s1", 5, False, "no")), RepairOutcome("s1", 5, False, "no")),
    (repair_line(RepairOutcome("s1", 5, True)), RepairOutcome("s1", 5, True)),
]


@pytest.mark.parametrize(("line", "answer"), ANSWERS, ids=[type(answer).__name__ for _, answer in ANSWERS])
def test_e23_to_e26_answers_are_read_as_they_were_written(line: bytes, answer: Answer) -> None:
    """Rules E23, E24, E25 and E26."""
    client = DeliveryClientProtocol()
    assert client.receive_data(WELCOME + line)[1:] == [answer]


@pytest.mark.parametrize(
    "line",
    [
        answer_line("content", source="s1", start=0, position=0, data="*"),
        answer_line("content", source="s1", start=0, position=0, data=7),
        answer_line("content", source="s1", start=0.5, position=0, data=""),
        answer_line("damaged", source="s1", extents=[[0, 9, 1]], more=False),
        answer_line("damaged", source="s1", extents=[[9, 0, 1, 7]], more=False),
        answer_line("damaged", source="s1", extents=[[0, 9, 1, True]], more=False),
        answer_line("damaged", source="s1", extents=7, more=False),
        answer_line("damaged", source="s1", extents=[], more=1),
        answer_line("damage", source=7),
        answer_line("damage"),
        answer_line("repair", source="s1", start=0, whole=1, reason=""),
        answer_line("repair", source="s1", start=-1, whole=True, reason=""),
        answer_line("repair", source="s1", start=0, whole=True, reason=None),
    ],
)
def test_e23_to_e26_anything_else_is_not_an_answer(line: bytes) -> None:
    """Rules E23, E24, E25 and E26."""
    client = DeliveryClientProtocol()
    assert isinstance(client.receive_data(WELCOME + line)[-1], InvalidAnswer)


def test_e23_a_notice_that_comes_with_another_answer_is_kept_for_the_next_reader() -> None:
    """Rule E23."""
    client = DeliveryClientProtocol()
    welcome, *rest = client.receive_data(WELCOME + notice_line("s1") + notice_line("s2"))
    assert isinstance(welcome, Welcome)
    client.put_back(rest)
    assert client.has_answers
    assert client.receive_data(b"") == [DamageNotice("s1"), DamageNotice("s2")]
    assert not client.has_answers


def test_under_pressure_a_step_ends_before_a_batch_begins_to_inflate() -> None:
    """Whoever waits for memory must be asked first: a step alone inflates to 256 KiB."""
    server = DeliveryServerProtocol(max_batch_bytes=1 << 20, max_inflated_bytes=1 << 20)
    server.inflates_at_once = False
    payload = b'{"level":"INFO","message":"x"}\n' * 1000
    body = gzip.compress(payload)
    header = {"source": "s", "start": 0, "end": 1 << 20, "lines": 1000, "bytes": len(body), "encoding": "gzip"}
    message = json.dumps({"logferry": "batch", **header, "crc32": zlib.crc32(payload)}).encode() + b"\n" + body
    server.sources["s"] = True
    assert server.receive_data(message) == []
    assert server.is_inflating
    assert (server.rest_bytes, server.unjudged_bytes) == (len(payload), len(body))
    (request,) = server.next_requests()
    assert isinstance(request, BatchRequest)
    assert request.payload == payload
