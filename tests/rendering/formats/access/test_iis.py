"""The iis format, for one header (docs/protocol.md, rule F59)."""

import json
from typing import Any

import pytest

from logferry.rendering.registry import format_named
from tests.support.formats import record, records, render_both_ways, unknown

HEADER = "iis:date time s-ip cs-method cs-uri-stem cs-uri-query cs-username c-ip sc-status sc-bytes time-taken"
LINE = "2024-01-15 08:23:45 10.0.0.1 GET /a q=1 - 192.0.2.7 200 27 15"


def test_fields_have_the_names_of_other_access_logs_or_their_own() -> None:
    assert record(HEADER, LINE) == {
        "level": "INFO",
        "message": "GET /a",
        "timestamp": "2024-01-15 08:23:45",
        "s-ip": "10.0.0.1",
        "method": "GET",
        "path": "/a",
        "cs-uri-query": "q=1",
        "user": None,
        "remote_addr": "192.0.2.7",
        "status": 200,
        "bytes": 27,
        "time-taken": 15,
    }


@pytest.mark.parametrize(
    ("header", "line", "expected"),
    [
        (
            "time c-ip",
            "08:23:45 a",
            {"message": "08:23:45 a", "timestamp": None, "time": "08:23:45", "remote_addr": "a"},
        ),
        ("time date", "08:23:45 2024-01-15", {"timestamp": None, "date": "2024-01-15"}),
        ("date time", "2024-01-15\t08:23:45", {"timestamp": "2024-01-15 08:23:45", "message": "2024-01-15\t08:23:45"}),
        ("a a raw level", "1 2 3 4", {"a": "1", "a_2": "2", "raw_2": "3", "level_2": "4", "level": "UNKNOWN"}),
        ("time-taken x", "0.010 \\t", {"time-taken": 0.01, "x": "\\t"}),
        ("sc-status", "000", {"status": 0, "level": "INFO"}),
        ("sc-status", "-", {"status": None, "level": "INFO"}),
        ("cs-method x cs-uri-stem", "GET x /", {"method": "GET", "path": "/", "message": "GET x /"}),
        ("x", 'caf\u00e9"\\', {"x": 'caf\u00e9"\\'}),
    ],
)
def test_a_line_means_what_its_header_says(header: str, line: str, expected: dict[str, Any]) -> None:
    found = record(f"iis:{header}", line)
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    "line",
    [
        *(LINE + " x", LINE.rpartition(" ")[0], LINE.replace(" 200 ", " 20 "), LINE.replace("-15", "-1")),
        *(LINE.replace(" 27 ", " 07 "), "#Date: x", "#" + LINE, LINE.replace(" ", "  ", 1), " " + LINE),
    ],
)
def test_a_line_of_another_shape_is_shipped_whole(line: str) -> None:
    """Rule F5."""
    assert records(HEADER, line, LINE) == [unknown(line), record(HEADER, LINE)]


def test_without_a_header_every_line_is_shipped_whole() -> None:
    assert record("iis", LINE) == unknown(LINE)


@pytest.mark.parametrize("header", ["x" * 3000, 'a"', "a\\", "caf\u00e9", "a\x01"])
def test_a_header_that_cannot_be_used_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="cannot use"):
        format_named(f"iis:{header}")


def test_a_line_that_was_cut_has_no_wrong_level_or_timestamp() -> None:
    for size in range(1, len(LINE)):
        payload = render_both_ways(HEADER, LINE[:size].encode() + b"\n").payload
        found = json.loads(payload)
        assert found["level"] == "UNKNOWN" or size == len(LINE) - 1
