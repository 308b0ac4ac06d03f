"""Several lines that are one event (docs/protocol.md, rules F28 to F30)."""

import base64
import json
from typing import Any

import pytest

from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.escape import BOM
from logferry.rendering.engine.events import EventJoiner
from logferry.rendering.engine.format import Rendered
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.renderer import renderer

TIME = "2024-01-15 08:23:45"
TRACE = f"{TIME} ERROR failed\nTraceback:\n  File x\nValueError\n"

# It contains every byte that could stand for an inner newline.
RUBBISH = bytes(range(0x20)).replace(b"\n", b"").replace(b"\r", b"")


def events(data: str | bytes, multiline: str = "timestamp", **limits: int) -> list[dict[str, Any]]:
    """Return the records of lines."""
    data = data.encode() if isinstance(data, str) else data
    rendered = renderer(RenderSpec(multiline=multiline, **limits)).render(data)  # type: ignore[arg-type]
    assert rendered.lines + rendered.blank + rendered.joined == data.count(b"\n") + (not data.endswith(b"\n"))
    return [json.loads(record) for record in rendered.payload.splitlines()]


def messages(data: str | bytes, multiline: str = "timestamp", **limits: int) -> list[str]:
    return [event["message"] for event in events(data, multiline, **limits)]


def joiner(multiline: str = "timestamp", **limits: int) -> EventJoiner:
    found = event_joiner(RenderSpec(multiline=multiline, **limits))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_lines_are_joined_to_the_line_that_begins_the_event() -> None:
    """Rule F28."""
    assert events(TRACE + f"{TIME} INFO ready\n") == [
        {"level": "ERROR", "message": "failed\nTraceback:\n  File x\nValueError", "timestamp": TIME},
        {"level": "INFO", "message": "ready", "timestamp": TIME},
    ]


@pytest.mark.parametrize(
    "begin",
    [
        TIME,
        f"[{TIME}]",
        "2024-01-15T08:23:45.123+01:00",
        "2024/01/15 08:23:45",
        "Jan 15 08:23:45",
        "Jan  5 08:23:45",
        "Mon Jan 15 08:23:45 2024",
        "[Mon Jan 15 08:23:45.123 2024]",
        "<34>Jan 15 08:23:45",
        "<34>1 2024-01-15T08:23:45Z",
        "15-Jan-2024 08:23:45.123",
        "[15/Jan/2024:08:23:45 +0000]",
    ],
)
def test_timestamps_of_many_kinds_begin_an_event(begin: str) -> None:
    """Rule F28."""
    assert len(events(f"{begin} a\n  b\n{begin} c\n")) == 2


@pytest.mark.parametrize(
    "line", [f" {TIME} a", "at 08:23:45", "2024-01-15", "1234", "Jan", f"x{TIME}", "\t[2024-01-15"]
)
def test_lines_without_a_timestamp_do_not_begin_an_event(line: str) -> None:
    """Rule F28."""
    assert len(events(f"{TIME} INFO a\n{line}\n")) == 1


def test_a_pattern_is_matched_at_the_beginning_of_a_line() -> None:
    """Rule F28."""
    assert messages("BEGIN a\nnot BEGIN\nBEGIN b\n", "BEGIN") == ["BEGIN a\nnot BEGIN", "BEGIN b"]
    assert messages("żółw\nx\nżółw\n", "[żż]ó") == ["żółw\nx", "żółw"]
    assert messages("a:\r\n b\r\nb:\r\n c\r\n", r"\w:$") == ["a:\n b", "b:\n c"]
    assert messages("a\nb\n c\n", r"(?!\s)") == ["a", "b\n c"]


def test_a_multiline_pattern_sees_only_one_line() -> None:
    assert messages("a\n b\na\n", r"a\s+b") == ["a\n b\na"]
    assert messages("a\n b\na\n", r"a\Z") == ["a\n b", "a"]


def test_the_first_line_begins_an_event_whatever_it_is() -> None:
    """Rule F28."""
    assert messages(f"  x\n  y\n{TIME} INFO a\n") == ["  x\n  y", "a"]


def test_blank_lines_are_kept_inside_an_event_and_dropped_at_its_end() -> None:
    """Rule F28."""
    data = f"{TIME} INFO a\n\n b\n\n  \t\n{TIME} INFO c\n\r\n\n".encode()
    assert messages(data) == ["a\n\n b", "c"]
    rendered = renderer(RenderSpec(multiline="timestamp")).render(data)
    assert (rendered.lines, rendered.blank, rendered.joined) == (2, 4, 2)


def test_blank_lines_alone_give_nothing() -> None:
    rendered = renderer(RenderSpec(multiline="timestamp")).render(b"\n \n\n")
    assert (rendered.payload, rendered.blank) == (b"", 3)


def test_a_level_alone_may_be_followed_by_lines() -> None:
    assert messages(f"{TIME} INFO\n a\n") == [" a"]


def test_crlf_is_a_newline_inside_an_event_too() -> None:
    assert events(TRACE.replace("\n", "\r\n")) == events(TRACE)


def test_an_event_has_at_most_the_allowed_lines() -> None:
    """Rule F29."""
    data = "x 0\n" + "".join(f" {number}\n" for number in range(1, 8))
    assert messages(data, "x", multiline_max_lines=3) == ["x 0\n 1\n 2", " 3\n 4\n 5", " 6\n 7"]


def test_an_event_has_at_most_the_allowed_bytes_but_a_line_is_never_cut() -> None:
    """Rule F29."""
    data = "x\n é\n 2\n" + " " * 30 + "long\n 3\n 4\n"
    assert messages(data, "x", multiline_max_bytes=9) == ["x\n é\n 2", " " * 30 + "long", " 3\n 4"]
    assert messages(data, "x", multiline_max_bytes=8) == ["x\n é", " 2", " " * 30 + "long", " 3\n 4"]


def test_a_truncated_line_is_an_event_of_its_own() -> None:
    """Rule F29."""
    cut = renderer(RenderSpec(multiline="timestamp")).render(b"  x\r", truncated=True)
    assert json.loads(cut.payload) == {"level": "UNKNOWN", "message": "  x\r", "timestamp": None, "truncated": True}


def test_an_event_that_is_not_utf8_carries_all_its_bytes() -> None:
    (event,) = events(f"{TIME} INFO a\r\n".encode() + b" caf\xe9\r\n b\r\n")
    assert event["message"] == "a\n caf\ufffd\n b"
    assert base64.b64decode(event["raw"]) == f"{TIME} INFO a\r\n".encode() + b" caf\xe9\r\n b"


def test_the_last_line_may_lack_its_newline() -> None:
    assert messages(f"{TIME} INFO a\n b") == ["a\n b"]


def test_a_byte_order_mark_does_not_hide_the_beginning_of_an_event() -> None:
    rendered = renderer(RenderSpec(multiline="timestamp")).render(BOM + TRACE.encode(), is_start=True)
    assert rendered == renderer(RenderSpec(multiline="timestamp")).render(TRACE.encode())


def test_an_empty_chunk_gives_nothing() -> None:
    spec = RenderSpec(multiline="timestamp")
    assert renderer(spec).render(b"") == renderer(spec).render(BOM, is_start=True) == Rendered(b"", 0)


@pytest.mark.parametrize("code", range(0x20))
def test_every_control_character_survives_in_an_event(code: int) -> None:
    if code not in b"\n":
        assert messages(f"{TIME} INFO a{chr(code)}b\n {chr(code)}c\n") == [f"a{chr(code)}b\n {chr(code)}c"]


def test_garbage_with_every_control_character_is_joined_like_other_lines() -> None:
    data = BOM + b"x" + RUBBISH + b"\n " + RUBBISH + b"\n\n" + b"x\n\xff\n" + b"\nx " + RUBBISH + b"\n"
    spec = RenderSpec(multiline="x")
    rendered = renderer(spec).render(data, is_start=True)
    pieces = [renderer(spec).render(data[len(BOM) :].replace(byte, b"")) for byte in (b"\x01", b"\x02")]
    assert (rendered.lines, rendered.joined, rendered.blank, rendered.undecodable) == (3, 2, 2, 1)
    found = [json.loads(record)["message"] for record in rendered.payload.splitlines()]
    for piece, missing in zip(pieces, "\x01\x02", strict=True):
        expected = [json.loads(record)["message"] for record in piece.payload.splitlines()]
        assert [message.replace(missing, "") for message in found] == expected


def test_garbage_with_every_control_character_is_filtered_and_redacted_like_other_lines() -> None:
    data = b"x " + RUBBISH + b" secret\r\n" + RUBBISH + b" secret\r\n"
    kept = renderer(RenderSpec(multiline="x", include=("^x",), exclude=("secret\\r",), redact=("secret",))).render(data)
    text = RUBBISH.decode()
    assert json.loads(kept.payload)["message"] == f"x {text} [redacted]\n{text} [redacted]"
    assert (kept.lines, kept.joined, kept.redacted) == (1, 1, 2)
    filtered = renderer(RenderSpec(multiline="x", exclude=("secret$",))).render(data)
    assert filtered == Rendered(b"", 0, joined=1, filtered=1)


def test_an_event_that_can_grow_is_not_complete() -> None:
    """Rule F30."""
    rule = joiner()
    assert rule.complete_bytes(b"") == 0
    assert rule.complete_bytes(TRACE.encode()) == 0
    assert rule.complete_bytes((TRACE * 2).encode()) == len(TRACE)
    assert rule.complete_bytes((TRACE * 2000).encode()) == len(TRACE) * 1999


def test_an_event_at_its_limit_is_complete() -> None:
    """Rule F30."""
    assert joiner("x", multiline_max_lines=2).complete_bytes(b"x\n a\n") == 5
    assert joiner("x", multiline_max_lines=2).complete_bytes(b"x\n a\n b\n") == 5
    assert joiner("x", multiline_max_bytes=5).complete_bytes(b"x\n a\n") == 5
    assert joiner("x", multiline_max_bytes=6).complete_bytes(b"x\n a\n") == 0


def test_the_first_events_can_be_taken() -> None:
    """Rule F30."""
    data = (TRACE * 3).encode()
    assert [joiner().bytes_of_groups(data, groups) for groups in (0, 1, 2, 3, 9)] == [
        0,
        *(len(TRACE) * n for n in (1, 2, 3, 3)),
    ]


def test_long_runs_without_a_beginning_are_cut_at_the_same_places_again() -> None:
    """Rules F29 and F30."""
    rule = joiner("x", multiline_max_lines=7)
    data = b"x\n" + b" line\n" * 10_000
    end = rule.complete_bytes(data)
    assert data[:end].count(b"\n") == 10_001 - 10_001 % 7


@pytest.mark.parametrize("pattern", ["(", "*a", "[", "(?P<a"])
def test_an_invalid_pattern_is_refused_with_a_reason(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"cannot use .* as a pattern \(multiline\): \w+"):
        renderer(RenderSpec(multiline=pattern))
