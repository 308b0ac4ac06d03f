"""The compiled part knows the keys and the words that the Python code knows, and reads most objects itself."""

from itertools import product

import pytest

from logferry import speedups
from logferry.rendering.engine.levels import LEVEL_WORDS
from logferry.rendering.formats.json.format import JSON
from logferry.rendering.formats.json.roles import ALL_KEYS

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)
compiled = speedups.compiled


def _check(*lines: str) -> None:
    data = "".join(line + "\n" for line in lines).encode()
    expected = "".join(JSON.record_of(line) + "\n" for line in lines).encode()
    assert compiled.render_json(data, b"\n") == (expected, len(lines), 0, b"", [])


def test_it_knows_the_same_keys() -> None:
    values = ('"info"', "3", "null", '{"level":"x"}', '"2026-03-04T11:12:13Z"')
    _check(*(f'{{"{key}":{value},"a":1}}' for key, value in product(ALL_KEYS, values)))
    _check(*(f'{{"{key}":{value},"{other}":1}}' for key, value, other in product(ALL_KEYS, values[:3], ALL_KEYS)))


def test_it_knows_the_same_numeric_levels() -> None:
    numbers = [*range(9), *range(10, 70, 10), *range(100, 650, 50), "3.0", "-3"]
    _check(*(f'{{"level":{number},"msg":"x","{more}":1}}' for number in numbers for more in ("short_message", "a")))
    _check(*(f'{{"level":{number},"level_name":"x"}}' for number in numbers))
    _check(*(f'{{"level":{number},"msg":"x","time":1,"v":0}}' for number in numbers))


def test_it_knows_the_same_words() -> None:
    _check(*(f'{{"log":{{"a":[1],"level":"{word}"}}}}' for word in [*LEVEL_WORDS, "warn", "Error", "information", "x"]))
    _check(*(f'{{"MESSAGE":"x","PRIORITY":"{word}"}}' for word in [*range(9), "03", "x"]))
    date = '"t":{"$date":"2026-03-04T11:12:13.456+00:00"},"ctx":"x"'
    _check(*(f'{{{date},"s":"{word}","msg":"x"}}' for word in ["F", "E", "W", "I", "D1", "D5", "D6", "D", "x"]))


@pytest.mark.parametrize("size", [1_000, 20_000, 300_000])
def test_a_long_value_within_another_one_has_room_for_its_copy(size: int) -> None:
    """A record has it twice: as the level or timestamp, and where it stood."""
    _check(f'{{"t":{{"$date":"2024-01-15T08:23:45.{"0" * size}"}},"s":"I","ctx":"c","msg":"m"}}')
    _check(f'{{"log":{{"level":"{"x" * size}"}},"msg":"m"}}')
    _check(*[f'{{"log":{{"level":"{"x" * (size // 50)}"}},"msg":"m"}}'] * 50)


def test_it_leaves_what_is_not_certain_to_python() -> None:
    left = '{"level":"\\u0069"}\n{"l\\u0065vel":1}\n{"level":"żółw"}\n{"a":NaN}\n{"a":1\n' + f'{{"a":{"[" * 65}1}}\n'
    payload, lines, _, others, gaps = compiled.render_json(f'{{"message":"x"}}\n{left}x\n'.encode(), b"\n")
    assert (lines, others, gaps) == (2, left.encode(), [(len(payload) - payload[::-1].index(b"\n", 1), 6)])


def test_an_event_whose_first_line_is_blank_is_an_object_all_the_same() -> None:
    for render in (JSON.render, JSON._render_by_layouts):
        expected = JSON.record_of('\n{"msg":\n"x"}') + "\n"
        assert render(b'\x1f{"msg":\x1f"x"}\n' * 9, b"\x1f").payload.decode() == 9 * expected
