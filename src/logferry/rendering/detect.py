"""Detects the format of a file (`--format auto`) from its first lines, and from nothing else."""

from collections.abc import Callable
from typing import Final

from logferry.model.format_names import RECOGNISED
from logferry.rendering.engine.escape import BOM, WHITE_SPACE
from logferry.rendering.registry import format_named

# The first lines of a program are not always typical, and a new file may not have many more than this.
_SAMPLE_LINES: Final = 20

# Container runtimes wrap lines of any format. Half of the lines is enough, because other formats would fit them too.
_WRAPPERS: Final = ("docker", "cri")


def detect(data: bytes) -> str | None:
    """Return the name of the format of a file whose first lines are `data`; None if it is not clear.

    A format must fit at least half of the lines that are neither blank nor indented.
    """
    lines = data.removeprefix(BOM).split(b"\n")
    texts = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines if line.strip()][:_SAMPLE_LINES]
    texts = [text for text in texts if text[0] not in WHITE_SPACE]
    counts = {}
    for name in RECOGNISED:
        counts[name] = sum(map(_recogniser(name), texts))
        if counts[name] == len(texts) or (name in _WRAPPERS and 2 * counts[name] >= len(texts)):
            return name if texts else None
    best = max(counts, key=counts.__getitem__)
    if 2 * counts[best] >= len(texts):
        return best
    return "plain" if 2 * sum(map(format_named("plain").recognises, texts)) >= len(texts) else None


def _recogniser(name: str) -> Callable[[str], bool]:
    format_ = format_named(name)
    return format_.is_typical if name == "plain" else format_.recognises
