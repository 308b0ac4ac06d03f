"""The generated files say what the declarations of options and metrics say."""

from pathlib import Path

import pytest

from logferry.config import SERVE_OPTIONS, SHIP_OPTIONS
from tools.generate_docs import ROOT, generated_files


@pytest.mark.parametrize("path", generated_files(), ids=lambda path: path.name)
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated_files()[path], "run python3 tools/generate_docs.py"


def test_every_option_is_in_the_example_and_on_the_page() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for option in (*SHIP_OPTIONS, *SERVE_OPTIONS):
        assert f"#{option.env}={option.default}" in example
        assert f"| `{option.env}` | `{option.flag}` | `{option.default}` | {option.help} |" in page


def test_copying_the_example_changes_nothing() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert all(line.startswith("#") for line in example if line)
