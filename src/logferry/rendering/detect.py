"""Decides which format the lines of a file have (`--format auto`), from its first lines and from nothing else."""

from typing import Final

from logferry.rendering.engine.escape import WHITE_SPACE
from logferry.rendering.registry import format_named

# What programs write first is not always typical; much more than this may not be there yet.
_SAMPLE_LINES: Final = 20

# If several formats fit equally many lines, the first of them is taken: formats that say more of a line come first.
_CANDIDATES: Final = ("docker", "cri", "json", "plain", "syslog", "nginx", "apache", "python", "logfmt")

# What a container runtime writes around any line: half of the lines is enough, as other formats would take them too.
_WRAPPERS: Final = ("docker", "cri")


def detect(data: bytes) -> str | None:
    """Return the name of the format of a file whose first lines are `data`; None if the lines do not show it.

    A format must fit at least half of the lines that are neither blank nor indented.
    """
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    texts = [line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines if line.strip()][:_SAMPLE_LINES]
    texts = [text for text in texts if text[0] not in WHITE_SPACE]
    counts = {}
    for name in _CANDIDATES:
        counts[name] = sum(map(format_named(name).recognises, texts))
        if counts[name] == len(texts) or (name in _WRAPPERS and 2 * counts[name] >= len(texts)):
            return name if texts else None
    best = max(counts, key=counts.__getitem__)
    return best if 2 * counts[best] >= len(texts) else None
