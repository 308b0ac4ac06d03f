"""What an option is, and the options that client and server share."""

from dataclasses import dataclass
from typing import Final

from logferry.config.kinds import BOOLEAN, Kind, choice, seconds


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: `name` is the attribute, `env` the variable, `default` is written as a user would write it."""

    name: str
    env: str
    kind: Kind
    default: str
    help: str

    @property
    def flag(self) -> str:
        """The long option on the command line."""
        return "--" + self.name.replace("_", "-")


LOG_LEVEL: Final = Option(
    "log_level",
    "LOGFERRY_LOG_LEVEL",
    choice("debug", "info", "warning", "error"),
    "info",
    "how much to say on stderr: debug, info, warning or error",
)
SHUTDOWN_TIMEOUT: Final = Option(
    "shutdown_timeout",
    "LOGFERRY_SHUTDOWN_TIMEOUT",
    seconds(0),
    "10",
    "seconds to finish what is under way after SIGTERM or SIGINT; a second signal exits at once",
)
JSON: Final = Option("json", "LOGFERRY_JSON", BOOLEAN, "false", "print the result as JSON")
