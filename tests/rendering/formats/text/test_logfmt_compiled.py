"""The compiled part knows the keys that the Python code knows, and reads most pairs itself."""

from itertools import product

import pytest

from logferry import speedups
from logferry.rendering.engine.field_roles import ALL_NAMES
from logferry.rendering.formats.json.roles import ALL_KEYS
from logferry.rendering.formats.text.logfmt import LOGFMT

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)
compiled = speedups.compiled

_VALUES = ("=info", "", "=", '="a b"', "='a \"b'", "=C:\\a", '="C:\\p"', '="a\tb"', "=2026-03-04T11:12:13Z", "=\u017c")


def _check(*lines: str) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    expected = "".join(LOGFMT.record_of(line) + "\n" for line in lines).encode()
    assert compiled.render_logfmt(data, b"\n") == (expected, len(lines), 0, b"", [])


def test_it_knows_the_same_keys() -> None:
    _check(*(f"a=1 {key}{value}" for key, value in product((*ALL_KEYS, "b"), ("=info", "", "=1", '="x y"'))))
    pairs = ((key, other) for key, other in product(ALL_NAMES, ALL_NAMES) if key != other)
    _check(*(f"a=1 {key}{value} {other}=x" for (key, other), value in product(pairs, ("=info", ""))))


def test_it_reads_the_same_values() -> None:
    _check(*(f"msg=x t{value} a{other}" for value, other in product(_VALUES, _VALUES)))
    _check(
        "x", "a =1", "a", '"a"=1', 'a="b"c', "a='b'c", 'a="b', "=", "a=1 =2", "a=1  b\t c=", " a=1 ", "level='a' b=''"
    )


def test_it_leaves_what_is_not_certain_to_python() -> None:
    left = 'level="\\u0069"\nlevel=żółw\nmsg=a msg=b\nlevel=a\\b\n' + "a=1 " * 65 + "\n"
    payload, lines, _, others, gaps = compiled.render_logfmt(f"msg=x\n{left}x\n".encode(), b"\n")
    assert (lines, others, gaps) == (2, left.encode(), [(payload.index(b"\n") + 1, 5)])
