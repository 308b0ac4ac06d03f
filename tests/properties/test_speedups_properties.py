"""The compiled part gives what the Python code gives, byte for byte, whatever the bytes are."""

import hashlib
import json
import zlib
from random import Random
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logferry import checksum, speedups
from logferry.client.files.identity import fingerprint
from logferry.client.files.lines.line_splitter import first_lines
from logferry.model.format_names import CURRENT_RULES, FORMATS
from logferry.protocol.lines import validation
from logferry.protocol.lines.text import runs_by_validity
from logferry.protocol.lines.validation import Accept, Lines, validate_line
from logferry.protocol.plain.client import cut_lines
from logferry.rendering.engine.escape import WHITE_SPACE, escape, with_plain_newlines
from logferry.rendering.engine.format import Rendered
from logferry.rendering.engine.line_format import LineFormat
from logferry.rendering.formats.json.format import JSON
from logferry.rendering.formats.text import plain
from logferry.rendering.formats.text.logfmt import LOGFMT
from logferry.rendering.formats.text.plain import PLAIN
from logferry.rendering.formats.text.plain_1 import PLAIN as PLAIN_1
from logferry.rendering.formats.text.raw import RAW
from logferry.rendering.registry import format_named
from tests.properties.test_formats_properties import chunks
from tests.support.judging import validate
from tests.support.pattern_texts import lines_of

# Each format that is made of kinds of lines, by each rules.
LINE_FORMATS: Final = list(
    dict.fromkeys(
        found
        for each in FORMATS
        for rules in range(1, CURRENT_RULES + 1)
        if isinstance(found := format_named(each.name, rules), LineFormat) and found.patterns
    )
)

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)
compiled = speedups.compiled

# Pieces of plain lines, of bytes that are not UTF-8, and of NDJSON; a bar ends each.
_PLAIN_PIECES = (
    "2024-01-15 08:23:45|2024-01-15T08:23:45|2024-01-15|08:23:45|2024-1-15 08:23:45|.5|.|,123456|Z| Z|UTC"
    "| UTC|GMT|G|+01:00"
    "| +0100|-01|+1|+01:|+010|:| |  |\t|T|INFO|info|[INFO]|[warn]|ERROR:|[|]|[]|[INFO|INFO]|1|message"
    '|say "it"|\\|\\n'
    "|\\u0041|\\t|\0|\x01|\x0b|\x0c|\x1f|\x7f|\b|\r|\r\n|\n|\n\n| \n|é|日本語|🚢|\u2028|\ufeff|fifteen letters"
    "|sixteen letters.|"
    "thirty-three letters are these .."
)
_PLAIN = [*_PLAIN_PIECES.split("|"), "\x02" * 20, '"' * 17]
_BROKEN = b"\xff|\xc3|\xed\xa0\x80|\xf4\x90\x80\x80|\xe0\x80\xaf|\xf0\x9f\x9a|\x80|\xc0\xaf".split(b"|")
_RECORD_PIECES = (
    '{"level": "INFO", "message": "|", "timestamp": "2024-01-15 08:23:45"}\n|", "timestamp": null}\n|text'
    '|", "timestamp": null, '
    '"raw": "/w=="}\n|", "timestamp": null, "truncated": true}\n|\\"|\\u00e9|\\|\n'
    '|{"message":"a","level":1}\n|é|\x01|\r\n|{}\n'
    '|{"level": [], "message": {"a": [1, {}]}}\n|{"a": 1.5e3, "level": null, "message": -0}'
    '|{"level": 01, "message": 1}\n'
    '|{"level": 1, "message": 2,}\n|{"level": NaN, "message": 1}\n|{"level": "x"}\n|{"message": "x"}\n|[]\n'
    '|1\n| |"|}|{'
    '|{"l\\u0065vel": 1, "message": 2}\n|{"level": 1, "message": .5}\n|"level": |: |, '
)
_RECORDS = [*_RECORD_PIECES.split("|"), '{"level": 1, "message": ' + "[" * 80 + "]" * 80 + "}\n"]


def _lines_of(pieces: list[str]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(pieces), max_size=30).map(lambda some: "".join(some).encode() + b"\n")


_lines = _lines_of(_PLAIN)
_records = _lines_of(_RECORDS)
_undecodable = st.sampled_from([*(piece.encode() for piece in _PLAIN), *_BROKEN]) | st.binary(max_size=20)
_bytes = st.lists(_undecodable).map(b"".join)
_inner_newlines = st.sampled_from([b"\n", b"\x1f", b"\x0b", b"\x00"])


_decodable_chunks = chunks.map(lambda data: data.decode(errors="replace").encode())


def without_compiled(function: Any, *arguments: Any) -> Any:
    """Call with the Python code alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speedups, "compiled", None)
        return function(*arguments)


@given(_decodable_chunks, _inner_newlines)
def test_objects_and_pairs_are_rendered_as_in_python(lines: bytes, inner_newline: bytes) -> None:
    for format_ in (JSON, LOGFMT):
        assert format_.render(lines, inner_newline) == without_compiled(format_.render, lines, inner_newline)


_LAYOUTS_OF_OBJECTS: Final = (
    b'{"time":"2024-01-15T08:23:45Z","level":"info","msg":"m","n":1}',
    b'{"time": "2024-01-15T08:23:45Z", "level": "info", "msg": "m", "n": 1}',
    b'{"time":"2024-01-15T08:23:45Z","lvl":"info","msg":"m","n":1}',
    b'{"time":"2024-01-15T08:23:45Z","level":"info","msg":  "m","n":[1,{"level":2}]}',
    b'{"time":"2024-01-15T08:23:45Z","level":\t"info","msg":"m","n":1}',
    b'{"time":"2024-01-15T08:23:45Z","level":"info","msg":"m","l\\u0065vel":1}',
    b'{"a_key_that_is_longer_than_what_is_expected":1,"level":"info","msg":"m"}',
    b'{"m":1' + b',"m":1' * 40 + b',"level":"warn"}',
    b' {"n":1, "level":30}',
    b"{ }",
    b"{}",
)


@pytest.mark.parametrize("other", _LAYOUTS_OF_OBJECTS)
@pytest.mark.parametrize("line", _LAYOUTS_OF_OBJECTS)
def test_objects_after_those_of_another_layout_are_rendered_as_in_python(line: bytes, other: bytes) -> None:
    """The compiled part expects an object to be like the one before."""
    cut = (other[:-1], other.replace(b":", b"", 1), other.replace(b",", b"{", 1), other.replace(b'"', b"'", 1))
    for second in (other, *cut):
        for lines in ((line, second, line, line), (line, second), (line, line, second)):
            data = b"".join(each + b"\n" for each in lines)
            assert JSON.render(data, b"\n") == without_compiled(JSON.render, data, b"\n")


@given(_lines, _inner_newlines)
@example(b"2024-01-15 08:23:45 INFO\n", b"\n")
@example(b"2024-01-15 08:23:45 GMT: INFO x\n2024-01-15 08:23:45+010 INFO x\n", b"\n")
@example(b"\x0b\n \x0b \n", b"\x0b")
def test_plain_and_raw_lines_are_rendered_as_in_python(lines: bytes, inner_newline: bytes) -> None:
    for format_, function in ((PLAIN_1, compiled.render_plain), (RAW, compiled.render_raw)):
        expected = without_compiled(LineFormat.render, format_, lines, inner_newline)
        assert format_.render(lines, inner_newline) == expected
        assert Rendered(*function(with_plain_newlines(lines, inner_newline), inner_newline)) == expected


# What decides by rules 2 whether a line is left to Python.
_LAYOUT_PIECES = (
    "2026-03-04 11:12:13|2026-03-04T11:12:13.5Z|[|]| |  |\n|Mar  4 11:12:13|11:12:13|1772622733|INFO|error|Error:"
    "|WARN:root:|[main] |[Note]|<info>|[x/ERROR]: |DBG|FINE|NOTE:|[E]| - |--|\\|host app[7]: |shop.Pump |a@b |local."
    '|Pump runs |The |{} |(main) |:|.|\t|\x1b[31m|\x1b[0m|I, [|811:M |*|#|# | CET| +01| AM|-| 7|x|é|"|\x0b|\x1f'
    "|Audit|audit: |,|;|'|_|$|@"
)
_LAYOUTS = [*_LAYOUT_PIECES.split("|"), "|", " | "]
_layouts = st.one_of(
    _lines_of(_LAYOUTS),
    st.lists(st.sampled_from(_LAYOUTS), max_size=6).map(
        lambda some: f"2026-03-04 11:12:13 {''.join(some)}\n".encode() * 2
    ),
)


@given(_layouts, _inner_newlines)
@example(b"2026-03-04 11:12:13 +01 INFO x\n", b"\n")
@example(b"2026-03-04 11:12:13 word [7]: ERROR x\n2026-03-04 11:12:13 INFO x\n", b"\n")
@example(b"2026-03-04 11:12:13 Pump\x1fINFO: x\n", b"\x1f")
def test_plain_lines_are_read_by_rules_2_as_in_python(lines: bytes, inner_newline: bytes) -> None:
    """What the compiled part decides alone, Python decides likewise, in a chunk and one line at a time."""
    for format_ in (PLAIN, PLAIN.with_levels(("AUDIT",))):
        expected = without_compiled(format_.render, lines, inner_newline)
        assert format_.render(lines, inner_newline) == expected
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plain, "_MANY_LINES", 0)  # by the program of all layouts
            assert format_.render(lines, inner_newline) == expected
        events = with_plain_newlines(lines, inner_newline).decode().split("\n")[:-1]
        texts = (event.replace(inner_newline.decode(), "\n") for event in events)
        blank = WHITE_SPACE.replace(inner_newline.decode(), "")  # no event consists of joined blank lines
        records = [format_.record_of(text) for text in texts if text.strip(blank)]
        assert expected.payload.decode() == "".join(record + "\n" for record in records)


@given(_lines, _inner_newlines)
def test_lines_are_escaped_as_in_python(lines: bytes, inner_newline: bytes) -> None:
    assert escape(lines, inner_newline) == without_compiled(escape, lines, inner_newline)


@pytest.mark.parametrize("format_", LINE_FORMATS, ids=lambda format_: format_.name)
@settings(max_examples=15)
@given(st.integers(0, 2**32), _inner_newlines)
def test_lines_of_every_format_are_rendered_as_in_python(format_: LineFormat, seed: int, inner_newline: bytes) -> None:
    """The lines are made up from the patterns of the format, and changed."""
    random = Random(seed)
    pattern = random.choice(format_.patterns)
    lines = [line for line in lines_of(pattern, random, 6) if inner_newline not in line]
    data = b"".join(line + b"\n" for line in lines)
    expected = without_compiled(LineFormat.render, format_, data, inner_newline)
    assert LineFormat.render(format_, data, inner_newline) == format_.render(data, inner_newline) == expected


def test_a_line_of_which_every_byte_is_escaped_fits() -> None:
    line = b"\x01" * 100_000 + b"\n"
    assert PLAIN.render(line, b"\n") == without_compiled(PLAIN.render, line, b"\n")
    assert escape(line) == without_compiled(escape, line)


@pytest.mark.parametrize(("lines", "inner_newline"), [(b"no newline", b"\n"), (b"line\n", b""), (b"line\n", b"ab")])
def test_what_is_no_lines_is_refused(lines: bytes, inner_newline: bytes) -> None:
    for function in (compiled.render_plain, compiled.render_raw, compiled.escape):
        with pytest.raises(ValueError, match=r"newline|one byte"):
            function(lines, inner_newline)
    with pytest.raises(ValueError, match=r"newline|one byte"):
        compiled.render_plain_2(lines, inner_newline, False, None)


@given(
    st.lists(st.sampled_from([b"\n", b"a\n", b"x" * 500 + b"\n", b"y" * 1500 + b"\n"]), max_size=40), st.integers(1, 45)
)
@example([b"\n"] * 1024, 1024)
@example([b"\n"] * 1025, 1024)
def test_lines_are_counted_off_as_in_python(lines: list[bytes], count: int) -> None:
    data = b"".join(lines) + b"no newline"
    for skipped in {0, len(lines) // 2}:
        start, wanted = len(b"".join(lines[:skipped])), b"".join(lines[skipped:][:count])
        expected = start + len(wanted) if count <= len(lines) - skipped else len(data)
        assert compiled.end_of_lines(data, start, count) == expected
    whole = b"".join(lines)
    assert first_lines(whole, count) == without_compiled(first_lines, whole, count) == b"".join(lines[:count])
    assert list(cut_lines(whole, len(lines), count)) == without_compiled(
        lambda: list(cut_lines(whole, len(lines), count))
    )
    for part in ((len(data) + 1, 1), (-1, 1), (0, 0)):
        with pytest.raises(ValueError, match="not a part"):
            compiled.end_of_lines(data, *part)


@given(_bytes)
def test_what_is_not_utf8_is_found_where_python_finds_it(data: bytes) -> None:
    try:
        data.decode()
        expected = len(data)
    except UnicodeDecodeError as error:
        expected = error.start
    assert compiled.find_undecodable(data, 0, len(data)) == expected
    lines = data + b"\n"
    assert list(runs_by_validity(lines)) == without_compiled(list, runs_by_validity(lines))


def test_a_byte_that_is_not_utf8_is_found_wherever_it_is() -> None:
    for place in range(200):
        data = b"x" * place + b"\xff" + b"y" * (200 - place)
        assert compiled.find_undecodable(data, 0, len(data)) == place


@pytest.mark.parametrize(
    "other",
    [
        b'{"level":  {}, "message":[1]}',
        b'{"message": "m", "level": "I"}',
        b'{ "level" : 1 , "message" : "m" }',
        b'{"level": 1, "message": "m", "level": 2}',
        b'{"level": 1, "message": "m", "a": {"message": {}}, "b": []}',
    ],
)
@pytest.mark.parametrize("line", [b'{"level":1,"message":"m","a":2}', b'{"level": "I", "message": "m"}'])
def test_lines_after_those_of_another_layout_are_taken(line: bytes, other: bytes) -> None:
    """The compiled part expects a line to be like the one before."""
    for first, second in ((line, other), (other, line)):
        payload = b"%b\n%b\n%b\n" % (first, second, first)
        assert compiled.record_run(payload, 0, len(payload))[:2] == (len(payload), 3)
        for cut in (second[:-1], b" " + second, second.replace(b":", b"", 1), second.replace(b",", b"{", 1)):
            payload = b"%b\n%b\n%b\n" % (first, cut, first)
            assert compiled.record_run(payload, 0, len(payload))[:2] == (len(first) + 1, 1)


@given(_records)
def test_lines_are_judged_as_in_python(payload: bytes) -> None:
    def judge() -> list[str]:
        """Return each line that is taken, and the reason for each that is not: runs may be cut anywhere."""
        said = []
        for verdict in validate(payload, accept=Accept.LEVEL_AND_MESSAGE):
            said += verdict.payload.decode().split("\n") if isinstance(verdict, Lines) else [verdict.reason, ""]
        return [line for line in said if line]

    assert judge() == without_compiled(judge)


@given(_records)
def test_a_run_ends_at_a_line_that_may_not_be_valid_and_has_all_before_it(payload: bytes) -> None:
    for function in (compiled.canonical_run, compiled.record_run):
        end, lines, _ = function(payload, 0, len(payload))
        run = payload[:end]
        assert run.count(b"\n") == lines
        assert run == b"" or run.endswith(b"\n")
        for line in run.splitlines(keepends=True) if run.isascii() else ():
            assert validate_line(line, accept=Accept.LEVEL_AND_MESSAGE) == Lines(line, 1)
    canonical = validation._canonical_run.match(payload)
    assert compiled.canonical_run(payload, 0, len(payload))[0] == (canonical.end() if canonical else 0)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(_values, _values, st.dictionaries(st.text(max_size=8), _values, max_size=3), st.booleans())
def test_every_json_object_with_level_and_message_is_taken_at_once(
    level: Any, message: Any, others: dict[str, Any], is_ascii: bool
) -> None:
    record = {**others, "level": level, "message": message}
    line = json.dumps(record, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass") + b"\n"
    assert compiled.record_run(line, 0, len(line))[:2] == (len(line), 1)


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_the_checksum_is_that_of_zlib(data: bytes, value: int, repeats: int) -> None:
    data *= repeats
    assert checksum.crc32(data, value) == zlib.crc32(data, value)
    assert checksum.crc32(memoryview(data)) == zlib.crc32(data)
    first = zlib.crc32(data, value)
    for join in (checksum.joined, lambda *arguments: without_compiled(checksum.joined, *arguments)):
        assert join(value, zlib.crc32(data), len(data)) == first
    assert checksum.extended(value, data, zlib.crc32(data)) == first
    assert without_compiled(checksum.extended, value, data, zlib.crc32(data)) == first


def test_a_part_that_is_none_of_the_data_is_refused() -> None:
    for start, end in ((-1, 1), (2, 1), (0, 100)):
        with pytest.raises(ValueError, match="not a part"):
            compiled.canonical_run(b"{}\n", start, end)


@given(st.binary(max_size=2000))
@example(b"")
@example(b"x" * 127)
@example(b"x" * 128)
@example(b"x" * 129)
@example(b"x" * 256)
@example(b"x" * 1024)
def test_a_fingerprint_is_what_hashlib_gives(data: bytes) -> None:
    expected = hashlib.blake2b(data, digest_size=16).hexdigest()
    assert fingerprint(data) == expected
    assert without_compiled(fingerprint, data) == expected
