"""The mysql_slow format, case by case (docs/protocol.md, rule F60)."""

import time
from itertools import pairwise

import pytest

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.renderer import renderer
from tests.support.formats import SAMPLES, check_sample, record, records

TIME = "# Time: 2024-01-15T08:23:45.123456Z"
USER = "# User@Host: app[app] @ web1 [10.0.0.5]  Id:  1234"
NUMBERS = "# Query_time: 2.000123  Lock_time: 0.000045 Rows_sent: 1  Rows_examined: 100000"


def test_a_sample_becomes_its_expected_records() -> None:
    check_sample("mysql_slow", "mysql_slow")


def test_the_lines_of_an_entry_are_one_event() -> None:
    """Rule F60."""
    assert record("mysql_slow", "\n".join([TIME, USER, NUMBERS, "SET timestamp=1;", "SELECT *", "", "FROM x;"])) == {
        "level": "UNKNOWN",
        "message": "SET timestamp=1;\nSELECT *\n\nFROM x;",
        "timestamp": "2024-01-15T08:23:45.123456Z",
        "user": "app",
        "account": "app",
        "host": "web1",
        "remote_addr": "10.0.0.5",
        "thread_id": 1234,
        "query_time": 2.000123,
        "lock_time": 0.000045,
        "rows_sent": 1,
        "rows_examined": 100000,
    }


def test_an_entry_without_a_time_is_an_event_of_its_own() -> None:
    entry = [USER, NUMBERS, "SELECT 1;"]
    found = records("mysql_slow", TIME, *entry, *entry)
    assert [each["timestamp"] for each in found] == ["2024-01-15T08:23:45.123456Z", None]
    assert [each["message"] for each in found] == ["SELECT 1;"] * 2


@pytest.mark.parametrize(
    "lines",
    [[TIME], [TIME, USER], [TIME, USER, NUMBERS], [TIME, USER, NUMBERS[:-7] + "x", "SELECT 1;"], ["SELECT 1;", "x"]],
)
def test_an_entry_of_another_shape_is_one_message(lines: list[str]) -> None:
    """Rule F5."""
    found = record("mysql_slow", "\n".join(lines))
    assert found == {"level": "UNKNOWN", "message": "\n".join(lines), "timestamp": None}


@pytest.mark.parametrize("limits", [(500, 131072), (2, 131072), (500, 90)])
def test_pieces_that_end_where_events_end_render_as_the_whole_does(limits: tuple[int, int]) -> None:
    """Rule F30."""
    data = (SAMPLES / "mysql_slow.log").read_bytes()
    spec = RenderSpec("mysql_slow", multiline_max_lines=limits[0], multiline_max_bytes=limits[1], rules=CURRENT_RULES)
    joiner = event_joiner(spec)
    assert joiner
    ends = [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + joiner.bytes_of_groups(data[ends[-1] :], 1))
    pieces = [renderer(spec).render(data[start:end]) for start, end in pairwise(ends)]
    assert b"".join(piece.payload for piece in pieces) == renderer(spec).render(data).payload
    assert [joiner.bytes_of_groups(data, count) for count in range(len(ends))] == ends
    for end in (place + 1 for place, byte in enumerate(data) if byte == 10):
        assert joiner.complete_bytes(data[:end]) in ends


def test_another_pattern_for_events_does_not_apply() -> None:
    spec = RenderSpec("mysql_slow", multiline="SELECT", rules=CURRENT_RULES)
    data = (SAMPLES / "mysql_slow.log").read_bytes()
    assert renderer(spec).render(data).payload == (SAMPLES / "mysql_slow.ndjson").read_bytes()


def test_finding_where_an_event_begins_takes_linear_time() -> None:
    joiner = event_joiner(RenderSpec("mysql_slow", rules=CURRENT_RULES))
    assert joiner

    def seconds(size: int) -> float:
        before = time.process_time()
        joiner.join(b", Version: " * (size // 11) + b"\nx\n")
        return time.process_time() - before

    small = min(seconds(4 * 1024) for _ in range(3))
    assert seconds(128 * 1024) < 100 * max(small, 1e-3)  # 32 is linear, 1024 the square
