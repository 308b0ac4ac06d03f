"""JSON objects that were written over several lines (docs/protocol.md, rule F62)."""

import json
import random
from typing import Any

import pytest

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.events import EventJoiner
from logferry.rendering.event_boundaries import event_joiner
from logferry.rendering.renderer import renderer

PRETTY = json.dumps({"level": "info", "msg": 'a "quoted" } {', "at": {"x": [1, {"y": "}"}, []]}, "n": None}, indent=2)


def spec(**changes: Any) -> RenderSpec:
    return RenderSpec(**{"format": "json", "multiline": "json", "rules": CURRENT_RULES, **changes})


def joiner(**changes: Any) -> EventJoiner:
    found = event_joiner(spec(**changes))
    assert found is not None
    return found


def events(text: str, **changes: Any) -> list[str]:
    """Return the events of a text as they were written."""
    rule, data, found = joiner(**changes), text.encode(), list[str]()
    while data:
        size = rule.bytes_of_groups(data, 1)
        found.append(data[:size].decode())
        data = data[size:]
    return found


def records(text: str, **changes: Any) -> list[dict[str, Any]]:
    rendered = renderer(spec(**changes)).render(text.encode())
    assert rendered.lines + rendered.blank + rendered.joined == text.count("\n") + (not text.endswith("\n"))
    return [json.loads(record) for record in rendered.payload.splitlines()]


@pytest.mark.parametrize("indent", [0, 1, 4, "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_object_over_several_lines_is_one_record(indent: int | str, newline: str) -> None:
    value = {
        "level": "warn",
        "msg": 'a \\ "b" {[}',
        "list": [{}, {"a": {"b": []}}, [[{"c": "]"}]]],
        "{": "}",
        "n": 1.50,
    }
    text = json.dumps(value, indent=indent).replace("\n", newline) + newline
    first, second = records(text * 2)
    assert (
        first
        == second
        == {"timestamp": None, "level": "WARN", "message": 'a \\ "b" {[}'}
        | {key: value[key] for key in ("list", "{", "n")}
    )


def test_other_lines_and_objects_of_one_line_are_events_of_their_own() -> None:
    text = f'starts {{\n{PRETTY}\n{{"msg": 1}}\n}}\n\n[\n  {PRETTY}\n]\n\ufeff{PRETTY}\n'
    found = events("\ufeff" + text)
    assert found[0] == "\ufeffstarts {\n"
    assert found[1] == found[6].removeprefix("  ") == PRETTY + "\n"
    assert found[2:6] == ['{"msg": 1}\n', "}\n", "\n", "[\n"]
    assert events("\ufeff" + PRETTY + "\n") == ["\ufeff" + PRETTY + "\n"]


@pytest.mark.parametrize("kept", range(1, PRETTY.count("\n") + 1))
def test_an_object_that_was_broken_off_ends_before_the_next_one(kept: int) -> None:
    """Wherever it was broken off, nothing is lost, and the objects after the next one are read."""
    broken = "\n".join(PRETTY.split("\n")[:kept]) + "\n"
    found = events(broken + (PRETTY + "\n") * 3, multiline_max_lines=30)
    assert "".join(found) == broken + (PRETTY + "\n") * 3
    assert found[-1] == PRETTY + "\n"
    is_value_awaited = broken.rstrip()[-1] == ":" or broken.rstrip().endswith(("[", "[\n", "1,", "},"))
    assert (found[0] == broken and found[1:] == [PRETTY + "\n"] * 3) or is_value_awaited


@pytest.mark.parametrize("tail", ['"msg": "a', '"msg": "a\\', '"msg"', "\\", "'", "]", "]}", '"a" "b', "}} {"])
def test_an_object_with_garbage_in_it_takes_no_other_with_it(tail: str) -> None:
    text = f'{{\n  "x": 1,\n  {tail}\n'
    found = events(text + (PRETTY + "\n") * 2)
    assert "".join(found) == text + (PRETTY + "\n") * 2
    assert found[-2:] == [PRETTY + "\n"] * 2


def test_the_limits_cut_objects() -> None:
    """Rule F29: the line that would exceed a limit begins another event, and nothing is lost."""
    text = "{\n" + '"a": 1,\n' * 10 + '"b": 2\n}\n' + PRETTY + "\n"
    found = events(text, multiline_max_lines=9)
    assert "".join(found) == text
    assert found[0] == "{\n" + '"a": 1,\n' * 8
    assert found[1:5] == ['"a": 1,\n'] * 2 + ['"b": 2\n', "}\n"]
    found = events(text, multiline_max_bytes=1024)
    assert found[-1] == PRETTY + "\n"
    long = '{"a": "' + "x" * 2000 + '",\n"b": 1}\n'
    assert events(long, multiline_max_bytes=1024) == long.splitlines(keepends=True)


def test_an_object_is_complete_with_the_line_that_ends_it() -> None:
    rule, data = joiner(), (PRETTY + "\n").encode()
    for end in range(len(data)):
        if data[end : end + 1] == b"\n":
            assert rule.complete_bytes(data * 2 + data[: end + 1]) == len(data) * (3 if end == len(data) - 1 else 2)
    assert rule.complete_bytes(b"") == 0
    assert joiner(multiline_max_lines=3).complete_bytes(b"{\n{\n}\n{\n") == 6
    assert joiner(multiline_max_lines=3).complete_bytes(b'{\n"a":\n{\n') == 9
    assert not rule.begins_group(data)


def test_what_is_not_an_object_in_the_end_is_kept_as_it_was_written() -> None:
    (record,) = records("{\n  key: 'value',\n  {}\n}\n")[:1]
    assert (record["level"], record["message"]) == ("UNKNOWN", "{\n  key: 'value',")
    (only,) = records("{\n  key: 'value'\n}")
    assert only["message"] == "{\n  key: 'value'\n}"


def test_rules_1_know_json_as_a_pattern() -> None:
    rule = event_joiner(RenderSpec(multiline="json", rules=1))
    assert rule is not None
    assert rule.bytes_of_groups(b"json a\n{\n}\njson b\n", 1) == 11


def test_groups_are_the_same_wherever_the_data_is_cut() -> None:
    """Rule F30."""
    generator = random.Random(59)
    parts = [PRETTY, "{", "}", "  {", '"a": [', '"b":', "],", "text", "", '{"x": 1}', '"un', "[", "}{", ","]
    for _ in range(60):
        text = "".join(generator.choice(parts) + "\n" for _ in range(40))
        found = events(text, multiline_max_lines=7)
        assert "".join(found) == text
        data, rule, rendered = text.encode(), joiner(multiline_max_lines=7), b""
        for cut in range(0, len(found), 3):
            rendered += renderer(spec(multiline_max_lines=7)).render("".join(found[cut : cut + 3]).encode()).payload
        assert renderer(spec(multiline_max_lines=7)).render(data).payload == rendered
        whole = rule.complete_bytes(data)
        assert whole in (len(data), len("".join(found[:-1])))


@pytest.mark.parametrize("line", [b"{\n", b'{"\\\n', b'"a\n', b"{[\n", b'"' * 99 + b"\n", b"}{\n", b"\\\n", b'{"a":\n'])
def test_no_lines_take_quadratic_time(line: bytes) -> None:
    """A chunk of them is done at once."""
    data = line * (128 * 1024 // len(line))
    assert joiner(multiline_max_lines=1_000_000).bytes_of_groups(data, 1) > 0
    joined = joiner(multiline_max_lines=1_000_000).join(data)
    assert joined is not None
    assert joined.data.count(b"\n") + joined.joined + joined.blank == data.count(b"\n")
