"""The API: what it answers, how strict it is, and what becomes of hostile lines."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlencode

import pytest

from logferry.console.queries.queries import Limits
from logferry.console.source import Gap
from logferry.errors import StoreError
from tests.support.console import START_MS, Console, MemorySource, events, running_console
from tests.support.running import DEADLINE_S, wait_until

HOSTILE = (
    b'{"level": "INFO", "message": "<script>alert(1)</script><img src=x onerror=alert(1)>"}',
    b'{"level": "\\u001b[31mERROR", "message": "\\u001b[2J\\u202egnp.exe\\u0000"}',
    b'{"level": {"a": 1}, "message": ["not", "a", "text"], "n": 123456789012345678901234567890}',
    b'{"level": "INFO", "message": "\\ud800 half", "x": 1e400}',
    b'{"level": "INFO", "message": "n", "huge": ' + b"9" * 5000 + b"}",
    b'{"level": "INFO", "message": "m", "deep": ' + b'{"a":' * 63 + b"1" + b"}" * 63 + b"}",
    b"\xff\xfe not JSON at all \x1b[2J",
    b"[1, 2]",
    b"",
)


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource()
    for number in range(1000):
        level = b"ERROR" if number % 10 == 0 else b"INFO"
        source.add(b'{"level": "%s", "message": "line %d", "user": "u%d"}' % (level, number, number % 7))
    return source


@pytest.fixture(scope="module")
def quiet() -> Iterator[Console]:
    """Give a console for questions that change nothing: to start one takes longer than to ask."""
    source = MemorySource()
    source.add(b'{"level": "INFO", "message": "line"}')
    with running_console(source, limits=Limits(max_lines=300)) as running:
        yield running


@pytest.fixture
def console(source: MemorySource) -> Iterator[Console]:
    with running_console(source, limits=Limits(seconds=5, max_lines=300, max_queries=2)) as running:
        yield running


def messages(answer: dict[str, list[dict[str, object]]]) -> list[object]:
    return [line["message"] for line in answer["lines"]]


class TestLogs:
    def test_the_newest_lines_come_first_and_pages_join_without_a_gap(self, console: Console) -> None:
        found: list[object] = []
        answer = console.get("/logs", limit=300)
        while True:
            found += messages(answer)
            if not answer["has_more"]:
                break
            answer = console.get("/logs", limit=300, older=answer["last"])
        assert found == [f"line {number}" for number in reversed(range(1000))]

    def test_newer_lines_than_a_place_come_oldest_first(self, console: Console) -> None:
        middle = console.get("/logs", limit=1, q='"line 500"')["lines"][0]["place"]
        assert messages(console.get("/logs", newer=middle, limit=2)) == ["line 501", "line 502"]
        assert messages(console.get("/logs", older=middle, limit=2)) == ["line 499", "line 498"]
        assert messages(console.get("/logs", order="oldest", limit=2)) == ["line 0", "line 1"]

    def test_a_line_has_all_that_the_page_shows(self, console: Console) -> None:
        (line,) = console.get("/logs", q='"line 990"')["lines"]
        assert line == {
            "place": "1-990",
            "time": "2026-01-15T08:16:30.000Z",
            "received": "2026-01-15T08:16:30.000Z",
            "received_after": None,
            "event_time": True,
            "host": "web-1",
            "file": "/var/log/app.log",
            "level": "ERROR",
            "message": "line 990",
            "fields": {"user": "u3"},
            "cut": False,
            "bytes": len(b'{"level": "ERROR", "message": "line 990", "user": "u3"}'),
        }

    def test_filters_and_times_select(self, console: Console, source: MemorySource) -> None:
        source.add(b'{"level": "FATAL", "message": "other host"}', host="db-1", path="/var/log/pg.log")
        assert len(console.get("/logs", level="error", limit=300)["lines"]) == 101
        assert messages(console.get("/logs", host="db-*")) == ["other host"]
        assert messages(console.get("/logs", q="level:error file:pg.log")) == ["other host"]
        window = {"since": "2026-01-15T08:00:10Z", "until": "2026-01-15T08:00:12Z"}
        assert messages(console.get("/logs", **window)) == ["line 11", "line 10"]

    def test_gaps_come_with_the_first_page(self, console: Console, source: MemorySource) -> None:
        source.known_gaps = [Gap("web-1", "/a", START_MS, START_MS + 5000, "unknown", "truncated", 10)]
        (gap,) = console.get("/logs", limit=1)["gaps"]
        assert gap["kind"] == "unknown"
        assert gap["start"] == "2026-01-15T08:00:00.000Z"
        assert not console.get("/logs", limit=1, older="1-5")["gaps"]

    def test_a_stream_has_the_same_lines_and_an_end(self, console: Console) -> None:
        with console.stream("/logs", limit=3) as answer:
            items = [json.loads(line) for line in answer.read().splitlines()]
        assert [item["line"]["message"] for item in items if "line" in item] == ["line 999", "line 998", "line 997"]
        assert [item["end"]["has_more"] for item in items if "end" in item] == [True]
        assert any("progress" in item for item in items)


def test_the_histogram_counts_by_level_and_says_how_many_there_are(console: Console) -> None:
    window = {"since": "2026-01-15T08:00:00Z", "until": "2026-01-15T08:16:40Z"}
    answer = console.get("/histogram", **window, buckets=10)
    assert answer["levels"] == ["error", "warn", "info", "debug", "other"]
    assert answer["bucket_ms"] == 120_000
    assert answer["counts"] == [[bucket, 12, 0, 108, 0, 0] for bucket in range(8)] + [[8, 4, 0, 36, 0, 0]]
    assert (answer["total"], answer["complete"]) == (1000, True)


@pytest.mark.parametrize(
    ("since", "until", "buckets", "width"),
    [
        ("2026-01-15T08:00:03Z", "2026-01-15T08:15:03Z", 120, 10_000),
        ("2026-01-15T08:00:00.000Z", "2026-01-15T08:00:00.001Z", 500, 1),
        ("2026-01-01T00:00Z", "2026-01-31T00:00Z", 60, 12 * 3_600_000),
        ("1970-01-01T00:00Z", "2026-01-01T00:00Z", 1, 36_500 * 86_400_000),
    ],
)
def test_buckets_are_what_people_count_by(quiet: Console, since: str, until: str, buckets: int, width: int) -> None:
    assert quiet.get("/histogram", since=since, until=until, buckets=buckets)["bucket_ms"] == width


def test_context_and_raw_are_of_one_line(console: Console) -> None:
    answer = console.get("/context", place="1-10", before=1, after=2)
    assert messages(answer) == ["line 9", "line 10", "line 11", "line 12"]
    assert console.get("/raw", place="1-10")["text"] == '{"level": "ERROR", "message": "line 10", "user": "u3"}'


@pytest.mark.parametrize(
    ("path", "parameters", "sentence"),
    [
        ("/logs", {"limit": "0"}, "limit must be a whole number from 1 to 300"),
        ("/logs", {"limit": "301"}, "limit must be"),
        ("/logs", {"limit": "1e2"}, "limit must be"),
        ("/logs", {"limit": "٣"}, "limit must be"),
        ("/logs", {"nonsense": "1"}, "unknown parameter 'nonsense'"),
        ("/logs", {"q": "/(/"}, "not a regular expression"),
        ("/logs", {"q": "a\0b"}, "q has a NUL in it"),
        ("/logs", {"since": "soon"}, "since must be a time such as"),
        ("/logs", {"since": "1h", "until": "2h"}, "until must be later than since"),
        ("/logs", {"level": "<b>"}, "is not a level"),
        ("/logs", {"older": "a\x1b:1"}, "older must be the place of a line"),
        ("/logs", {"older": "1-1", "newer": "1-2"}, "cannot be used together"),
        ("/logs", {"older": "1-1", "order": "oldest"}, "newest first"),
        ("/logs", {"order": "random"}, "order must be one of"),
        ("/histogram", {"buckets": "501"}, "buckets must be"),
        ("/context", {}, "place is missing"),
        ("/hosts", {"x": ""}, "there are: none"),
        ("/tail", {"limit": "1"}, "unknown parameter"),
    ],
)
def test_a_wrong_parameter_is_a_sentence(quiet: Console, path: str, parameters: dict[str, str], sentence: str) -> None:
    status, text = quiet.refused(path, **parameters)
    assert status == 400
    assert sentence in text


@pytest.mark.parametrize(
    "query", ["q=a&q=b", "q=%ff", "&".join(f"a{n}=1" for n in range(100)), "q=" + "x" * 17_000, "=", "%00=1"]
)
def test_malformed_parameters_are_refused(quiet: Console, query: str) -> None:
    status, _, body = quiet.request(f"/api/v1/logs?{query}")
    assert status == 400
    assert json.loads(body)["error"]["code"] == "parameter"


def test_a_line_that_is_not_there_is_not_found(console: Console) -> None:
    for path, parameters in (
        ("/raw", {"place": "9-9"}),
        ("/context", {"place": "9-9"}),
        ("/logs", {"older": "9-9"}),
    ):
        assert console.refused(path, **parameters)[0] == 404


def test_other_paths_and_methods_are_refused_in_the_same_form(console: Console) -> None:
    for path in ("/nothing", "/static/../access.py", "/static/%2e%2e/access.py", "/api/v1/", "/api/v2/logs"):
        status, _, body = console.request(path)
        assert status == 404
        assert json.loads(body)["error"]["message"]
    status, headers, _ = console.request("/api/v1/logs", method="POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_store_that_cannot_be_read_is_a_sentence(console: Console, source: MemorySource) -> None:
    source.failure = StoreError("the ledger is damaged")
    assert console.refused("/hosts") == (503, "the store cannot be read: the ledger is damaged")
    source.failure = ZeroDivisionError("a bug")
    status, sentence = console.refused("/hosts")
    assert status == 500
    assert "bug" not in sentence


def test_hostile_lines_are_ascii_json_and_nothing_else(console: Console, source: MemorySource) -> None:
    for content in HOSTILE:
        source.add(content, host="evil<script>", path="/tmp/\u202e\x1b[31m\udcff.log")
    status, headers, body = console.request("/api/v1/logs?host=evil*&limit=100")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert all(32 <= byte < 127 for byte in body)
    lines = json.loads(body)["lines"]
    assert len(lines) == len(HOSTILE)
    assert lines[-1]["message"].startswith("<script>")
    assert lines[-3]["fields"] == {"n": "123456789012345678901234567890", "level": '{"a": 1}'}
    assert lines[-3]["message"] == '["not", "a", "text"]'
    for line in lines:
        raw = console.get("/raw", place=line["place"])
        assert raw["bytes"] == line["bytes"]


def test_a_level_that_is_not_a_text_is_shown(console: Console, source: MemorySource) -> None:
    for value in (b"30", b"3.5e1", b"true", b"null"):
        source.add(b'{"level": %s, "message": "m"}' % value, host="numbers")
    lines = console.get("/logs", host="numbers", order="oldest")["lines"]
    assert [line["level"] for line in lines] == ["30", "3.5e1", None, None]
    assert [line["fields"] for line in lines] == [{}, {}, {"level": True}, {"level": None}]


def test_large_lines_are_cut_and_raw_has_all_of_them(console: Console, source: MemorySource) -> None:
    long = source.add(b'{"level": "INFO", "message": "' + b"x" * 1_000_000 + b'"}', host="big")
    fields = b", ".join(b'"f%d": %d' % (number, number) for number in range(100_000))
    wide = source.add(b'{"level": "INFO", "message": "wide", ' + fields + b"}", host="big")
    _, _, body = console.request("/api/v1/logs?host=big")
    assert len(body) < 200_000
    second, first = json.loads(body)["lines"]
    assert first["cut"]
    assert second["cut"]
    assert len(second["fields"]) == 100
    for line in (long, wide):
        assert console.get("/raw", place=line.place)["text"].encode() == line.content


def test_an_answer_has_at_most_sixteen_megabytes(source: MemorySource) -> None:
    for number in range(600):
        source.add(b'{"level": "INFO", "message": "%d ' % number + b"\\u202e" * 16_000 + b'"}', host="big")
    with running_console(source, limits=Limits(max_lines=10_000)) as console:
        _, _, body = console.request("/api/v1/logs?host=big&limit=10000")
        answer = json.loads(body)
        assert len(body) < 17_000_000
        assert (answer["has_more"], answer["ended_by"]) == (True, "answer")
        following = console.get("/logs", host="big", limit=1, older=answer["last"])
        assert following["lines"][0]["place"] == f"1-{int(answer['last'].split('-')[1]) - 1}"


class TestLimits:
    def test_time_ends_a_query_with_what_it_has_found(self, source: MemorySource) -> None:
        source.slow_s = 0.01
        with running_console(source, limits=Limits(seconds=0.2)) as console:
            answer = console.get("/logs", limit=500)
            assert answer["ended_by"] == "time"
            assert (answer["has_more"], answer["complete"]) == (True, False)
            assert 0 < len(answer["lines"]) < 500
            assert console.get("/histogram", since="2026-01-15T08:00Z")["ended_by"] == "time"

    def test_bytes_end_a_query(self, source: MemorySource) -> None:
        with running_console(source, limits=Limits(max_bytes=1000)) as console:
            answer = console.get("/logs", limit=500)
            assert answer["ended_by"] == "bytes"
            assert 10 < len(answer["lines"]) < 30

    def test_further_queries_wait_and_are_refused_then(
        self, console: Console, source: MemorySource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("logferry.console.queries.queries._WAIT_FOR_PLACE_S", 0.05)
        source.slow_s = 0.05
        with console.stream("/logs"), console.stream("/logs"):
            status, sentence = console.refused("/logs")
            assert status == 503
            assert "too many queries" in sentence
        wait_until(lambda: console.queries.count == 0, "both are ended")
        source.slow_s = 0
        assert console.get("/logs", limit=1)["lines"]

    @pytest.mark.parametrize("path", ["/logs", "/histogram"])
    def test_a_reader_that_leaves_ends_its_query(self, console: Console, source: MemorySource, path: str) -> None:
        source.slow_s = 0.05
        for accept in ("application/json", "application/x-ndjson"):
            connection = http.client.HTTPConnection(console.host, console.port, timeout=DEADLINE_S)
            with closing(connection):
                connection.request("GET", f"/api/v1{path}", headers={"Accept": accept})
                wait_until(lambda: source.running == 1, "the query runs")
            wait_until(lambda: source.running == 0, "the query has ended", deadline_s=1.0)

    def test_a_reader_that_takes_nothing_does_not_make_memory_grow(
        self, console: Console, source: MemorySource
    ) -> None:
        count = 1000
        with console.stream("/tail", receive_buffer=4096) as answer:
            found = events(answer)
            assert next(found) == ("begin", {})
            wait_until(lambda: source.running == 1, "the tail runs")
            for number in range(count):
                source.add(b'{"level": "INFO", "message": "%d %s"}' % (number, b"x" * 16_000))
            last, left_out, seen = -1, 0, 0
            while left_out + seen < count:
                kind, value = next(found)
                left_out += value["lines"] if kind == "left_out" else 0
                if kind == "line":
                    number, seen = int(value["message"].split()[0]), seen + 1
                    assert number > last
                    last = number
            assert left_out > 0


def test_a_tail_begins_at_now_and_selects(console: Console, source: MemorySource) -> None:
    with console.stream("/tail", q="level:error") as answer:
        found = events(answer)
        assert answer.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert next(found) == ("begin", {})
        wait_until(lambda: source.running == 1, "the tail runs")
        source.add(b'{"level": "INFO", "message": "not this"}')
        source.add(b'{"level": "ERROR", "message": "this"}')
        kind, line = next(found)
        assert (kind, line["message"]) == ("line", "this")
    wait_until(lambda: source.running == 0, "the tail has ended", deadline_s=1.0)


def test_a_tail_goes_on_behind_the_event_that_its_reader_has_had(console: Console, source: MemorySource) -> None:
    with console.stream("/tail", q="level:error") as answer:
        assert [answer.readline() for _ in range(4)] == [b"event: begin\n", b"id: 1000\n", b"data: {}\n", b"\n"]
    for number in range(3000):  # more than a live tail would keep for its reader
        source.add(b'{"level": "ERROR", "message": "missed %d"}' % number)
    with console.stream("/tail", {"Last-Event-ID": "1000"}, q="level:error") as answer:
        found = events(answer)
        assert next(found) == ("begin", {"goes_on": True})
        assert [next(found)[1]["message"] for _ in range(3000)] == [f"missed {number}" for number in range(3000)]
        source.add(b'{"level": "ERROR", "message": "new"}')
        assert next(found)[1]["message"] == "new"


def test_a_tail_says_that_it_cannot_go_on_where_its_reader_was(console: Console, source: MemorySource) -> None:
    with console.stream("/tail", {"Last-Event-ID": "of-another-store"}) as answer:
        found = events(answer)
        assert next(found) == ("begin", {"goes_on": False})
        source.add(b'{"level": "INFO", "message": "new"}')
        assert next(found)[1]["message"] == "new"
    for hostile in ("a b", "\x1b[2J", "x" * 9000, "é"):
        assert console.refused("/tail", {"Last-Event-ID": hostile})[0] == 400


def test_a_quiet_tail_gives_signs_of_life(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logferry.console.api.answers._HEARTBEAT_S", 0.05)
    with console.stream("/tail") as answer:
        assert [answer.readline() for _ in range(6)][4:] == [b": here\n", b"\n"]


def test_a_stop_ends_tails_and_queries_at_once(source: MemorySource) -> None:
    source.slow_s = 0.05
    with running_console(source) as console:
        tail = http.client.HTTPConnection(console.host, console.port, timeout=DEADLINE_S)
        search = http.client.HTTPConnection(console.host, console.port, timeout=DEADLINE_S)
        tail.request("GET", "/api/v1/tail")
        search.request("GET", "/api/v1/logs")
        wait_until(lambda: source.running == 2, "both run")
    assert source.running == 0
    tail.close()
    search.close()


def test_overviews_have_times_in_utc(console: Console) -> None:
    status = console.get("/status")
    assert (status["hosts"], status["files"], status["lines"]) == (1, 1, 1000)
    assert status["last_received"] == "2026-01-15T08:16:39.000Z"
    (host,) = console.get("/hosts")["hosts"]
    assert host["last_received"] == "2026-01-15T08:16:39.000Z"
    (file,) = console.get("/files")["files"]
    assert file["file"] == "/var/log/app.log"
    proof = console.get("/proof")
    assert proof["files"][0]["checked_at"] == "2026-01-15T08:00:00.000Z"
    assert console.get("/storage")["usage"][0]["day"] == "2026-01-15"


def test_the_description_has_every_path_and_its_parameters(console: Console) -> None:
    description = console.get("/openapi.json")
    logs = description["paths"]["/api/v1/logs"]["get"]
    names = {each["name"] for each in logs["parameters"]}
    assert names == {"q", "host", "file", "level", "since", "until", "limit", "order", "older", "newer"}
    needed = {"place": "1-1", "host": "web-1"}
    for path, methods in description["paths"].items():
        if path.endswith("/tail"):
            continue
        own = [each["name"] for each in methods["get"]["parameters"] if each["required"]]
        query = urlencode({name: needed[name] for name in own})
        assert console.request(f"{path}?{query}")[0] == 200, path
