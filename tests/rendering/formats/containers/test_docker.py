"""The docker format, case by case (docs/protocol.md, rules F26 and F27)."""

import pytest

from tests.support.container_lines import TIME, docker, expected
from tests.support.formats import record, records, unknown


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (r"a\n", "a"),
        (r"\n", ""),
        (r"a\r\n", "a"),
        (r"a\r\r\n", "a\r"),
        (r"a\n\n", "a\n"),
        (r"a\\n\n", "a\\n"),
        (r"\u003cb\u003e \u0026\n", "<b> &"),
        (r"\\u003c\n", "\\u003c"),
        (r"\u001b[1m\n", "\x1b[1m"),
        (r"\u001B[1m\n", "\x1b[1m"),
        (r"\b\f\t\u0008\u000c\u0009\n", "\b\f\t\b\f\t"),
        (r"\u2028\ufffd\/\n", "\u2028\ufffd/"),
        (r"\"\u0022\\\u005c\n", '""\\\\'),
        (r"\ud83d\udea2\n", "🚢"),
        (r"a\u000a", "a"),
    ],
)
def test_a_docker_message_is_the_log_without_its_last_newline(log: str, message: str) -> None:
    line = f'{{"log":"{log}","stream":"stdout","time":"{TIME.format(0)}"}}'
    assert record("docker", line) == expected(message)


def test_a_docker_line_that_ends_with_an_escaped_backslash_and_n_is_a_part() -> None:
    """Rule F27."""
    begin, end = '{"log":"', f'","stream":"stdout","time":"{TIME.format(0)}"}}'
    assert records("docker", rf"{begin}a\\n{end}", rf"{begin}\\\n{end}") == [expected("a\\n\\")]


def test_docker_attributes_are_kept_and_lines_with_different_attributes_are_not_joined() -> None:
    """Rule F27."""
    lines = [
        docker(content, is_last=is_last).replace('"time"', f'"attrs":{{"tag":"{tag}"}},"time"')
        for content, is_last, tag in [("a", False, "x"), ("b", False, "y"), ("c", True, "x"), ("d", True, "y")]
    ]
    assert records("docker", *lines) == [expected("ac", attrs={"tag": "x"}), expected("bd", attrs={"tag": "y"})]


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "[]",
        "null",
        '"text"',
        '{"log":"a\\n"}',
        docker("a", "stdlog"),
        docker("a")[:-1],
        docker("a") + "}",
        docker("a").replace("{", '{"log":"b",'),
        docker("a").replace("}", ',"level":"x"}'),
        docker("a").replace("}", ',"attrs":{"a":1}}'),
        docker("a").replace("}", ',"attrs":[]}'),
        docker("a").replace("}", ',"attrs":{"a":"1","a":"2"}}'),
        docker("a").replace('"a', '"\t'),
        docker("a").replace('"a', '"\x02'),
        docker("a").replace('"a', '"\\x'),
        docker("a").replace('"a', '"\\ud800'),
        *(
            docker("a").replace(f'{before}"{after}', f"{before}\\Z{after}")
            for before, after in [(":", "2"), (":", "a"), ("Z", "}")]
        ),
        *(
            docker("\\").replace(f'{before}"{after}', f"{before}\\Z{after}")
            for before, after in [(":", "2"), ("Z", "}")]
        ),
        docker("a").replace('"a\\n"', "1"),
        docker("a").replace("}", ',"attrs":' + "[" * 100_000),
        docker("a").replace("}", ',"attrs":' + "9" * 5_000 + "}"),
    ],
    ids=lambda line: line[:60],
)
def test_a_line_that_is_not_docker_is_shipped_whole(line: str) -> None:
    assert records("docker", docker("b"), line, docker("c")) == [expected("b"), unknown(line), expected("c")]


def test_a_string_that_is_closed_on_the_next_line_only_joins_no_lines() -> None:
    lines = ['{"log":"open', 'closed\\n","stream":"stdout","time":"', f'{TIME.format(0)}"}}', docker("a")]
    assert records("docker", *lines) == [*map(unknown, lines[:3]), expected("a")]


def test_the_order_of_keys_in_a_docker_line_does_not_matter() -> None:
    line = f'{{ "time": "{TIME.format(0)}", "stream": "stderr", "log": "a\\n" }}'
    assert record("docker", line) == expected("a", "stderr")
