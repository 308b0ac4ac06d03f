"""Lines like those of the samples, with anything anywhere: both ways give the same, and never a wrong level."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.formats import SAMPLES, records

NAMES: Final = ["haproxy", "envoy", "traefik", "elb", "alb", "postgres", "rails"]

_RUBBISH: Final = (
    *(
        "",
        " ",
        "  ",
        "-",
        "-1",
        "0",
        "00",
        "7",
        "12",
        "404",
        ".",
        ":",
        "/",
        '"',
        '""',
        "\\",
        '\\"',
        "\\\\",
        "[",
        "]",
        "{",
        "}",
    ),
    *(
        "\t",
        "\r",
        "\x00",
        "\x01",
        "\x1f",
        "\x7f",
        "é",
        "\u2028",
        "🚢",
        "\ufeff",
        "ERROR",
        "LOG:  ",
        ",",
        "@",
        "=",
        "+",
        "\\n",
    ),
)


def _changed(line: str) -> st.SearchStrategy[str]:
    """Return lines in which a few short parts were replaced by others."""
    change = st.tuples(st.integers(0, len(line)), st.integers(0, 3), st.sampled_from(_RUBBISH))

    def apply(changes: list[tuple[int, int, str]]) -> str:
        text = line
        for place, length, new in changes:
            text = text[:place] + new + text[place + length :]
        return text

    return st.lists(change, max_size=3).map(apply)


def lines_like(name: str) -> st.SearchStrategy[str]:
    sample = (SAMPLES / f"{name}.log").read_text(encoding="utf-8").split("\n")[:-1]
    return st.sampled_from(sample).flatmap(_changed).filter(str.strip)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=30)
@given(st.data())
def test_the_fast_way_gives_what_line_by_line_gives(name: str, data: st.DataObject) -> None:
    """Rule F11; `records` compares both ways."""
    lines = data.draw(st.lists(lines_like(name), min_size=1, max_size=8))
    for record in records(name, *lines):
        assert list(record)[:3] == ["level", "message", "timestamp"]
