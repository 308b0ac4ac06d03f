"""Phrases that have crept in before must stay out of code and documents (CONTRIBUTING.md, "Prose")."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("src", "docs", "tools", "benchmarks")
PAGES: Final = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md", ".sh", ".c") and path.name != "benchmarks.md"
) + sorted(ROOT.glob("*.md"))

# Patterns are matched in prose with its line breaks folded.
BANNED: Final = {
    r"\b(?:is|are|was|were|be|been|being) told\b": "is logged, is reported, is notified",
    r"\btells? (?:of|about)\b": "reports, describes",
    r"\bto tell\b(?! (?:apart|them|which|it from))": "to report, to log",
    r"(?<!there )\bis no (?!longer\b)": "is not a",
    r"\bso many\b": "at most N, this many",
    r"\bas many \w+ as there are\b": "all",
    r"\bthat is waited (?:for|with)\b": "the client waits for",
    r"\bis waited with\b": "waits",
    r"\bhas the word\b": "decides",
    r"\blast word\b": "last report",
    r"\bsay the same words\b": "speak the same protocol",
    r"\bby itself each\b": "each alone",
    r"\bin its hands\b": "holds",
    r"\blet go of\b": "release, drop",
    r"\bwhat is (?:said|meant)\b": "name the thing",
    r"(?<!each )(?<!some )(?<!none )(?<!all )(?<!both )\bof which\b": "whose; repeat the noun",
    r"\bwhoever\b": "the caller, a client",
    r"(?<!\")\bnews\b(?!\")": "change, notification",
    r"\bthe kernel's word\b": "the kernel's notification",
    r"\b(?:doorway|weaving|sieve|dialect|enquiry|survey)\b": "see the glossary in docs/architecture.md",
}


def folded(path: Path) -> str:
    """Return the text of a file with comment marks and line breaks folded to single spaces."""
    return re.sub(r"\s*\n\s*(?:#|\*|//)?\s*", " ", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_banned_phrase(path: Path) -> None:
    text = folded(path)
    found = [
        f"{text[max(0, match.start() - 40) : match.end() + 40]!r}: {better}"
        for pattern, better in BANNED.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]
    assert found == []
