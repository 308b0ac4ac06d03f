"""Which format the lines of a file have (`--format auto`): decided from its first lines, the same every time."""

from typing import Final

from logferry.rendering.engine.escape import WHITE_SPACE
from logferry.rendering.registry import format_named

# What programs write first is not always typical; much more than this need not be there yet.
_SAMPLE_LINES: Final = 20

# Of formats that fit equally many lines the first one is taken: those that say more of a line come before the others.
_CANDIDATES: Final = ("docker", "cri", "json", "plain", "syslog", "nginx", "apache", "python", "logfmt")

# What a container's runtime writes around any line; other formats would take the lines for theirs.
_WRAPPERS: Final = ("docker", "cri")


def detect(data: bytes) -> str | None:
    """Return the name of the format that the first lines of a file have; None if that is not clear.

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
