"""Blank lines, in every format: skipped and counted, whatever surrounds them."""

import pytest

from logferry.model.format_names import FORMAT_NAMES
from tests.support.formats import records, render_both_ways, unknown

BLANK = ["", " ", "\t", "\x0b", "\x0c", " \t \r"]

# White space in Unicode, but not in logs.
NOT_BLANK = ["\xa0", "\u2003", "\x1c", "\x85", "\u2028"]

# In a slow query log, any line that begins no entry is a part of the entry before it.
NAMES = [name for name in FORMAT_NAMES if name != "mysql_slow"]


@pytest.mark.parametrize("name", NAMES)
def test_blank_lines_are_skipped_and_counted(name: str) -> None:
    """Rule F6."""
    lines = [line for blank in BLANK for line in (blank, "x")]
    rendered = render_both_ways(name, "".join(line + "\n" for line in lines).encode())
    assert (rendered.lines, rendered.blank) == (len(BLANK), len(BLANK))
    assert render_both_ways(name, b"\n \n").payload == b""


@pytest.mark.parametrize("name", NAMES)
def test_a_line_of_other_white_space_is_a_message(name: str) -> None:
    assert records(name, *NOT_BLANK) == [unknown(text) for text in NOT_BLANK]
