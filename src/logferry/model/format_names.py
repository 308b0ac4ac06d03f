"""The names of the log formats, and what both configuration and rendering must know of each before it is used.

This is the one place that lists the formats: the registry of `rendering`, the options of `config`, their help texts and
the documentation follow it.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FormatName:
    """A format that `--format` knows.

    `module` is where it is below `logferry.rendering.formats`, under its name in capitals. `joins_lines` says that its
    lines say themselves which of them are parts of one event.
    """

    name: str
    module: str
    joins_lines: bool = False


FORMATS: Final = (
    FormatName("plain", "text.plain"),
    FormatName("raw", "text.raw"),
    FormatName("json", "json.format"),
    FormatName("logfmt", "text.logfmt"),
    FormatName("syslog", "text.syslog"),
    FormatName("nginx", "access.nginx"),
    FormatName("apache", "access.apache"),
    FormatName("cri", "containers.cri", joins_lines=True),
    FormatName("docker", "containers.docker", joins_lines=True),
    FormatName("python", "text.python_logging"),
)

# What stands before the pattern of a format that the user writes himself.
REGEX_PREFIX: Final = "regex:"

FORMAT_NAMES: Final = tuple(each.name for each in FORMATS)
JOINING_FORMATS: Final = tuple(each.name for each in FORMATS if each.joins_lines)
