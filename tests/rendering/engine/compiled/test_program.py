"""Programs of the compiled part: what they match, what they write, what they leave to Python, and what they refuse."""

from random import Random
from typing import Any

import pytest

from logferry import speedups
from logferry.model.format_names import FORMATS
from logferry.rendering.engine.compiled.program import Kind, program_of
from logferry.rendering.engine.fields import (
    Field,
    always_null,
    flag,
    if_given,
    level,
    number_or_null,
    of_each,
    text,
    text_or_null,
)
from logferry.rendering.engine.line_format import LineFormat, LineKind
from logferry.rendering.registry import format_named
from tests.support.formats import SAMPLES
from tests.support.pattern_texts import compare_pattern

if speedups.compiled is None:
    pytest.skip("the compiled part is not built: python3 tools/build_speedups.py", allow_module_level=True)
compiled: Any = speedups.compiled


def found(pattern: str, line: str, *groups: str) -> str | None:
    """Return what a program writes of the groups of a pattern; None if the line does not match."""
    fields = [always_null("kind"), *map(text_or_null, groups)]
    program = program_of([Kind(pattern, fields)], compiled, knows_all=True)
    assert program is not None
    payload, lines, _, left, _ = compiled.render_lines(program, line.encode() + b"\n", b"\n")
    assert (lines, left) == (1, b"")
    record = payload.decode().removesuffix("}\n")
    return record.removeprefix('{"kind": null') if record.startswith('{"kind"') else None


def is_compiled(pattern: str) -> bool:
    return program_of([Kind(pattern, [text("message")])], compiled, knows_all=True) is not None


class TestMatching:
    @pytest.mark.parametrize("seed", range(40))
    def test_patterns_mean_what_they_mean_in_python(self, seed: int) -> None:
        random = Random(seed)
        assert [problem for _ in range(5) if (problem := compare_pattern(random))] == []

    @pytest.mark.parametrize(
        ("pattern", "line", "matches"),
        [
            (r"[0-9]{4}-[0-9]{2}[ T]x", "2024-01Tx", True),
            (r"[0-9]{4}-[0-9]{2}[ T]x", "2024-01Ux", False),
            (r"(?i:warn)[A-Za-z]++", "WaRning", True),
            (r"(?i:warn)[A-Za-z]++", "WaR@ing", False),
            (r"[!-~]++ x", "a" * 40 + " x", True),
            (r"[^\n]*x", "axbx", True),
            (r"[^\n]*+x", "axbx", False),
            (r"a*?b", "aaab", True),
            (r"(?:a|ab)(?:c|bcd)", "abcd", True),
            (r"(?>a|ab)(?:c|bcd)d", "abcd", False),
            (r"(?:ab?c)*+a", "aca", True),
            (r"(?:[ab]x){0,8}+y", "axbxaxy", True),
            (r"(?:ax){0,8}+", "ax" * 9, False),
            (r"a(?![^\n])", "a", True),
            (r"a(?=\n|b)b?", "ab", True),
            (r"(?:(?<=\|)|x)\|?b", "xb", True),
            (r"a\|(?<=a\|)b", "a|b", True),
            (r"\|(?<=a\|)b", "|b", False),
            (r"(?<!a)b", "b", True),
            (r"(?P<q>\[)?+x(?(q)\])", "[x]", True),
            (r"(?P<q>\[)?+x(?(q)\])", "[x", False),
            (r"\w\d[\s_]\S[^\D]\W", "a1_x2-", True),
            (r"é++", "éé", False),  # one byte is repeated, as in a pattern of bytes
        ],
    )
    def test_each_part_of_a_pattern(self, pattern: str, line: str, matches: bool) -> None:
        assert (found(pattern, line) is not None) == matches

    def test_a_group_that_was_undone_has_not_matched(self) -> None:
        assert found(r"(?:(?P<a>x)y|(?P<b>x)z)", "xz", "a", "b") == ', "a": null, "b": "x"'
        assert found(r"(?: \[(?P<a>x)\])?+[^\n]*+", " [x", "a") == ', "a": null'

    @pytest.mark.parametrize(
        "pattern",
        [
            r"(?P<message>a)(?P=message)",
            r"\bx",
            r"(?:(?P<message>a)b)*+",
            r"(?:a*)*",
            r"(?i:[^a])",
            r"ab|cd",
            r"(?:(?:aa){0,9}+b){0,9}+",
            r"(?:ab){5,9}",
            r"(?:ab)*?c",
            r"(?<!ab)c",
            r"(?s:.)",
        ],
    )
    def test_what_it_does_not_know_stays_with_python(self, pattern: str) -> None:
        assert not is_compiled(pattern)

    def test_a_line_that_takes_too_long_is_left_to_python(self) -> None:
        kind = LineKind(".*", r"(?:a|aa|aaa)*(?P<message>b)", [always_null("level"), text_or_null("message")])
        format_ = LineFormat("slow", [kind])
        payload, lines, blank, left, places = compiled.render_lines(
            format_._program, b"b\n" + b"a" * 60 + b"\nb\n", b"\n"
        )
        assert (lines, blank, left, places) == (2, 0, b"a" * 60 + b"\n", [(len(payload) // 2, 1)])


class TestRecords:
    def record(self, *fields: Field, line: str = "INFO: 7 x") -> str:
        pattern = r"(?P<word>[A-Za-z]++:) (?P<number>[0-9]++|-)(?: (?P<maybe>[a-z]++|-))?+"
        program = program_of([Kind(pattern, fields)], compiled, knows_all=True)
        return bytes(compiled.render_lines(program, line.encode() + b"\n", b"\n")[0]).decode()

    def test_each_kind_of_field(self) -> None:
        fields = [level("word"), number_or_null("number"), text_or_null("maybe"), if_given("given", "maybe")]
        fields += [of_each("double", "number", lambda text: 2 * (text or "")), flag("maybe")]
        assert self.record(*fields) == (
            '{"level": "INFO", "number": 7, "maybe": "x", "given": "x", "double": "77", "maybe": true}\n'
        )
        assert (
            self.record(*fields, line="info: -") == '{"level": "INFO", "number": null, "maybe": null, "double": "--"}\n'
        )
        assert self.record(*fields, line="info: - -") == (
            '{"level": "INFO", "number": null, "maybe": null, "given": "-", "double": "--", "maybe": true}\n'
        )

    def test_a_function_is_called_once_for_a_text(self) -> None:
        asked = list[str | None]()

        def value(text: str | None) -> object:
            asked.append(text)
            return text

        program = program_of(
            [Kind(r"(?P<a>[a-z]++)?+ (?P<b>[0-9]++)", [of_each("a", "a", value)])], compiled, knows_all=True
        )
        lines = b"".join(b"%b %d\n" % (word, number) for number in range(50) for word in (b"x", b"y", b""))
        payload = compiled.render_lines(program, lines, b"\n")[0]
        assert payload.decode() == '{"a": "x"}\n{"a": "y"}\n{"a": null}\n' * 50
        assert asked == ["x", "y", None]

    def test_many_and_long_texts_of_a_function_are_written_as_they_should(self) -> None:
        field = of_each("a", "a", lambda text: f"<{text}>")
        program = program_of([Kind(r"(?P<a>[!-~]++)", [field])], compiled, knows_all=True)
        words = [f"{number:x}" * (number % 60 + 1) for number in range(1, 900)] * 2
        payload = compiled.render_lines(program, "".join(word + "\n" for word in words).encode(), b"\n")[0]
        assert payload.decode() == "".join(f'{{"a": "<{word}>"}}\n' for word in words)

    def test_an_error_of_a_function_ends_the_rendering(self) -> None:
        def value(text: str | None) -> object:
            raise ArithmeticError(text)

        program = program_of([Kind(r"(?P<a>[a-z]++)", [of_each("a", "a", value)])], compiled, knows_all=True)
        with pytest.raises(ArithmeticError, match="x"):
            compiled.render_lines(program, b"x\n", b"\n")

    def test_what_a_function_returns_must_be_bytes(self) -> None:
        kept: list[object] = []

        class Keeper:
            def line_program(self, *parts: object) -> object:
                kept.extend(parts)
                return None

        keeper: Any = Keeper()
        program_of([Kind(r"(?P<a>[a-z]++)", [of_each("a", "a", str)])], keeper, knows_all=True)
        program = compiled.line_program(*kept[:8], (str,), True)
        with pytest.raises(TypeError, match="not bytes"):
            compiled.render_lines(program, b"x\n", b"\n")

    def test_a_group_that_should_have_matched_leaves_the_line(self) -> None:
        program = program_of([Kind(r"(?P<a>x)?+y", [always_null("l"), text("a")])], compiled, knows_all=True)
        assert compiled.render_lines(program, b"y\nxy\n", b"\n") == (b'{"l": null, "a": "x"}\n', 1, 0, b"y\n", [(0, 1)])


class TestPrograms:
    def test_what_is_not_a_program_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not a program"):
            compiled.line_program(*[b""] * 8, (), True)
        with pytest.raises(ValueError, match="PyCapsule"):
            compiled.render_lines(object(), b"x\n", b"\n")

    @pytest.mark.parametrize("name", [each.name for each in FORMATS])
    def test_every_format_of_kinds_of_lines_has_a_program(self, name: str) -> None:
        """Whatever the parser of this Python makes of the patterns."""
        format_ = format_named(name)
        if isinstance(format_, LineFormat):
            assert format_._program is not None

    @pytest.mark.parametrize("name", ["klog", "auditd", "python", "postgres", "elb", "alb", "envoy", "traefik"])
    def test_no_line_of_exact_kinds_is_left_to_python(self, name: str) -> None:
        format_, data = format_named(name), (SAMPLES / f"{name}.log").read_bytes()
        assert isinstance(format_, LineFormat)
        assert compiled.render_lines(format_._program, data, b"\n")[3:] == (b"", [])
