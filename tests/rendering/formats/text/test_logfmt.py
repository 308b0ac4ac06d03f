"""The logfmt format, case by case (docs/protocol.md, rules F15 to F17)."""

import json

import pytest

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering.formats.text.logfmt import LOGFMT
from logferry.rendering.renderer import renderer
from tests.support.formats import check_sample, records, render_both_ways, unknown

# Enough lines for a pattern to render them.
MANY = 20


def shipped(line: str) -> str:
    """Return the record of a line as text; the chunk and the reference must agree."""
    payload = render_both_ways("logfmt", f"{line}\n".encode() * MANY).payload.decode()
    record, *others = payload.split("\n")[:-1]
    assert others == [record] * (MANY - 1)
    return record


def is_taken_by_its_layout(line: str) -> bool:
    """Whether a pattern matches the line, so that it does not go one by one."""
    layout = LOGFMT.layout_of(line)
    if layout is None:
        return False
    return LOGFMT.pattern_of(layout).matches_all(line.encode() + b"\n")


def test_a_sample_becomes_its_expected_records() -> None:
    """Rules F15, F16 and F17."""
    check_sample("logfmt", "logfmt")


def test_pairs_become_fields_in_their_order_and_common_keys_are_renamed() -> None:
    """Rules F15 and F17."""
    line = 'a=1 time=2024-01-15T08:23:45Z b="x y" lvl=warn c=é msg="hi there" d="" e='
    assert shipped(line) == (
        '{"a": "1", "timestamp": "2024-01-15T08:23:45Z", "b": "x y", "level": "WARN", "c": "é", "message": "hi there",'
        ' "d": "", "e": ""}'
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"say \\"hi\\""', '"say \\"hi\\""'),
        ('"tab\\there"', '"tab\\there"'),
        ('"\\u00e9\\/"', '"\\u00e9\\/"'),
        ('"\\x1b[0m"', '"\\\\x1b[0m"'),
        ('"a\tb"', '"a\\tb"'),
        ("C:\\data", '"C:\\\\data"'),
        ("/a?b=c&d=e", '"/a?b=c&d=e"'),
        ("12", '"12"'),
        ("\x7f", '"\x7f"'),
    ],
)
def test_a_value_is_a_string_with_the_escapes_of_json(written: str, value: str) -> None:
    """Rule F17."""
    assert shipped(f"x={written} level=INFO msg=m ts=t y={written}") == (
        f'{{"x": {value}, "level": "INFO", "message": "m", "timestamp": "t", "y": {value}}}'
    )


def test_a_key_without_a_value_becomes_true_and_plays_no_role() -> None:
    """Rules F15 and F17."""
    assert shipped("a=1 retry msg level=x") == (
        '{"message": "a=1 retry msg level=x", "timestamp": null, "a": "1", "retry": true, "msg": true, "level": "X"}'
    )


@pytest.mark.parametrize("level", ['"info"', "info", '"INFO"', "Info"])
def test_a_level_is_upper_cased_with_and_without_quotes(level: str) -> None:
    """Rule F15."""
    assert json.loads(shipped(f"level={level} msg=m"))["level"] == "INFO"


def test_a_level_need_not_consist_of_letters() -> None:
    assert json.loads(shipped('level="b\\u0142" msg=m'))["level"] == "BŁ"
    assert json.loads(shipped("level= msg=m"))["level"] == ""
    assert json.loads(shipped("level=4 msg=m"))["level"] == "4"


def test_missing_common_keys_come_first_and_the_message_is_the_whole_line() -> None:
    """Rule F16."""
    assert shipped('a="1" b=2') == (
        '{"level": "UNKNOWN", "message": "a=\\"1\\" b=2", "timestamp": null, "a": "1", "b": "2"}'
    )


def test_a_repeated_key_stays_repeated_unless_it_is_a_common_one() -> None:
    """Rules F17 and F49."""
    assert shipped("msg=m ts=t level=a level=b x=1 x=2") == (
        '{"message": "m", "timestamp": "t", "level": "A", "level_2": "b", "x": "1", "x": "2"}'
    )


def test_spaces_and_tabs_separate_pairs() -> None:
    """Rule F17."""
    assert shipped(" ts=t  level=INFO\tmsg=m ") == '{"timestamp": "t", "level": "INFO", "message": "m"}'


@pytest.mark.parametrize(
    "line",
    [
        *("hello", "hello there=x", "=x", 'a="b', 'a=b"c', 'a="b"c', 'a="b"c=d', '"a"=b', "a=b =c", "a=\x00", "a\\b=c"),
        *('a=""b', 'level="info msg=m', 'level=info" msg=m', "a=b\x0bc=d", '{"a":"b=c"}'),
    ],
)
def test_a_line_that_does_not_consist_of_pairs_is_shipped_whole(line: str) -> None:
    """Rule F11."""
    assert json.loads(shipped(line)) == unknown(line)


def test_joined_lines_are_not_pairs() -> None:
    rendered = renderer(RenderSpec(rules=CURRENT_RULES, format="logfmt", multiline="level")).render(
        b"level=info msg=m\n  at x\n" * MANY
    )
    assert (rendered.lines, rendered.joined) == (MANY, MANY)
    assert json.loads(rendered.payload.splitlines()[0]) == unknown("level=info msg=m\n  at x")


@pytest.mark.parametrize(
    "line",
    [
        'time="2024-01-15T08:23:45Z" level=info msg="request \\"a\\" handled" method=GET path=/a?b=c status=200',
        "at=info host=example.com bytes=13",
        "é=1 msg=m a=1",
    ],
)
def test_lines_of_common_programs_are_rendered_by_a_pattern(line: str) -> None:
    assert is_taken_by_its_layout(line)


def test_lines_of_many_layouts_keep_their_order() -> None:
    lines = []
    for number in range(300):
        lines += [f"time=t level=info msg={number}", f"msg={number} a=b", f"text {number}", f"lvl=x msg={number} flag"]
    payload = render_both_ways("logfmt", "\n".join(lines).encode() + b"\n\n").payload
    messages = [json.loads(record)["message"] for record in payload.splitlines()]
    assert [message.removeprefix("text ") for message in messages] == [str(index // 4) for index in range(1200)]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("'a b'", "a b"),
        ("''", ""),
        ("'op=\"x\" y=1'", 'op="x" y=1'),
        ("don't", "don't"),
        ("'a'b", "'a'b"),
        ("'a", "'a"),
    ],
)
def test_a_value_may_stand_in_single_quotes(written: str, value: str) -> None:
    """Rule F49."""
    for count in (1, 20):
        for found in records("logfmt", *[f"level=info n={written} m=1", "level=info n=x m=2"] * count)[::2]:
            assert (found["n"], found["m"]) == (value, "1")


def test_a_common_key_that_stands_again_gets_a_number() -> None:
    """Rule F49."""
    line = "type=LOGIN msg=audit(1.2:3): pid=8 msg='op=login res=ok' msg_2=x level=info msg=y level=warn"
    for count in (1, 20):
        for found in records("logfmt", *[line] * count):
            assert found == {
                "timestamp": None,
                "type": "LOGIN",
                "message": "audit(1.2:3):",
                "pid": "8",
                "msg_2": "x",
                "msg_3": "op=login res=ok",
                "level": "INFO",
                "msg_4": "y",
                "level_2": "warn",
            }


@pytest.mark.parametrize(
    ("line", "timestamp", "t"),
    [
        ("t=2026-03-04T11:12:13.456Z level=info msg=x", "2026-03-04T11:12:13.456Z", None),
        ('logger=a t="2026-03-04 11:12:13" msg=x', "2026-03-04 11:12:13", None),
        ("t='2026-03-04 11:12:13' msg=x", "2026-03-04 11:12:13", None),
        ("t=2026-03-04T11:12:13Z t=2026-03-04T11:12:14Z", "2026-03-04T11:12:13Z", "2026-03-04T11:12:14Z"),
        ("t=7 t=2026-03-04T11:12:13Z msg=x", "2026-03-04T11:12:13Z", "7"),
        ("t=2026-03-04T11:12:13Z time=1 msg=x", "1", "2026-03-04T11:12:13Z"),
        ("t=12ms level=info msg=x", None, "12ms"),
        ("t=2026-03-04 level=info msg=x", None, "2026-03-04"),
        ('t="2026-03-04 11:12:13 x" msg=x', None, "2026-03-04 11:12:13 x"),
    ],
)
def test_t_is_a_timestamp_if_it_is_a_date_and_a_time_and_there_is_no_other(
    line: str, timestamp: str | None, t: str | None
) -> None:
    """Rule F49."""
    for count in (1, 20):
        for found in records("logfmt", *[line] * count):
            assert found["timestamp"] == timestamp
            assert found.get("t") == t
