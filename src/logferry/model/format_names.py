"""The names of the log formats, and what configuration and rendering must know about a format before its first use.

This is the only list of the formats: the registry of `rendering`, the options of `config`, their help texts and the
documentation derive from it.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FormatName:
    """A format that `--format` knows.

    `module` is the module below `logferry.rendering.formats` that has the format, under its name in capitals.
    `joins_lines`: the lines themselves mark which of them are parts of one event.
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

# The prefix of a format that is the user's own pattern.
REGEX_PREFIX: Final = "regex:"

FORMAT_NAMES: Final = tuple(each.name for each in FORMATS)
JOINING_FORMATS: Final = tuple(each.name for each in FORMATS if each.joins_lines)
