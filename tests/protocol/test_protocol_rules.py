"""Every numbered rule of docs/protocol.md has a test that names it, and no test names a rule that there is not.

A test names a rule in its docstring: "Rule E9." or "... (rule E9)."
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parents[1]
PROTOCOL: Final = TESTS.parent / "docs" / "protocol.md"
RULES: Final = re.findall(r"^\*\*([A-Z]\d+)\.\*\*", PROTOCOL.read_text(encoding="utf-8"), re.MULTILINE)


def named_rules() -> Iterator[tuple[str, str]]:
    """Yield each rule that a test names, with the name of the test."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for rule in re.findall(r"\b[A-Z]\d{1,2}\b", ast.get_docstring(node) or ""):
                    yield rule, f"{path.relative_to(TESTS)}::{node.name}"


NAMED: Final = list(named_rules())


def test_the_rules_of_each_section_are_numbered_without_gaps() -> None:
    letters = dict.fromkeys(rule[0] for rule in RULES)
    assert "".join(letters) == "MLACEFN"
    for letter in letters:
        numbers = [int(rule[1:]) for rule in RULES if rule[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_named_by_a_test(rule: str) -> None:
    assert [test for named, test in NAMED if named == rule]


def test_no_test_names_a_rule_that_there_is_not() -> None:
    assert [(named, test) for named, test in NAMED if named not in RULES] == []
