"""The server's judgement of a run of lines is that of each line by itself, whatever is in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logferry.protocol.lines.validation import Accept, Lines, Rejected, Verdict, validate_line
from tests.support.judging import validate

_KEYS = ['"level"', '"message"', '"timestamp"', '"l\\u0065vel"', '"levels"', '"a"', '""', '"é"', '"\\""', "level", '"a']
_VALUES = [
    *(
        '"INFO"',
        '"m"',
        '""',
        '"\\u00e9\\n"',
        '"\\x"',
        '"\t"',
        '"\x7f"',
        '"é"',
        "0",
        "-0",
        "01",
        "1.5",
        "1.",
        ".5",
        "1e5",
    ),
    *("1E+400", "-1", "--1", "1e", "true", "false", "null", "True", "NaN", "Infinity", "9" * 5000, "[]", "{}", "[1,2]"),
    *("[1, 2 ]", "[1,]", "[,1]", '{"a":1,"b":[{"c":null}]}', '{"a":1,}', "{1:2}", '{"a" : 1}', "[[[[1]]]]", "[" * 5),
]
members = st.lists(st.tuples(st.sampled_from(_KEYS), st.sampled_from(_VALUES)), max_size=6)


def written(members: list[tuple[str, str]], colon: str, comma: str, end: str) -> bytes:
    return ("{" + comma.join(f"{key}{colon}{value}" for key, value in members) + end).encode()


objects = st.builds(
    written,
    st.tuples(members, members, members).map(
        lambda parts: [*parts[0], ('"level"', '"A"'), *parts[1], ('"message"', '"m"'), *parts[2]]
    ),
    st.sampled_from([":", ": ", " :", ":  "]),
    st.sampled_from([",", ", ", " ,", ",\t"]),
    st.sampled_from(["}", "}", "}", "", " }", "}}", ",}", "} ", "}\r"]),
)
nearly = st.builds(
    written, members, st.sampled_from([":", ": "]), st.sampled_from([",", ", "]), st.sampled_from(["}", "", "}}"])
)
# JSON of all kinds, as Python writes it, without and with spaces.
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
dumped = st.builds(
    lambda members, separators, ascii_only: json.dumps(members, separators=separators, ensure_ascii=ascii_only).encode(
        "utf-8", "surrogatepass"
    ),
    st.dictionaries(st.sampled_from(["level", "message", "timestamp", "a", "b", "é"]), values, max_size=6),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
)
lines = st.one_of(objects, objects, nearly, dumped, st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")))


def joined(verdicts: list[Verdict]) -> list[Verdict]:
    """Join neighbouring runs of valid lines, and leave out where in a line an error is: long lines are scanned."""
    result: list[Verdict] = []
    for verdict in verdicts:
        last = result[-1] if result else None
        if isinstance(verdict, Rejected):
            verdict = Rejected(verdict.reason.partition(": ")[0])
        if isinstance(verdict, Lines) and isinstance(last, Lines):
            result[-1] = Lines(last.payload + verdict.payload, last.count + verdict.count)
        else:
            result.append(verdict)
    return result


@pytest.mark.parametrize("accept", list(Accept))
@given(st.lists(lines, max_size=12))
def test_a_run_of_lines_is_judged_as_each_line_by_itself(accept: Accept, found: list[bytes]) -> None:
    """Rules L1, L2, L3 and L7."""
    payload = b"".join(line + b"\n" for line in found)
    assert joined(validate(payload, accept=accept)) == joined(
        [validate_line(line + b"\n", accept=accept) for line in found]
    )
