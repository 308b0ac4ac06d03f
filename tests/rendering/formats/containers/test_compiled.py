"""The compiled part takes the usual lines of containers itself, and knows the levels that messages begin with."""

import pytest

from logferry import speedups
from logferry.rendering.engine.levels import LEVEL_WORDS
from logferry.rendering.registry import format_named
from tests.support.container_lines import cri, docker
from tests.support.formats import render_both_ways

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)
compiled = speedups.compiled

_CONTENTS = [
    *('{"level":"info","msg":"on"}', "x", '"C:\\\\a"', "<&>", "\tx", "żółw 🚢", "a/b", "\x1b[31mred\x1b[0m"),
    *('{"stream":"own","time":"x","timestamp":1}', '{"a":"time"}', '{"timestamp":null,"level":"x","message":"y"}'),
]


def test_usual_lines_are_not_left_to_python() -> None:
    for line_of, take in ((cri, compiled.cri_contents), (docker, compiled.docker_contents)):
        data = "".join(line_of(content) + "\n" for content in _CONTENTS)
        contents, marks, left, blank = take(data.encode(), b"\n")
        assert contents.decode() == "".join(content + "\n" for content in _CONTENTS)
        assert (marks.count(b"\n"), left, blank) == (len(_CONTENTS), b"", 0)


def test_lines_that_are_unusual_or_blank_inside_are_left() -> None:
    lines = [cri("a", is_last=False), cri(" "), cri("a\rb"), "x", cri("a").replace("stdout", "stdin")]
    data = "".join(line + "\n" for line in lines).encode()
    assert compiled.cri_contents(data + b" \n", b"\n") == (b"", b"\n" * 5, data, 1)
    lines = [docker("a", is_last=False), docker(" "), docker("a\nb"), docker("\r\r"), "x", docker("a")[:-1] + " }"]
    data = "".join(line + "\n" for line in lines).encode()
    assert compiled.docker_contents(data + b" \n", b"\n") == (b"", b"\n" * 6, data, 1)


def test_levels_at_the_beginning_of_messages_are_those_of_python() -> None:
    beginnings = ("", "2024-01-15 08:23:45 ", "2024/01/15T08:23:45,123+0100  ", "2024-01-15 08:23:45x ", " ")
    shapes = ("{}", "{} x", "[{}]", "[{} ]", "{}:", "{}_", "{}-x", "{}1", "{}S", "{}/")
    words = [spelled for word in LEVEL_WORDS for spelled in (word, word.lower(), word.title())]
    lines = [begin + shape.format(word) for begin in beginnings for shape in shapes for word in words]
    for name, line_of in (("cri", cri), ("docker", docker), ("cri+json", cri), ("docker+raw", docker)):
        render_both_ways(name, "".join(line_of(line) + "\n" for line in lines).encode())


def test_a_record_that_uses_the_names_of_the_fields_keeps_its_own() -> None:
    for name, line_of in (("cri+json", cri), ("docker+json", docker), ("docker+auto", docker)):
        rendered = render_both_ways(name, "".join(line_of(content) + "\n" for content in _CONTENTS).encode())
        assert rendered.payload.count(b'"container_stream": "stdout"') == 1
        assert rendered.payload.count(b'"container_time": ') == 1


def test_records_must_be_as_many_as_lines() -> None:
    def no_record(*_: bytes) -> bytes:
        raise AssertionError

    contents, marks, _, _ = compiled.cri_contents((cri("a") + "\n").encode(), b"\n")
    record = format_named("raw").render(contents, b"\n").payload
    for payload, wrong_marks in ((b"", marks), (record * 2, marks), (record, b""), (b"x\n", marks), (b"{\n", marks)):
        with pytest.raises(ValueError, match="records"):
            compiled.with_runtime(payload, wrong_marks, no_record)
    with pytest.raises(AssertionError):
        compiled.with_runtime(b'{"stream": 1}\n', marks, no_record)
