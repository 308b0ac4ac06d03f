"""Stored lines are counted by the compiled part as in Python, whatever their bytes are."""

from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from logferry import speedups
from logferry.reading.counting.line_counts import Part, count_lines

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)

_ALL: Final = Part.LEVEL | Part.MINUTE | Part.PATTERN

_MESSAGES: Final = (
    "order |523| |web-1|1.5|,|.|'|''|don't|'a b'|\\\"|\\\"a\\\"|\\\\|\\n|\\t|\\u00e9|é|日本語"
    "|deadbeef|0x1f|0x|abc123|123abc|6ba7b810-9dad-11d1-80b4-00c04fd430c8|-|_|a|f|g|7|:|10.0.0.1|(|)|x"
    + "|"
    + "y" * 250
    + "|"
    + "'"
    + "z" * 254
).split("|")
_TIMES: Final = (
    "2024-01-15 08:23:45|2024-01-15T08:23:45.123456Z|15/Jan/2024:08:23:45 +0100|Jan 15 08:23:45|1772622733|1772622733.4"
    "|1772622733415|1772622733415123|177262273341512|08:23:60|108:23:45|08:23:456|08:23:45,|08:23:45,1 08:24:01||x"
    "|2024-01-15 08:23:45 \\u005a|" + "1" * 65
).split("|")
_LEVELS: Final = ["INFO", "warn", "", "\\u0049NFO", "x" * 64, "x" * 65, "é", "\\ud800", "a\\u0000b"]
_VALUES: Final = [
    "1",
    "-1.5e3",
    "01",
    "null",
    "true",
    "[1, {}]",
    '{"level": "x"}',
    "NaN",
    "[" * 70,
    "9" * 5000,
    '"',
    "{",
]

_texts = st.lists(st.sampled_from(_MESSAGES), max_size=12).map("".join)
_values = st.one_of(
    _texts.map(lambda text: f'"{text}"'),
    st.sampled_from(_TIMES + _LEVELS).map(lambda text: f'"{text}"'),
    st.sampled_from([*_TIMES[4:9], *_VALUES]),
)
_keys = st.sampled_from(["level", "message", "timestamp", "timestamp", "l\\u0065vel", "", "host"])
_spaces = st.sampled_from(["", "", " ", "\t", "\n", "\x0b"])
_members = st.tuples(_keys, _spaces, _values).map(lambda member: f'"{member[0]}"{member[1]}:{member[2]}')
_objects = st.tuples(_spaces, st.lists(_members, max_size=5).map(", ".join)).map(
    lambda parts: f"{parts[0]}{{{parts[1]}}}"
)
_canonical = st.tuples(st.sampled_from(_LEVELS), _texts, st.sampled_from(_TIMES)).map(
    lambda values: '{{"level": "{}", "message": "{}", "timestamp": "{}"}}'.format(*values)
)
_lines = st.lists(_objects | _canonical, max_size=8).map(lambda lines: "".join(f"{line}\n" for line in lines).encode())
_damaged = st.tuples(_lines, st.binary(max_size=3), st.integers(0, 200)).map(
    lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :] + b"\n"
)


@given(_lines | _damaged, st.integers(0, 7))
@example(b'{"level": "INFO", "message": "' + b"\xff" * 400 + b'", "timestamp": null}\n', 7)
@example(b'{"level": "INFO", "message": "' + b"\x80" * 400 + b'", "timestamp": null}\n', 7)
@example(b'{"level": 1, "level": 2, "message": 1, "timestamp": 1}\n{"level": "a",}\n{}\n\n', 7)
def test_lines_are_counted_as_in_python(lines: bytes, parts: int) -> None:
    found = count_lines(lines, Part(parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speedups, "compiled", None)
        assert found == count_lines(lines, Part(parts))
    assert found.total() == lines.count(b"\n")


def test_a_chunk_with_more_kinds_of_lines_than_the_compiled_part_remembers_is_counted() -> None:
    lines = b"".join(b'{"level": "%d", "message": "", "timestamp": null}\n' % (n % 3000) for n in range(9000))
    assert set(count_lines(lines, _ALL).values()) == {3}
    assert len(count_lines(lines, _ALL)) == 3000
