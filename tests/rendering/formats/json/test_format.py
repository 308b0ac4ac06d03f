"""The json format, case by case (docs/protocol.md, rules F14 to F16)."""

import json

import pytest

from logferry.model.format_names import CURRENT_RULES
from logferry.model.render_spec import RenderSpec
from logferry.rendering.formats.json.format import JSON
from logferry.rendering.formats.json.layouts import Layout, layout_of
from logferry.rendering.formats.json.members import is_object, members_of
from logferry.rendering.renderer import renderer
from tests.support.formats import check_sample, render_both_ways, unknown

# Enough lines for a pattern to render them.
MANY = 20


def shipped(line: str) -> str:
    """Return the record of a line as text; the chunk and the reference must agree."""
    payload = render_both_ways("json", f"{line}\n".encode() * MANY).payload.decode()
    record, *others = payload.splitlines()
    assert others == [record] * (MANY - 1)
    return record


def is_taken_by_its_layout(line: str) -> bool:
    """Whether a pattern matches the line, so that it does not go one by one."""
    layout = layout_of(line)
    if layout is None:
        return False
    return JSON.pattern_of(layout).matches_all(line.encode() + b"\n")


def test_a_sample_becomes_its_expected_records() -> None:
    """Rules F14, F15 and F16."""
    check_sample("json", "json")


def test_an_object_with_level_message_and_timestamp_is_shipped_as_it_is() -> None:
    """Rule F14."""
    line = '{"level": "INFO", "message": "a", "timestamp": "2024-01-15 08:23:45", "n": 1}'
    assert shipped(line) == line


@pytest.mark.parametrize(
    "value",
    [
        *("1.10", "1e400", "-0", "12345678901234567890123", "0.1000000000000000055511151231257827", "1E+2"),
        *('"\\u00e9"', '"\\/"', '"é"', '"\\ud800"', '""', "true", "null", "[1, 2,3]", '{"a":{"b":[{}]}}', "[[[[[]]]]]"),
        *('{"level":"inner","msg":"inner"}', "[]", "{}", '" a \\" b "'),
    ],
)
def test_the_text_of_a_value_is_kept(value: str) -> None:
    """Rule F14."""
    line = f'{{"timestamp":null,"x":{value},"level":"INFO","y":{value},"message":"m","z":{value}}}'
    assert shipped(line) == line


def test_order_and_duplicate_keys_are_kept() -> None:
    """Rule F14."""
    line = '{"b":1,"a":2,"b":3,"message":"m","level":"INFO","timestamp":"t","a":{"a":4,"a":5}}'
    assert shipped(line) == line


def test_of_duplicate_keys_only_those_with_a_scalar_value_are_renamed() -> None:
    """Rule F15."""
    line = '{"level":"INFO","msg":"a","msg":{"b":1},"msg":2,"timestamp":"t"}'
    assert shipped(line) == '{"level":"INFO","message":"a","msg":{"b":1},"message":2,"timestamp":"t"}'


@pytest.mark.parametrize("key", ["level", "severity", "lvl", "log.level", "levelname", "loglevel"])
def test_a_level_has_many_names_and_is_upper_cased(key: str) -> None:
    """Rule F15."""
    assert shipped(f'{{"{key}":"warn","message":"m","timestamp":"t"}}') == (
        '{"level":"WARN","message":"m","timestamp":"t"}'
    )


@pytest.mark.parametrize("key", ["message", "msg", "log", "text", "event"])
def test_a_message_has_many_names(key: str) -> None:
    """Rule F15."""
    assert (
        shipped(f'{{"timestamp":"t","level":"INFO","{key}":"m"}}') == '{"timestamp":"t","level":"INFO","message":"m"}'
    )


@pytest.mark.parametrize("key", ["timestamp", "time", "ts", "@timestamp", "datetime", "date", "asctime"])
@pytest.mark.parametrize("value", ['"2024-01-15T08:23:45Z"', "1705307025.123456789"])
def test_a_timestamp_has_many_names_and_is_kept_as_written(key: str, value: str) -> None:
    """Rule F15."""
    assert shipped(f'{{"{key}": {value}, "level": "INFO", "message": "m"}}') == (
        f'{{"timestamp": {value}, "level": "INFO", "message": "m"}}'
    )


def test_the_canonical_key_comes_before_any_other_and_then_the_first_of_the_list() -> None:
    """Rule F15."""
    line = '{"msg":"a","message":"b","ts":1,"time":2,"lvl":"x","severity":"y","timestamp":null}'
    assert shipped(line) == '{"msg":"a","message":"b","ts":1,"time":2,"lvl":"x","level":"Y","timestamp":null}'


@pytest.mark.parametrize("value", ["null", "true", "{}", '["a"]', '{"level":"info"}'])
def test_another_name_counts_only_with_a_string_or_a_number(value: str) -> None:
    """Rule F15."""
    line = f'{{"log":{value},"text":"m","level":"INFO","timestamp":"t"}}'
    assert shipped(line) == f'{{"log":{value},"message":"m","level":"INFO","timestamp":"t"}}'


def test_a_level_that_is_not_a_string_is_kept() -> None:
    """Rule F15."""
    for value in ("30", "null", "{}"):
        line = f'{{"level":{value},"message":"m","timestamp":1}}'
        assert shipped(line) == line


def test_every_level_of_a_line_is_upper_cased_in_any_script() -> None:
    """Rule F15."""
    begin = '{"message":"m","timestamp":1,'
    assert shipped(begin + '"level":"a","level":"b"}') == begin + '"level":"A","level":"B"}'
    assert shipped(begin + '"level":"błąd"}') == begin + '"level":"BŁĄD"}'
    assert shipped(begin + '"level":"b\\u0142\\ud800"}') == begin + '"level":"B\\u0141\\ud800"}'
    assert shipped(begin + '"level":"info 2"}') == begin + '"level":"INFO 2"}'


def test_missing_common_keys_come_first_and_the_message_is_the_whole_line() -> None:
    """Rule F16."""
    line = '{"method":"GET","path":"/a\\tb","status":200}'
    assert json.loads(shipped(line)) == {
        "level": "UNKNOWN",
        "message": line,
        "timestamp": None,
        "method": "GET",
        "path": "/a\tb",
        "status": 200,
    }
    assert shipped(line).startswith('{"level": "UNKNOWN", "message": "')
    assert shipped('{"msg":"m"}') == '{"level": "UNKNOWN", "timestamp": null, "message":"m"}'
    assert json.loads(shipped("{}")) == unknown("{}")


@pytest.mark.parametrize(
    "line",
    [
        *("hello", "{", "{}}", "[]", '"a"', "1", '{"a":1,}', '{"a":01}', '{"a":1 "b":2}', "{'a':1}", '{"a"}', "{1:2}"),
        *('{"a":NaN}', '{"a":-Infinity}', '{"a":"\\x"}', '{"a":"\t"}', '{"a":1} x', "{" * 5000, '{"a":' + "[" * 90_000),
        *('{"level":"a","message":"b"', '\ufeff{"a":1}', '{"a":"\\u12g4"}', '\u00a0{"a":1}', '{"a":+1}', '{"a":.5}'),
    ],
)
def test_a_line_that_is_not_an_object_is_shipped_whole(line: str) -> None:
    """Rule F11."""
    assert json.loads(shipped(line)) == unknown(line)


def test_white_space_is_not_part_of_the_object() -> None:
    """Rule F14."""
    assert shipped('  {"level":"INFO", \t"message":"a" ,"timestamp" : 1 } \t') == (
        '{"level":"INFO",  "message":"a" ,"timestamp" : 1 }'
    )


def test_the_pieces_of_an_object_on_several_lines_are_joined() -> None:
    """Rules F14 and F28."""
    data = b'{\n  "level": "info",\n  "msg": "a"\n}\n' * MANY
    spec = RenderSpec(format="json", multiline=r"\{")
    rendered = renderer(spec).render(data)
    assert (rendered.lines, rendered.joined) == (MANY, 3 * MANY)
    first = rendered.payload.splitlines()[0]
    assert first == b'{"timestamp": null,    "level": "INFO",   "message": "a" }'


def test_a_line_that_is_not_utf8_has_its_fields_and_its_bytes() -> None:
    """Rules F8 and F11."""
    payload = render_both_ways("json", b'{"level":"info","message":"caf\xe9","timestamp":1}\n').payload
    record = json.loads(payload)
    assert (record["level"], record["message"], list(record)[-1]) == ("INFO", "caf\ufffd", "raw")


def test_a_line_with_a_key_that_a_mark_needs_is_shipped_whole() -> None:
    payload = render_both_ways("json", b'{"level":"info","message":"caf\xe9","raw":1}\n').payload
    record = json.loads(payload)
    assert (record["level"], list(record)) == ("UNKNOWN", ["level", "message", "timestamp", "raw"])


def test_a_key_of_a_nested_object_does_not_clash_with_a_mark() -> None:
    payload = render_both_ways("json", b'{"level":"info","message":"caf\xe9","a":{"raw":1}}\n').payload
    record = json.loads(payload)
    assert (record["level"], record["a"], list(record)[-1]) == ("INFO", {"raw": 1}, "raw")


def test_a_truncated_line_is_shipped_whole_unless_the_object_precedes_the_cut() -> None:
    """Rules F9 and F11."""
    cut = renderer(RenderSpec(rules=CURRENT_RULES, format="json")).render(
        b'{"level":"info","message":"abc', truncated=True
    )
    assert json.loads(cut.payload) == unknown('{"level":"info","message":"abc') | {"truncated": True}
    whole = renderer(RenderSpec(rules=CURRENT_RULES, format="json")).render(
        b'{"level":"info","message":"abc"}   ', truncated=True
    )
    assert json.loads(whole.payload) == {
        "timestamp": None,
        "level": "INFO",
        "message": "abc",
        "truncated": True,
    }


def test_lines_of_many_layouts_and_other_lines_keep_their_order() -> None:
    lines = []
    for number in range(600):
        lines += [
            f'{{"time":"t","level":"info","msg":"{number}"}}',
            f'{{"msg":"{number}","lvl":"warn"}}',
            f'{{"severity":"E","a":{{"b":{number}}},"message":"{number}"}}',
            f"text {number}",
            f'{{"level":30,"time":1,"message":"{number}"}}',
        ]
    payload = render_both_ways("json", "\n".join(lines).encode() + b"\n\n").payload
    assert [json.loads(record)["message"].split()[-1] for record in payload.splitlines()] == [
        str(index // 5) for index in range(3000)
    ]


@pytest.mark.parametrize(
    "line",
    [
        '{"time":"2024-01-15T08:23:45.123Z","level":"info","msg":"request handled","worker":3,"cache":"miss"}',
        '{"level": "info", "ts": 1705307025.1, "at": "a.go:1", "msg": "say \\"hi\\"", "k": {"x": [1, {"y": null}]}}',
        '{"level":30,"time":1705307025123,"pid":1,"hostname":"web-1","msg":"m"}',
        '{"remote":"192.0.2.1","status":200}',
        '{"worker":3,"context":{},"tags":[],"level":"info","msg":"m"}',
    ],
)
def test_lines_of_common_programs_are_rendered_by_a_pattern(line: str) -> None:
    assert is_taken_by_its_layout(line)


def test_a_layout_ignores_keys_without_a_role() -> None:
    assert layout_of('{"a":1,"msg":"x","b":[1],"level":3,"time":null}') == Layout(
        (("msg", "text"), ("level", "number"), ("time", "other")), is_nested=True
    )
    assert layout_of('{"m\\u0073g":"x"}') is None
    assert layout_of('{"a":[[[[1]]]]}') is None
    assert layout_of("{}") is None


@pytest.mark.parametrize(
    ("line", "level", "message", "timestamp"),
    [
        ('{"__REALTIME_TIMESTAMP":"17","PRIORITY":"3","MESSAGE":"off"}', "ERROR", "off", "17"),
        ('{"PRIORITY":"9","MESSAGE":"off"}', "UNKNOWN", "off", None),
        (
            '{"t":{"$date":"2026-03-04T11:12:13.456+00:00"},"s":"W","c":"NET","ctx":"x","msg":"hot"}',
            "WARNING",
            "hot",
            "2026-03-04T11:12:13.456+00:00",
        ),
        ('{"t":{"$date":"2026-03-04T11:12:13Z"},"s":"D2","ctx":"x","msg":"m"}', "DEBUG", "m", "2026-03-04T11:12:13Z"),
        ('{"t":{"$date":"2026-03-04T11:12:13Z"},"s":"?","ctx":"x","msg":"m"}', "UNKNOWN", "m", "2026-03-04T11:12:13Z"),
        (
            '{"@t":"2026-03-04T11:12:13.4567890Z","@mt":"pump {S}","@l":"Warning","S":"hot"}',
            "WARNING",
            "pump {S}",
            "2026-03-04T11:12:13.4567890Z",
        ),
        ('{"@t":"2026-03-04T11:12:14Z","@mt":"x","@m":"pump on"}', "UNKNOWN", "pump on", "2026-03-04T11:12:14Z"),
        ('{"@level":"info","@message":"on","@timestamp":"2026-03-04T11:12:14Z"}', "INFO", "on", "2026-03-04T11:12:14Z"),
        (
            '{"version":"1.1","host":"h","short_message":"off","timestamp":1772622733.4,"level":3}',
            "ERROR",
            "off",
            1772622733.4,
        ),
        (
            '{"@timestamp":"2026-03-04T11:12:13Z","log":{"level":"error","logger":"a"},"message":"off"}',
            "ERROR",
            "off",
            "2026-03-04T11:12:13Z",
        ),
        ('{"level":30,"time":1772622733456,"pid":8,"msg":"on"}', "INFO", "on", 1772622733456),
        (
            '{"name":"a","hostname":"h","level":50,"msg":"off","time":"2026-03-04T11:12:13Z","v":0}',
            "ERROR",
            "off",
            "2026-03-04T11:12:13Z",
        ),
        (
            '{"message":"m","level":300,"level_name":"WARNING","datetime":"2026-03-04T11:12:13Z"}',
            "WARNING",
            "m",
            "2026-03-04T11:12:13Z",
        ),
        (
            '{"timestamp":"2026-03-04 11:12:13 UTC","pid":7,"error_severity":"FATAL","message":"m"}',
            *("FATAL", "m", "2026-03-04 11:12:13 UTC"),
        ),
        ('{"t":"2026-03-04T11:12:13.4+01:00","lvl":"eror","msg":"m"}', "EROR", "m", "2026-03-04T11:12:13.4+01:00"),
        ('{"level":"info","ts":1772622733.4,"caller":"a.go:1","msg":"on"}', "INFO", "on", 1772622733.4),
        ('{"time":"2026-03-04T11:12:13Z","level":"DEBUG-4","msg":"on"}', "DEBUG-4", "on", "2026-03-04T11:12:13Z"),
    ],
)
def test_what_programs_are_known_to_write_is_understood(
    line: str, level: str, message: str, timestamp: str | float | None
) -> None:
    """Rules F15 and F44."""
    found = json.loads(shipped(line))
    assert (found["level"], found["message"], found["timestamp"]) == (level, message, timestamp)
    assert is_taken_by_its_layout(line) or level == "DEBUG-4"


@pytest.mark.parametrize(
    "line",
    [
        '{"t":{"$date":"2026-03-04T11:12:13Z"},"s":"W","ctx":"x","msg":"m"}',
        '{"@timestamp":"t","log":{"level":"error","a":[1]},"message":"m"}',
        '{"PRIORITY":"3","MESSAGE":"m"}',
    ],
)
def test_what_is_converted_comes_first_and_its_member_stays(line: str) -> None:
    """Rule F44."""
    record = shipped(line)
    assert record.startswith('{"level": "')
    for member in ('"t":{"$date":', '"log":{"level":"error","a":[1]}', '"PRIORITY":"3"'):
        assert (member in record) == (member in line)


@pytest.mark.parametrize(
    "line",
    [
        *('{"level":30,"message":"m","timestamp":1}', '{"level":30,"msg":"m","time":1}', '{"level":3,"msg":"m"}'),
        *('{"t":21.5,"msg":"m"}', '{"t":"warm","msg":"m"}', '{"t":{"$date":5},"s":"W","ctx":"x","msg":"m"}'),
        *('{"log":{"level":"deep"},"message":"m"}', '{"s":"E","msg":"m"}', '{"PRIORITY":"3","msg":"m"}'),
        '{"t":{"$date":"2026-03-04T11:12:13Z","x":1},"s":"W","ctx":"x","msg":"m"}',
    ],
)
def test_what_might_mean_something_else_is_not_understood(line: str) -> None:
    """Rule F44: a wrong level or timestamp is worse than none."""
    found = json.loads(shipped(line))
    own = json.loads(line)
    assert found["level"] == own.get("level", "UNKNOWN")
    assert found["timestamp"] == own.get("timestamp", own.get("time"))


@pytest.mark.parametrize(
    "line",
    [
        '{"t":{"$date":"2026-03-04T11:12:13Z"},"t":{"$date":"2026-03-04T11:12:14Z"},"ctx":1,"s":"W","s":"E"}',
        '{"log":{"level":"info"},"log":{"level":"error"},"message":"m"}',
        '{"PRIORITY":"3","PRIORITY":"4","MESSAGE":"m","MESSAGE":"n"}',
    ],
)
def test_the_first_of_duplicate_members_is_converted(line: str) -> None:
    """Rule F44."""
    found = json.loads(shipped(line))
    assert found["level"] == {"t": "WARNING", "l": "INFO", "P": "ERROR"}[line[2]]


@pytest.mark.parametrize(
    "text",
    [
        *('{"a":1}', " {} ", "{", "[1]", "1", '{"a":NaN}', '{"a":1}x', '{"a":1,}', '{"a":"\t"}'),
        *('{"a":' + "9" * 5000 + "}", '{"a":' + "[" * 100_000 + "}", "", '"a"', '{"a":1,"a":2}', "\ufeff{}"),
        *('{"a":\n1}', "{1:2}", '{"a":"\\ud800"}'),
    ],
    ids=lambda text: text[:10],
)
def test_an_object_is_recognised_as_it_is_taken_apart(text: str) -> None:
    """What `auto` asks of each line takes a tenth of the time."""
    assert JSON.recognises(text) == is_object(text) == (members_of(text) is not None)
