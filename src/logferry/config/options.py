"""What an option is, and how the fields of settings declare options.

Each option is declared once, in the annotation of its field: `port: Annotated[int, Declaration(PORT, "9000", ...)]`.
Type checkers see the plain type; `options_of` combines the declaration with the name of the field. The flags, their
help, the environment variables, the keys of the configuration file, `.env.example` and the tables of the documentation
all come from the declarations.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, TypeAlias, get_args, get_origin, get_type_hints

from logferry.config.kinds.kinds import BOOLEAN, HOST_AND_PORT, Kind, choice, word_or
from logferry.config.kinds.units import duration

PREFIX: Final = "LOGFERRY_"


class Group(Enum):
    """Which options `--help` lists together; the value is the heading, the order is that of the help."""

    TARGET = "where to"
    ADDRESS = "network address"
    FILES = "which files"
    LINES = "what lines become"
    DELIVERY = "delivery"
    STORAGE = "storage"
    CLUSTER = "storage on NATS JetStream"
    LIMITS = "limits"
    RUN = "general"


@dataclass(frozen=True, slots=True)
class Declaration:
    """The option that the annotation of a field declares.

    `default` is written as a user would write it. `variable` names the environment variable of one of the first ten
    options; the variables of all other options are made from the prefix and the field's name. `opposite` is another
    flag, which sets the option to false. `instead_of` are options that this one replaces: of the two, the one from the
    higher layer counts.
    """

    kind: Kind
    default: str
    help: str
    group: Group
    variable: str = ""
    opposite: str = ""
    instead_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `name` is the name of the field and the key in a file, `env` the environment variable."""

    name: str
    env: str
    kind: Kind
    default: str
    help: str
    group: Group
    opposite: str = ""
    instead_of: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The long option on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_one_of_the_first(self) -> bool:
        """Whether this is one of the first ten options, whose variables have no prefix."""
        return not self.env.startswith(PREFIX)


def options_of(settings: type) -> tuple[Option, ...]:
    """Return the options that the fields of a dataclass declare, the first ten before all others.

    The options of a nested field, which holds a tuple of other settings (`inputs`), come before the dataclass's own.
    """
    return _options_of(settings)


@cache  # the command line, the environment and the file ask for the options of the same settings
def _options_of(settings: Any) -> tuple[Option, ...]:
    hints = get_type_hints(settings, include_extras=True)
    nested = [option for hint in hints.values() for option in _options_within(hint)]
    own = [_option(name, hint) for name, hint in hints.items() if get_origin(hint) is Annotated]
    return tuple(sorted((*nested, *own), key=lambda option: not option.is_one_of_the_first))


def _options_within(hint: object) -> Iterator[Option]:
    if get_origin(hint) is tuple and hasattr(kind := get_args(hint)[0], "__dataclass_fields__"):
        yield from options_of(kind)


def _option(name: str, hint: object) -> Option:
    _, declaration = get_args(hint)
    env = declaration.variable or PREFIX + name.upper()
    kind, default, group = declaration.kind, declaration.default, declaration.group
    return Option(
        *(name, env, kind, default, declaration.help, group),
        opposite=declaration.opposite,
        instead_of=declaration.instead_of,
    )


# Options that client and server share.
LogLevel: TypeAlias = Annotated[
    str,
    Declaration(
        choice("debug", "info", "warning", "error"),
        "info",
        "log messages of this level and above to stderr: debug, info, warning or error",
        Group.RUN,
    ),
]
LogFormat: TypeAlias = Annotated[
    str,
    Declaration(
        choice("text", "json"),
        "text",
        "how to log to stderr: text, or json: one object a line, with time (UTC), level, event and fields",
        Group.RUN,
    ),
]
ShutdownTimeout: TypeAlias = Annotated[
    float,
    Declaration(
        duration(0),
        "10s",
        "after SIGTERM or SIGINT, finish pending work for at most this long; a second signal exits immediately",
        Group.LIMITS,
    ),
]
Http: TypeAlias = Annotated[
    tuple[str, int] | None,
    Declaration(
        word_or("none", HOST_AND_PORT),
        "none",
        "serve /metrics (for Prometheus), /healthz and /readyz over HTTP on this address, such as 127.0.0.1:9464; "
        "port 0 = any free port",
        Group.RUN,
    ),
]
Json: TypeAlias = Annotated[bool, Declaration(BOOLEAN, "false", "print the result as JSON", Group.RUN)]
