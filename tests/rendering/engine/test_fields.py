"""Fields: a single line and a chunk give the same bytes."""

import json
from collections.abc import Callable
from typing import NoReturn

import pytest

from logferry.rendering.engine.escape import escape, unescape
from logferry.rendering.engine.fields import (
    Field,
    always_null,
    flag,
    if_given,
    level,
    number_or_null,
    of_each,
    text,
    text_or_null,
)
from logferry.rendering.engine.line_format import LineFormat, LineKind

GIVEN = r"(?P<first>[a-z])(?:=(?P<key>[^\n]*+))?+"
ALWAYS = r"(?P<first>[a-z])=(?P<key>[^\n]*+)"


def render(pattern: str, field: Field, *lines: str) -> list[object]:
    """Return the value of the field for each line, "absent" if it is missing; both ways must agree."""
    kind = LineKind(pattern, pattern, [text("first"), field], is_exact=True)
    data = "".join(line + "\n" for line in lines).encode()
    payload = LineFormat("x", [kind]).render(data, b"\n").payload
    for line, record in zip(lines, payload.decode().splitlines(), strict=True):
        assert record == json.dumps(kind.fields_of(line), ensure_ascii=False)
    return [json.loads(record).get(field.key, "absent") for record in payload.splitlines()]


def test_a_text_is_the_text_of_its_group() -> None:
    assert render(ALWAYS, text("key"), "a=1", 'b="\\', "c=é", "d=") == ["1", '"\\', "é", ""]
    assert render(ALWAYS, text("other", "key"), "a=1") == ["1"]


def test_a_level_is_in_capitals_without_brackets_and_colon() -> None:
    assert render(ALWAYS, level("key"), "a=info", "b=[Warn]", "c=ERROR:", "d=X") == ["INFO", "WARN", "ERROR", "X"]
    assert render(ALWAYS, level("key"), "a=INFO") == ["INFO"]


@pytest.mark.parametrize("nil", ["-", ""])
def test_a_text_or_null_is_null_for_the_nil_text_and_for_a_missing_group(nil: str) -> None:
    lines = ["a=x", "b=-", "c=", "d"]
    found = ["x", *(None if value == nil else value for value in ("-", "")), None]
    assert render(GIVEN, text_or_null("key", nil=nil), *lines) == found
    assert render(ALWAYS, text_or_null("key", nil=nil), "a=x", "b=y") == ["x", "y"]


def test_a_number_or_null() -> None:
    assert render(ALWAYS, number_or_null("key"), "a=12", "b=-", "c=0") == [12, None, 0]


def test_a_computed_field_is_computed_once_per_distinct_text() -> None:
    calls = list[str | None]()

    def double(found: str | None) -> object:
        calls.append(found)
        return None if found is None else found * 2

    kind = LineKind(GIVEN, GIVEN, [text("first"), of_each("key", "key", double)], is_exact=True)
    lines = 'a=x\nb="\nc=x\nd\ne=x\n'
    payload = kind.usual.render(escape(lines.encode()), _refuse).payload
    assert [json.loads(record)["key"] for record in payload.splitlines()] == ["xx", '""', "xx", None, "xx"]
    assert sorted(calls, key=str) == ['"', None, "x"]


def _refuse(lines: bytes) -> NoReturn:
    raise AssertionError(unescape(lines))


@pytest.mark.parametrize("make", [if_given, lambda key: if_given("other", key)])
def test_a_field_that_only_some_records_have(make: Callable[[str], Field]) -> None:
    assert render(GIVEN, make("key"), "a=1", "b", "c=2") == ["1", "absent", "2"]
    assert render(GIVEN, make("key"), "a", "b") == ["absent", "absent"]
    assert render(GIVEN, make("key"), "a=1", "b=") == ["1", ""]


def test_a_flag_is_true_or_absent() -> None:
    assert render(GIVEN, flag("key"), "a=1", "b", "c=2") == [True, "absent", True]
    assert render(GIVEN, flag("key"), "a", "b") == ["absent", "absent"]


def test_a_field_that_is_always_null() -> None:
    assert render(ALWAYS, always_null("other"), "a=1", "b=2") == [None, None]


def test_a_group_that_the_pattern_does_not_have_is_missing_in_every_line() -> None:
    lines = ["a=1", "b=2"]
    assert render(ALWAYS, if_given("no_such"), *lines) == ["absent", "absent"]
    assert render(ALWAYS, text_or_null("no_such"), *lines) == [None, None]
    assert render(ALWAYS, of_each("other", "no_such", lambda found: found is None), *lines) == [True, True]
