"""The names of the log formats, and what configuration and rendering must know about a format before its first use.

This is the only list of the formats: the registry of `rendering`, the options of `config`, their help texts and the
documentation derive from it.

What a format makes of a line is part of the proof that the line is stored, so a format never changes: its next version
has new rules. Rules are numbered for all formats together. CURRENT_RULES apply to what is shipped from now on; a
checkpoint keeps the rules by which each range was shipped (docs/protocol.md, rule F37).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

# The newest rules. A format that differs under the next ones, and was released with these, gets an entry in `earlier`.
CURRENT_RULES: Final = 2


class Sought(IntEnum):
    """When `--format auto` considers a format. Of formats that fit equally many lines, the earliest wins."""

    FIRST = 0  # it reads more from lines that also have an early format
    EARLY = 1  # its lines have hardly any other format
    LATE = 2  # its lines may have a format that reads more from them
    LAST = 3  # many lines of other formats fit it
    NEVER = 4


@dataclass(frozen=True, slots=True)
class FormatName:
    """A format that `--format` knows.

    `module` is the module below `logferry.rendering.formats` that has the format, under its name in capitals.
    `earlier` has the modules of its earlier versions, each after the last rules to which it belongs, the oldest first.
    `joins_lines`: the lines themselves mark which of them are parts of one event. `is_runtime`: the lines hold those
    of a container. `has_header`: the meaning of a line depends on a line before it. `holds_nuls`: NULs at the beginning
    of a line are part of it, and not a hole. `sought` says when `--format auto` considers the format;
    `Format.is_typical` says which lines it takes for its own.
    """

    name: str
    module: str
    joins_lines: bool = False
    is_runtime: bool = False
    has_header: bool = False
    holds_nuls: bool = False
    sought: Sought = Sought.EARLY
    earlier: tuple[tuple[int, str], ...] = ()

    def module_by(self, rules: int) -> str:
        """Return the module of the version that belongs to `rules`."""
        return next((module for last, module in self.earlier if rules <= last), self.module)


FORMATS: Final = (
    FormatName("plain", "text.plain", sought=Sought.LATE, earlier=((1, "text.plain_1"),)),
    FormatName("raw", "text.raw", sought=Sought.NEVER),
    FormatName("json", "json.format", earlier=((1, "json.format_1"),)),
    FormatName("logfmt", "text.logfmt", sought=Sought.LAST, earlier=((1, "text.logfmt_1"),)),
    FormatName("syslog", "text.syslog"),
    FormatName("nginx", "access.nginx", earlier=((1, "access.nginx_1"),)),
    FormatName("apache", "access.apache", earlier=((1, "access.apache_1"),)),
    FormatName("cri", "containers.cri", joins_lines=True, is_runtime=True),
    FormatName("docker", "containers.docker", joins_lines=True, is_runtime=True),
    FormatName("python", "text.python_logging", sought=Sought.LATE, earlier=((1, "text.python_1"),)),
    FormatName("klog", "text.klog"),
    FormatName("auditd", "text.auditd"),
    FormatName("haproxy", "access.haproxy", sought=Sought.FIRST),
    FormatName("envoy", "access.envoy", sought=Sought.FIRST),
    FormatName("traefik", "access.traefik", sought=Sought.FIRST),
    FormatName("elb", "access.elb", sought=Sought.FIRST),
    FormatName("alb", "access.alb", sought=Sought.FIRST),
    FormatName("iis", "access.iis", has_header=True),
    FormatName("postgres", "text.postgres"),
    FormatName("rails", "text.rails"),
    FormatName("mysql_slow", "text.mysql_slow", joins_lines=True),
    FormatName("journal", "json.journal", joins_lines=True, holds_nuls=True),
)

# The prefix of a format whose lines follow a header, which the reader of a file adds: `iis:date time c-ip`. No header
# is longer than this.
HEADER_PREFIX: Final = "iis:"
MAX_HEADER_CHARACTERS: Final = 2048

# The prefix of a format that is the user's own pattern.
REGEX_PREFIX: Final = "regex:"

FORMAT_NAMES: Final = tuple(each.name for each in FORMATS)

# The formats of container runtimes, and the formats that a container may write inside of them: `cri+json`. A pattern of
# the user may be inside of them, too.
RUNTIME_FORMATS: Final = tuple(each.name for each in FORMATS if each.is_runtime)
_ALONE: Final = tuple(each.name for each in FORMATS if not (each.joins_lines or each.has_header))
INNER_FORMATS: Final = ("auto", *_ALONE)
NESTED_FORMATS: Final = tuple(f"{runtime}+{inner}" for runtime in RUNTIME_FORMATS for inner in INNER_FORMATS)

# The value of `--format` for which the lines of each file decide, and the formats among which they do: those of
# container runtimes first, because what a container writes may have any format.
AUTO: Final = "auto"
SOUGHT_FORMATS: Final = tuple(
    sorted(
        (each for each in FORMATS if each.sought is not Sought.NEVER),
        key=lambda each: (not each.is_runtime, each.sought),
    )
)


_BY_NAME: Final = {each.name: each for each in FORMATS}


def without_header(name: str) -> str:
    """Return the name of a format that `--format` knows, for one with a header: `iis` for `iis:date time c-ip`."""
    return HEADER_PREFIX.removesuffix(":") if name.startswith(HEADER_PREFIX) else name


def has_header(name: str) -> bool:
    """Whether the meaning of a line of this format depends on a line before it."""
    return without_header(name) in _BY_NAME and _BY_NAME[without_header(name)].has_header


def holds_nuls(name: str) -> bool:
    """Whether NULs at the beginning of a line are part of it."""
    return name in _BY_NAME and _BY_NAME[name].holds_nuls


def parts_of(name: str) -> tuple[str, str]:
    """Return the runtime's format and the one inside of it; an empty name and the format itself for any other."""
    outer, plus, inner = name.partition("+")
    return (outer, inner) if plus and outer in RUNTIME_FORMATS else ("", name)


def joins_lines(name: str) -> bool:
    """Whether the lines of this format mark by themselves which of them are parts of one event."""
    outer, inner = parts_of(name)
    name = outer or inner
    return name in _BY_NAME and _BY_NAME[name].joins_lines
