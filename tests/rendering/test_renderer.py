"""The record of a line, case by case (docs/protocol.md, rules F1 to F10), in whole chunks and by the reference."""

import base64
import json
import time
from typing import Any

import pytest

from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.escape import BOM
from logferry.rendering.engine.format import Rendered
from logferry.rendering.reference import render_event
from logferry.rendering.registry import format_named
from logferry.rendering.renderer import renderer
from tests.support.formats import render, render_line

TIME = "2024-01-15 08:23:45"


def both_ways(line: bytes) -> bytes:
    """Render one line (without its newline) as a chunk and by the reference; both must give the same bytes."""
    fast = render(line + b"\n").payload
    assert fast == (render_line(line) or b"")
    return fast


def fields(line: str | bytes) -> dict[str, Any]:
    """Return the record of the line."""
    payload = both_ways(line.encode() if isinstance(line, str) else line)
    assert payload.count(b"\n") == 1
    result: dict[str, Any] = json.loads(payload)
    return result


def unknown(message: str) -> dict[str, object]:
    return {"level": "UNKNOWN", "message": message, "timestamp": None}


def test_the_example_of_the_design_is_rendered_byte_for_byte() -> None:
    """Rule F1."""
    assert both_ways(b"2024-01-15 08:23:45 INFO Application started") == (
        b'{"level": "INFO", "message": "Application started", "timestamp": "2024-01-15 08:23:45"}\n'
    )


def test_a_line_of_another_shape_is_rendered_whole_byte_for_byte() -> None:
    """Rule F5."""
    assert both_ways(b"Traceback (most recent call last):") == (
        b'{"level": "UNKNOWN", "message": "Traceback (most recent call last):", "timestamp": null}\n'
    )


@pytest.mark.parametrize(
    "timestamp",
    [
        "2024-01-15 08:23:45",
        "2024-01-15T08:23:45",
        "2024-01-15 08:23:45.1",
        "2024-01-15 08:23:45,123",
        "2024-01-15T08:23:45.123456789",
        "2024-01-15T08:23:45Z",
        "2024-01-15T08:23:45.5Z",
        "2024-01-15 08:23:45 UTC",
        "2024-01-15 08:23:45UTC",
        "2024-01-15 08:23:45 GMT",
        "2024-01-15T08:23:45+01:00",
        "2024-01-15T08:23:45-0530",
        "2024-01-15 08:23:45 +02",
        "2024-01-15 08:23:45,001 +0000",
    ],
)
def test_a_timestamp_is_kept_as_written(timestamp: str) -> None:
    """Rule F2."""
    assert fields(f"{timestamp} INFO ready") == {"level": "INFO", "message": "ready", "timestamp": timestamp}


@pytest.mark.parametrize("level", ["INFO", "info", "[INFO]", "[info]", "[Info]", "INFO:", "info:", "Info:"])
def test_a_level_is_upper_cased_without_brackets_and_colon(level: str) -> None:
    """Rule F3."""
    assert fields(f"{TIME} {level} ready") == {"level": "INFO", "message": "ready", "timestamp": TIME}


def test_spellings_of_levels_may_be_mixed_in_one_chunk() -> None:
    payload = render(f"{TIME} info a\n{TIME} INFO b\n{TIME} [Warn] c\n{TIME} ERROR: d\n".encode()).payload
    assert [json.loads(line)["level"] for line in payload.splitlines()] == ["INFO", "INFO", "WARN", "ERROR"]


@pytest.mark.parametrize("level", ["Zebra", "GMTX", "utc", "Z", "UTCNOW"])
def test_a_word_may_begin_like_a_time_zone(level: str) -> None:
    """Rule F41."""
    expected = {"level": "UNKNOWN", "message": f"{level} ready", "timestamp": TIME}
    if level == "Z":
        expected = {"level": "UNKNOWN", "message": "ready", "timestamp": f"{TIME} Z"}
    assert fields(f"{TIME} {level} ready") == expected


@pytest.mark.parametrize("level", ["INFO", "INFO:", "[INFO]", "INFO ", "INFO\t"])
def test_a_level_without_a_message_has_an_empty_one(level: str) -> None:
    """Rule F3."""
    assert fields(f"{TIME} {level}") == {"level": "INFO", "message": "", "timestamp": TIME}


@pytest.mark.parametrize("gap", [" ", "   ", "\t"])
def test_spaces_or_one_tab_precede_the_level(gap: str) -> None:
    """Rule F3."""
    assert fields(f"{TIME}{gap}INFO ready")["level"] == "INFO"


@pytest.mark.parametrize(
    "message", [" two spaces before", "one after ", "a: b", "[x] y", "INFO again", "tab\there", "{}"]
)
def test_a_message_is_kept_as_written(message: str) -> None:
    """Rule F4."""
    assert fields(f"{TIME} WARN {message}") == {"level": "WARN", "message": message, "timestamp": TIME}


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        f" {TIME} INFO indented",
        f"{TIME}INFO ready",
        f"{TIME}+01:00INFO ready",
        f"{TIME}. INFO empty fraction",
        "2024-01-15  08:23:45 INFO two spaces in the timestamp",
        "2024-1-15 08:23:45 INFO short month",
        "24-01-15 08:23:45 INFO short year",
        "٢٠٢٤-01-15 08:23:45 INFO digits that are not ASCII",
        "  at java.lang.Thread.run(Thread.java:748)",
        r"2024-01-15 08:23:45\tINFO a backslash and a t are no tab",
        '{"level": "INFO", "message": "JSON already"}',
    ],
)
def test_any_other_shape_is_shipped_whole_as_unknown(line: str) -> None:
    """Rules F2, F3 and F5."""
    assert fields(line) == unknown(line)


@pytest.mark.parametrize(
    "message",
    ["", "INFO1 digit in the level", "[INFO ready", "INFO] ready", "INFO, ready", "ÉTAT ready", "INFO\u00a0ready"],
)
def test_a_timestamp_without_a_level_is_recognised(message: str) -> None:
    """Rule F40."""
    assert fields(f"{TIME} {message}") == {"level": "UNKNOWN", "message": message, "timestamp": TIME}


@pytest.mark.parametrize("blank", [b"", b" ", b"\t", b"\r", b"  \t \r", b"\x0b\x0c"])
def test_blank_lines_are_skipped_and_counted(blank: bytes) -> None:
    """Rule F6."""
    assert both_ways(blank) == b""
    rendered = render(b"a\n" + blank + b"\n" + blank + b"\nb\n")
    assert (rendered.lines, rendered.blank) == (2, 2)
    assert [json.loads(line)["message"] for line in rendered.payload.splitlines()] == ["a", "b"]


def test_a_chunk_of_blank_lines_gives_nothing() -> None:
    assert render(b"\n \n\r\n\n") == Rendered(b"", 0, blank=4)


def test_an_empty_chunk_gives_nothing() -> None:
    assert render(b"") == render(b"", is_start=True) == render(BOM, is_start=True) == Rendered(b"", 0)


def test_a_line_of_unicode_spaces_is_not_blank() -> None:
    for space in ("\u00a0", "\u2003", "\u2028", "\x85", "\x1c", "\x1f"):
        assert fields(space) == unknown(space)


def test_crlf_ends_a_line_as_a_newline_does() -> None:
    """Rule F6."""
    assert render(f"{TIME} INFO a\r\nb\r\n".encode()) == render(f"{TIME} INFO a\nb\n".encode())


def test_a_lone_carriage_return_is_kept() -> None:
    """Rule F6."""
    assert fields("progress 10%\rprogress 20%") == unknown("progress 10%\rprogress 20%")
    assert fields(f"{TIME} INFO a\rb")["message"] == "a\rb"
    assert fields("ends with two\r\r") == unknown("ends with two\r")


def test_a_byte_order_mark_is_dropped_at_the_start_only() -> None:
    """Rule F6."""
    line = f"{TIME} INFO first\n".encode()
    assert render(BOM + line, is_start=True) == render(line)
    assert json.loads(render(BOM + line).payload) == unknown(f"\ufeff{TIME} INFO first")
    second = render(line + BOM + line, is_start=True).payload.splitlines()[1]
    assert json.loads(second)["message"].startswith("\ufeff")


def test_a_start_without_a_byte_order_mark_loses_nothing() -> None:
    """Rule F6."""
    for truncated in (False, True):
        rendered = render(b"message", is_start=True, truncated=truncated)
        assert json.loads(rendered.payload)["message"] == "message"


def test_a_byte_order_mark_alone_is_dropped_at_the_start_only() -> None:
    """Rule F6."""
    assert render(BOM, is_start=True) == render(b"")
    assert json.loads(render(BOM).payload)["message"] == "\ufeff"


def test_control_characters_use_the_short_escape_if_they_have_one() -> None:
    """Rule F7."""
    assert both_ways(b"a\x00\x08\x09\x0b\x0c\x1f\x1bz") == (
        b'{"level": "UNKNOWN", "message": "a\\u0000\\b\\t\\u000b\\f\\u001f\\u001bz", "timestamp": null}\n'
    )


@pytest.mark.parametrize("code", [code for code in range(0x20) if code != 0x0A])
def test_every_control_character_survives(code: int) -> None:
    message = f"a{chr(code)}b"
    assert fields(message)["message"] == message
    assert fields(f"{TIME} INFO {message}")["message"] == message


def test_quotes_and_backslashes_are_escaped() -> None:
    """Rule F7."""
    message = r'C:\new "quoted" \" \\ \u0041 \n end\\'
    assert fields(f"{TIME} INFO {message}")["message"] == message
    assert fields(message) == unknown(message)


@pytest.mark.parametrize(
    "text", ["\x7f", "\u2028", "\u2029", "\x85", "é", "日本語", "🚢", "\ufffd", "\ufeff", "\U0010ffff"]
)
def test_text_stays_utf8_as_it_is(text: str) -> None:
    """Rule F7."""
    assert f'"message": "a{text}b"'.encode() in both_ways(f"a{text}b".encode())
    assert f'"message": "a{text}b"'.encode() in both_ways(f"{TIME} INFO a{text}b".encode())


@pytest.mark.parametrize(
    "rubbish",
    [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"cut \xe2\x82", b"\x80 first"],
)
def test_bytes_that_are_not_utf8_are_replaced_and_carried_in_raw(rubbish: bytes) -> None:
    """Rule F8."""
    for line in (rubbish, TIME.encode() + b" INFO " + rubbish):
        found = fields(line)
        assert "\ufffd" in found["message"]
        assert base64.b64decode(found["raw"]) == line
        assert list(found) == ["level", "message", "timestamp", "raw"]
    assert fields(TIME.encode() + b" INFO " + rubbish)["level"] == "INFO"


def test_invalid_lines_do_not_affect_their_neighbours() -> None:
    rendered = render(b"\xff\na\n\xe9 and \xe8\nb\nc\n\xfe\n")
    assert (rendered.lines, rendered.undecodable, rendered.blank) == (6, 3, 0)
    records = [json.loads(line) for line in rendered.payload.splitlines()]
    assert [record["message"] for record in records] == ["\ufffd", "a", "\ufffd and \ufffd", "b", "c", "\ufffd"]
    assert ["raw" in record for record in records] == [True, False, True, False, False, True]


def test_an_invalid_last_line_may_lack_its_newline() -> None:
    assert base64.b64decode(json.loads(render(b"caf\xe9").payload)["raw"]) == b"caf\xe9"


def test_the_raw_bytes_are_those_without_the_line_ending() -> None:
    assert base64.b64decode(json.loads(render(b"caf\xe9\r\n").payload)["raw"]) == b"caf\xe9"


def test_a_last_line_without_newline_is_a_line() -> None:
    assert render(f"a\n{TIME} INFO b".encode()) == render(f"a\n{TIME} INFO b\n".encode())


def test_a_truncated_line_is_marked_and_keeps_its_shape() -> None:
    """Rule F9."""
    rendered = render(f"{TIME} INFO {'x' * 50}".encode(), truncated=True)
    assert rendered.lines == 1
    assert json.loads(rendered.payload) == {
        "level": "INFO",
        "message": "x" * 50,
        "timestamp": TIME,
        "truncated": True,
    }
    assert rendered.payload.endswith(b', "truncated": true}\n')


def test_a_truncated_line_that_is_not_utf8_has_raw_and_the_mark() -> None:
    rendered = render(b"\xff" * 9, truncated=True)
    assert list(json.loads(rendered.payload)) == ["level", "message", "timestamp", "raw", "truncated"]
    assert rendered.undecodable == 1


def test_a_truncated_line_keeps_a_carriage_return_at_the_cut() -> None:
    assert json.loads(render(b"abc\r", truncated=True).payload)["message"] == "abc\r"


def test_a_truncated_line_is_never_blank_because_its_rest_is_unknown() -> None:
    """Rule F9."""
    rendered = render(b" " * 64, truncated=True)
    assert (rendered.lines, rendered.blank) == (1, 0)
    assert json.loads(rendered.payload)["message"] == " " * 64


def test_a_truncated_line_at_the_start_loses_its_byte_order_mark() -> None:
    assert json.loads(render(BOM + b"abc", is_start=True, truncated=True).payload)["message"] == "abc"


def test_lines_of_all_kinds_keep_their_order_and_are_counted() -> None:
    rendered = render(f"x\n{TIME} INFO a\n\n{TIME} WARN b\ny\nz\n{TIME} INFO c\n".encode() + b"\xff\n\n")
    messages = [json.loads(line)["message"] for line in rendered.payload.splitlines()]
    assert messages == ["x", "a", "b", "y", "z", "c", "\ufffd"]
    assert (rendered.lines, rendered.blank, rendered.undecodable) == (7, 2, 1)


@pytest.mark.parametrize(
    "line",
    [
        *(b"\xff", b"caf\xe9", b"\\", b"\x00", b"a", b"2024-01-15 08:23:45 [a] ", b"2024-01-15 08:23:45", b"\r"),
        *(
            b"2024-01-15 08:23:45 (",
            b"2024-01-15 08:23:45 - a.b ",
            b"[08:23:45 INF",
            b"INFO:",
            b"I, [2024-01-15T08:23:45",
        ),
        *(b"1:M 15 Jan 2024 08:23:45 ", b"[I 240115 08:23:45", b"1 [a", b"\x1b[32m", b"2024-01-15 08:23:45 |"),
    ],
)
def test_no_kind_of_line_takes_quadratic_time(line: bytes) -> None:
    def seconds(size: int) -> float:
        chunk = (line + b" " * 32 + b"\n") * (size // 34)
        begin = time.process_time()
        render(chunk)
        return time.process_time() - begin

    small = min(seconds(32 * 1024) for _ in range(3))
    assert min(seconds(1024 * 1024) for _ in range(2)) < 90 * max(small, 1e-3)  # 32 is linear, 1024 the square


def test_a_level_may_end_its_line_where_lines_are_joined() -> None:
    spec = RenderSpec(multiline="timestamp")
    payload = renderer(spec).render(b"2024-01-15 08:23:45 ERROR\n at x\n").payload
    assert payload == b'{"level": "ERROR", "message": " at x", "timestamp": "2024-01-15 08:23:45"}\n'
    event = b"2024-01-15 08:23:45 ERROR\n at x"
    assert render_event(format_named("plain"), event) == payload


def test_escape_sequences_are_taken_out_if_that_is_asked_for() -> None:
    """Rule F50."""
    lines = (
        f"{TIME} \x1b[32mINFO\x1b[0m \x1b[1;31mred\x1b[0m\n"
        "\x1b[0m\n"
        "\x1b]8;;http://a\x07link\x1b]8;;\x1b\\ \x1b[2K\x1b[\n"
    ).encode() + b"\x1b[1m\xff\n"
    rendered = renderer(RenderSpec(rules=2, strip_ansi=True, redact=("red",))).render(lines)
    found = [json.loads(line) for line in rendered.payload.splitlines()]
    assert [record["message"] for record in found] == ["[redacted]", "link \x1b[", "\ufffd"]
    assert (found[0]["level"], found[2]["raw"], rendered.blank) == ("INFO", "/w==", 1)
    kept = renderer(RenderSpec(rules=2)).render(lines).payload
    assert json.loads(kept.splitlines()[0])["message"] == "\x1b[1;31mred\x1b[0m"
    cut = renderer(RenderSpec(rules=2, strip_ansi=True)).render(b"\x1b[1mabc", truncated=True).payload
    assert json.loads(cut)["message"] == "abc"


@pytest.mark.parametrize("name", ["plain", "python", "cri+plain"])
def test_words_of_the_user_are_levels_in_every_format_that_looks_for_levels_in_lines(name: str) -> None:
    """Rule F50."""
    line = f"{TIME} AUDIT x\n"
    if name == "cri+plain":
        line = f"2026-03-04T11:12:13Z stdout F {line}"
    for levels, level in (((), "UNKNOWN"), (("AUDIT",), "AUDIT")):
        rendered = renderer(RenderSpec(name, rules=2, levels=levels)).render(line.encode())
        assert json.loads(rendered.payload)["level"] == level
