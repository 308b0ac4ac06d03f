"""Formats inside the lines of containers, case by case (docs/protocol.md, rule F39)."""

import json

import pytest

from logferry.model.format_names import CURRENT_RULES, INNER_FORMATS, NESTED_FORMATS
from logferry.rendering.registry import format_named
from tests.support.container_lines import TIME, Line, cri, docker, expected
from tests.support.formats import check_sample, record, records, render_both_ways, unknown

BOTH = pytest.mark.parametrize(("runtime", "line"), [("cri", cri), ("docker", docker)], ids=["cri", "docker"])
OUTER = TIME.format(0)


@pytest.mark.parametrize("name", ["cri+auto", "docker+auto"])
def test_a_sample_becomes_its_expected_records(name: str) -> None:
    """Rule F39."""
    check_sample(name, f"nested/{name}")


@BOTH
def test_the_fields_of_the_inner_line_are_kept_beside_the_runtimes_time_and_stream(runtime: str, line: Line) -> None:
    """Rule F39."""
    inner = '{"level":"error","ts":1772622733.456,"msg":"pump \\"off\\"","n":1}'
    assert record(f"{runtime}+json", line(inner, "stderr")) == {
        "level": "ERROR",
        "timestamp": 1772622733.456,
        "message": 'pump "off"',
        "n": 1,
        "stream": "stderr",
        "time": OUTER,
    }


@BOTH
@pytest.mark.parametrize("inner", ["json", "auto"])
def test_the_runtimes_time_is_the_timestamp_of_a_line_without_one(runtime: str, line: Line, inner: str) -> None:
    """Rule F39."""
    assert record(f"{runtime}+{inner}", line('{"level":"info","msg":"on","at":{"timestamp": null}}')) == {
        "timestamp": OUTER,
        "level": "INFO",
        "message": "on",
        "at": {"timestamp": None},
        "stream": "stdout",
    }


@BOTH
@pytest.mark.parametrize("inner", [name for name in INNER_FORMATS if name not in ("plain", "python", "raw")])
@pytest.mark.parametrize(
    "content", ["", " ", "\tat x", "panic: gone", "[warn] soon", "{", "a b", "\\", '"', "x\\u001b["]
)
def test_a_line_that_the_inner_format_does_not_read_is_as_without_one(
    runtime: str, line: Line, inner: str, content: str
) -> None:
    """Rule F39."""
    assert record(f"{runtime}+{inner}", line(content)) == record(runtime, line(content))


@BOTH
def test_raw_inside_is_as_no_format_inside(runtime: str, line: Line) -> None:
    """Rule F39."""
    lines = [
        line("INFO a"),
        line("b", "stderr"),
        "rubbish",
        line("c", is_last=False),
        line(""),
        line("d\te\x1b[0m"),
    ] * 3
    assert records(f"{runtime}+raw", *lines) == records(runtime, *lines)


@BOTH
def test_names_that_the_line_uses_itself_get_a_prefix(runtime: str, line: Line) -> None:
    """Rule F39: no field is lost."""
    inner = '{"timestamp":1,"time":2,"stream":"s","container_stream":3,"level":"INFO","message":"m"}'
    assert record(f"{runtime}+json", line(inner)) == {
        **json.loads(inner),
        "container_container_stream": "stdout",
        "container_time": OUTER,
    }
    inner = '{"timestamp":1,"partial":2,"level":"INFO","message":"m"}'
    assert record(f"{runtime}+json", line(inner, is_last=False)) == {
        **json.loads(inner),
        "stream": "stdout",
        "time": OUTER,
        "container_partial": True,
    }


@BOTH
def test_the_parts_of_a_line_are_joined_before_the_inner_format_reads_it(runtime: str, line: Line) -> None:
    """Rules F27 and F39."""
    found = records(f"{runtime}+logfmt", line("level=warn msg=", is_last=False), line("x", "stderr"), line("hot n=1"))
    assert found == [
        expected("x", "stderr"),
        {"timestamp": OUTER, "level": "WARN", "message": "hot", "n": "1", "stream": "stdout"},
    ]


def test_the_attributes_of_docker_are_kept() -> None:
    """Rule F39."""
    line = f'{{"log":"level=info msg=on\\n","stream":"stdout","attrs":{{"a":"b"}},"time":"{OUTER}"}}'
    assert record("docker+logfmt", line)["attrs"] == {"a": "b"}


@BOTH
@pytest.mark.parametrize(
    ("content", "level", "field"),
    [
        ('{"level":"warn","msg":"m","a":1}', "WARN", "a"),
        ('I0304 11:12:13.456789       1 pump.go:123] "on"', "INFO", "source"),
        ("2024-01-15 08:23:45 ERROR pump off", "ERROR", "message"),
        ("time=2024-01-15T08:23:45Z level=debug msg=m", "DEBUG", "message"),
        ('192.0.2.7 - - [15/Jan/2024:08:23:45 +0000] "GET / HTTP/1.1" 500 612', "ERROR", "status"),
        ("2024/01/15 08:23:45 [error] 4711#0: *1 gone", "ERROR", "connection"),
        ("[Mon Jan 15 08:23:45.123456 2024] [core:notice] [pid 7] ready", "NOTICE", "pid"),
        ("<34>Jan 15 08:23:45 web-1 su[7]: failed", "CRITICAL", "app"),
        ("request a=1 b=2", "UNKNOWN", "message"),
    ],
)
def test_auto_reads_each_line_in_the_format_that_its_beginning_shows(
    runtime: str, line: Line, content: str, level: str, field: str
) -> None:
    """Rule F39."""
    for count in (1, 20):
        for found in records(f"{runtime}+auto", *[line(content), line("nothing known")] * count)[::2]:
            assert found["level"] == level
            assert field in found
            assert found["stream"] == "stdout"
            assert OUTER in (found["timestamp"], found.get("time"))


@pytest.mark.parametrize("name", NESTED_FORMATS)
def test_every_nested_format_has_its_name_under_all_rules(name: str) -> None:
    for rules in range(1, CURRENT_RULES + 1):
        assert format_named(name, rules).name == name


def test_a_line_that_is_not_of_a_container_is_shipped_whole() -> None:
    """Rules F5 and F39."""
    assert record("cri+json", '{"level":"info","msg":"m"}') == unknown('{"level":"info","msg":"m"}')


@BOTH
def test_carriage_returns_at_the_end_of_lines_are_dropped_once(runtime: str, line: Line) -> None:
    data = "".join(line(f"INFO a{end}") + "\r\n" for end in ("", "\r", "\r\r", "\rb")).encode()
    assert render_both_ways(f"{runtime}+plain", data).lines == 4


@BOTH
@pytest.mark.parametrize("pattern", [r"(?P<verb>\w+) took (?P<took>\d+)", r"(?P<level>\w+)\+(?P<message>.*)"])
def test_a_pattern_of_the_user_reads_what_the_container_wrote(runtime: str, line: Line, pattern: str) -> None:
    """Rules F19 and F39."""
    lines = [line("get took 7"), line("warn+a+b", "stderr"), line("[error] x"), line(""), "rubbish"] * 3
    found = records(f"{runtime}+regex:{pattern}", *lines)
    plain = records(runtime, *lines)
    if "took" in pattern:
        assert found[0] == plain[0] | {"verb": "get", "took": "7"}
        assert found[1:5] == plain[1:5]
    else:
        assert (found[1]["level"], found[1]["message"], found[1]["stream"]) == ("WARN", "a+b", "stderr")
        assert (found[0], *found[2:5]) == (plain[0], *plain[2:5])


@BOTH
@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("192.0.2.7:3 [15/Jan/2024:08:23:45.123] db pool/s1 0/0/57 212 -- 0/0/0/0/3 0/0", "time_total"),
        (r'[2024-01-15T08:23:45.123Z] "GET / HTTP/1.1" 200 - 0 57 3 2 "-" "curl" "3f2a" "shop" "-"', "authority"),
        ("I, [2024-01-15T08:23:45.123456 #12]  INFO -- : [3f2a] x", "tags"),
    ],
)
def test_auto_finds_more_formats_by_how_a_line_begins(runtime: str, line: Line, content: str, key: str) -> None:
    """Rule F39."""
    assert key in record(f"{runtime}+auto", line(content))
