"""Formats that find their fields by layout: chunks whose lines have few layouts do not go one by one.

That is how the Python code renders them; the compiled part needs no layouts.
"""

from collections.abc import Callable

import pytest

from logferry import speedups
from logferry.rendering.formats.json.format import JsonFormat
from logferry.rendering.formats.text.logfmt import LogfmtFormat

NAMES = ("level", "severity", "lvl", "msg", "message", "ts", "time", "timestamp")


@pytest.fixture(autouse=True)
def without_compiled_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speedups, "compiled", None)


class CountingJson(JsonFormat):
    """Counts the lines that go one by one."""

    def __init__(self) -> None:
        self.one_by_one = 0

    def record_of(self, text: str) -> str:
        self.one_by_one += 1
        return super().record_of(text)


class CountingLogfmt(LogfmtFormat):
    """Counts the lines that go one by one."""

    def __init__(self) -> None:
        self.one_by_one = 0

    def record_of(self, text: str) -> str:
        self.one_by_one += 1
        return super().record_of(text)


def json_line(name: str) -> str:
    return f'{{"{name}":"x","n":1}}\n'


def logfmt_line(name: str) -> str:
    return f"{name}=x n=1\n"


Counting = CountingJson | CountingLogfmt
Line = Callable[[str], str]
BOTH = pytest.mark.parametrize(
    ("make", "line"), [(CountingJson, json_line), (CountingLogfmt, logfmt_line)], ids=["json", "logfmt"]
)


def render(counting: Counting, text: str) -> None:
    rendered = counting.render(text.encode(), b"\n")
    assert rendered.lines == text.count("\n")


@BOTH
def test_lines_of_a_few_layouts_are_rendered_by_patterns(make: type[Counting], line: Line) -> None:
    counting = make()
    render(counting, "".join(map(line, NAMES[:6])) * 20)
    assert counting.one_by_one == 0


@BOTH
def test_lines_of_many_layouts_go_one_by_one(make: type[Counting], line: Line) -> None:
    """Each layout costs a pass over the chunk."""
    counting = make()
    render(counting, "".join(map(line, NAMES)) * 20)
    assert counting.one_by_one == 40


@BOTH
def test_a_few_lines_go_one_by_one(make: type[Counting], line: Line) -> None:
    """Finding their layout would cost more."""
    few, enough = make(), make()
    render(few, line("msg") * 7)
    render(enough, line("msg") * 8)
    assert (few.one_by_one, enough.one_by_one) == (7, 0)


@BOTH
def test_lines_that_cannot_have_the_format_do_not_go_one_by_one(
    make: type[Counting], line: Callable[[str], str]
) -> None:
    counting = make()
    render(counting, "".join(f"plain text {number}\n" for number in range(100)) + line("msg"))
    assert counting.one_by_one == 1
