"""Detects the format of a file (`--format auto`) from some of its lines, and from nothing else.

Owns how the formats compete. Which formats are considered, and when, is declared in `model/format_names.py`; which
lines a format takes for its own, by the format (`Format.is_typical`). Must never keep a line.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from logferry.model.format_names import AUTO, SOUGHT_FORMATS
from logferry.rendering.engine.ansi import without_ansi
from logferry.rendering.engine.escape import BOM, WHITE_SPACE
from logferry.rendering.engine.format import Format
from logferry.rendering.registry import format_named

# The first lines of a program are not always typical, and a new file may not have many more than this.
SAMPLE_LINES: Final = 20

# What no format fits is read as this one.
FALLBACK: Final = "plain"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A format that may be chosen: `name` is what becomes of the choice, `fits` tells its lines.

    Half of the lines decide for the format of a container runtime, whatever else fits them. The last resort is
    considered only if no other candidate fits half of the lines: it fits lines of many formats.
    """

    name: str
    fits: Callable[[str], bool]
    is_container: bool = False
    is_last_resort: bool = False


@lru_cache(maxsize=64)
def candidates(levels: tuple[str, ...] = ()) -> tuple[Candidate, ...]:
    """Return the candidates in the order in which they are considered; `levels` are words that are levels, too."""
    found = [
        Candidate(
            f"{each.name}+{AUTO}" if each.is_runtime else each.name,
            _format(each.name, levels).is_typical,
            is_container=each.is_runtime,
        )
        for each in SOUGHT_FORMATS
    ]
    return (*found, Candidate(FALLBACK, _format(FALLBACK, levels).recognises, is_last_resort=True))


@lru_cache(maxsize=64)
def recogniser(name: str, levels: tuple[str, ...] = ()) -> Callable[[str], bool]:
    """Return what tells the lines of a format that was chosen."""
    return _format(name, levels).recognises


def telling_text(line: bytes, *, strips_ansi: bool = False) -> str:
    """Return the text of a line as a format sees it; "" if it is blank or indented, and so says nothing."""
    if strips_ansi:
        line = without_ansi(line)
    text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
    return "" if not text.strip() or text[0] in WHITE_SPACE else text


def detect(data: bytes) -> str | None:
    """Return the name of the format of a file whose first lines are `data`; None if it is not clear."""
    lines = (line for line in data.removeprefix(BOM).split(b"\n") if line.strip())
    texts = [telling_text(line) for line, _ in zip(lines, range(SAMPLE_LINES), strict=False)]
    return chosen([text for text in texts if text])


def chosen(texts: Sequence[str], levels: tuple[str, ...] = ()) -> str | None:
    """Return the format that texts choose: the one that fits most of them, if it fits half of them; otherwise None."""
    found = candidates(levels)
    return _choice(found, lambda index: sum(map(found[index].fits, texts)), len(texts))


class Tally:
    """How many lines fit each candidate: what remains of lines that come one after the other."""

    __slots__ = ("_candidates", "_counts", "lines")

    def __init__(self, levels: tuple[str, ...] = ()) -> None:
        self._candidates = candidates(levels)
        self._counts: list[int] = []
        self.lines = 0

    def add(self, texts: Iterable[str]) -> None:
        """Count more lines."""
        counts = self._counts or [0] * len(self._candidates)
        for text in texts:
            self.lines += 1
            counts = [count + candidate.fits(text) for count, candidate in zip(counts, self._candidates, strict=True)]
        self._counts = counts

    def chosen(self) -> str | None:
        """Return what `chosen` returns for the same texts."""
        return _choice(self._candidates, self._counts.__getitem__, self.lines)

    def count(self, name: str) -> int:
        """Return how many lines fit a format."""
        counts = zip(self._candidates, self._counts, strict=False)
        return max((count for candidate, count in counts if candidate.name == name), default=0)

    def counts(self) -> dict[str, int]:
        """Return how many lines fit each format that fits any, the one that fits most of them first."""
        names = dict.fromkeys(candidate.name for candidate in self._candidates)
        found = [(name, self.count(name)) for name in names]
        return {name: count for name, count in sorted(found, key=lambda entry: -entry[1]) if count}


def _choice(candidates: Sequence[Candidate], count_of: Callable[[int], int], lines: int) -> str | None:
    best, most = None, 0
    for index, candidate in enumerate(candidates if lines else ()):
        if candidate.is_last_resort and 2 * most >= lines:
            break
        count = count_of(index)
        if count == lines or (candidate.is_container and 2 * count >= lines):
            return candidate.name
        if count > most:
            best, most = candidate.name, count
    return best if 2 * most >= lines else None


def _format(name: str, levels: tuple[str, ...]) -> Format:
    return format_named(name).with_levels(levels)
