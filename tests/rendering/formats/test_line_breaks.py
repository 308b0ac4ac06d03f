"""A newline always ends a line: a pattern for whole chunks must never match two lines as one."""

import pytest

from logferry.model.format_names import FORMAT_NAMES
from tests.support.formats import SAMPLES, render_both_ways

LINES = [line for sample in sorted(SAMPLES.glob("*.log")) for line in sample.read_bytes().split(b"\n")[::3] if line]


@pytest.mark.parametrize("name", FORMAT_NAMES)
def test_a_newline_anywhere_in_a_line_makes_two_lines_of_it(name: str) -> None:
    """Break one line at every place; the chunk and the reference must agree on each result."""
    for line in LINES:
        broken = b"".join(line[:place] + b"\n" + line[place:] + b"\n" for place in range(1, len(line)))
        assert render_both_ways(name, broken + line + b"\n").payload.count(b"\n") > 0
