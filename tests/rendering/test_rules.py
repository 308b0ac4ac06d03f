"""What each version of a format makes of lines must never change: it is the proof of what was stored (rule F37).

`rules/N.json` has lines, and the records that they became when rules N were released, by format; a line that is missing
there was shipped whole. Never change such a file: the next rules get one of their own.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from logferry.model.format_names import CURRENT_RULES, FORMATS, FormatName
from logferry.model.render_spec import RenderSpec
from logferry.rendering.engine.escape import to_json
from logferry.rendering.reference import render_event
from logferry.rendering.registry import format_named
from logferry.rendering.renderer import renderer
from tests.support.formats import unknown

RULES = Path(__file__).parent / "rules"
FROZEN = ["apache", "cri", "docker", "json", "logfmt", "nginx", "plain", "python", "raw", "syslog"]


@cache
def frozen(rules: int) -> Any:
    return json.loads((RULES / f"{rules}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FROZEN)
def test_a_version_that_was_released_writes_what_it_wrote_then(name: str) -> None:
    content = frozen(1)
    records = content["records"][name]
    lines = [line.encode() for line in content["lines"]]
    texts = (records.get(str(number), to_json(unknown(line))) for number, line in enumerate(content["lines"]))
    expected = [text.encode() + b"\n" for text in texts]
    assert [render_event(format_named(name, 1), line) for line in lines] == expected
    for line, record in zip(lines, expected, strict=True):
        assert format_named(name, 1).render((line + b"\n") * 9, b"\n").payload == record * 9
    assert format_named(name, 1).render(b"".join(line + b"\n" for line in lines), b"\n").payload == b"".join(expected)


def test_a_version_belongs_to_all_rules_up_to_its_last_ones() -> None:
    name = FormatName("x", "x", earlier=((1, "x_1"), (4, "x_4")))
    assert [name.module_by(rules) for rules in range(1, 7)] == ["x_1", "x_4", "x_4", "x_4", "x", "x"]


def test_every_version_of_every_format_exists() -> None:
    for each in FORMATS:
        for rules in range(1, CURRENT_RULES + 1):
            assert format_named(each.name, rules).name == each.name
        assert [last for last, _ in each.earlier] == sorted({last for last, _ in each.earlier})
        assert all(last < CURRENT_RULES for last, _ in each.earlier)


def test_rules_of_a_later_version_are_refused_with_a_sentence() -> None:
    with pytest.raises(ValueError, match="rules 99 are those of a later version of logferry; this one knows "):
        renderer(RenderSpec(rules=99))
