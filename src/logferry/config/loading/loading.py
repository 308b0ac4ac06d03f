"""Finds the value of every option: the command line wins over the environment, then the file, then the default.

This module owns that order and collects every problem, so that users see all problems of one run together. An input's
option on the command line or in the environment applies to every input; the top of the file holds the defaults for its
`[[input]]` sections. A log file on the command line or in the environment replaces all `[[input]]` sections: the client
then has a single input, with the settings at the top of the file. Settings never change after loading.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from logferry.config.loading import conflicts
from logferry.config.loading.environment import unknown_variables
from logferry.config.options import Option, options_of
from logferry.config.settings.client_settings import RepairSettings, TrySettings, VerifySettings
from logferry.config.settings.input_settings import FileSettings, InputSettings
from logferry.config.settings.settings_type import Settings
from logferry.config.settings.ship_settings import ShipSettings
from logferry.errors import ConfigError
from logferry.printable import quoted

if TYPE_CHECKING:
    from logferry.config.loading.toml_file import Table, TomlFile, Vocabulary

_INPUT_OPTIONS: Final = options_of(InputSettings)
_INPUT_NAMES: Final = frozenset(option.name for option in _INPUT_OPTIONS)
_LOG_FILE: Final = next(option for option in _INPUT_OPTIONS if option.name == "log_file")


def load(
    settings: type[Settings], arguments: Mapping[str, str | Sequence[str]], environment: Mapping[str, str]
) -> Settings:
    """Return a command's settings. `arguments` maps the names of options to their texts on the command line.

    Several texts are that many values, whatever separator the option has.

    Raises ConfigError that lists every problem.
    """
    judge = _Judge(arguments, environment)
    values = judge.values_of(settings)
    judge.problems += unknown_variables(environment, options_of(settings))
    if judge.problems:
        raise ConfigError(judge.problems)
    return settings(**values)


class _Judge:
    """Finds the values of options and collects the problems with them."""

    def __init__(self, arguments: Mapping[str, str | Sequence[str]], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._environment = environment
        self.problems: list[str] = []

    def values_of(self, settings: type) -> dict[str, Any]:
        """Return the values of all fields of `settings`, without the invalid ones."""
        options = options_of(settings)
        has_inputs = settings in (ShipSettings, TrySettings, VerifySettings, RepairSettings)
        of_inputs = [option for option in options if has_inputs and option.name in _INPUT_NAMES]
        file = self._file(next(option for option in options if option.name == "config"), settings)
        top = (file.top,) if file else ()
        own = [option for option in options if option not in of_inputs]
        values = self.values(own, top)
        self._choose_alternatives(values, own, top)
        if "plain_from" in values:
            self.problems += conflicts.of_server(values)
        if "query_timeout" in values:
            self.problems += conflicts.of_console(values)
        if has_inputs:
            self.problems += conflicts.of_connection(values)
            self._add_inputs(values, settings, self._tables_of_inputs(file), of_inputs)
        return values

    def _add_inputs(
        self,
        values: dict[str, Any],
        settings: type,
        tables_of_inputs: Sequence[tuple["Table", ...]],
        options: Sequence[Option],
    ) -> None:
        inputs = [self.values(options, tables) for tables in tables_of_inputs]
        if settings in (ShipSettings, TrySettings):
            self._find_conflicts(values, tables_of_inputs, inputs)
        if self.problems:
            return
        if settings in (ShipSettings, TrySettings):
            values["inputs"] = tuple(InputSettings(**own, host=values["host"]) for own in inputs)
        else:
            values["inputs"] = tuple(FileSettings(**own) for own in inputs)

    def _find_conflicts(
        self,
        values: dict[str, Any],
        tables_of_inputs: Sequence[tuple["Table", ...]],
        inputs: Sequence[dict[str, Any]],
    ) -> None:
        self.problems += conflicts.of_client(values, inputs)
        for tables, own in zip(tables_of_inputs, inputs, strict=True):
            is_section = bool(tables) and tables[0].section > 0
            self.problems += (tables[0].complaint("", text) if is_section else text for text in conflicts.of_input(own))

    def values(self, options: Iterable[Option], tables: Sequence["Table"] = ()) -> dict[str, Any]:
        """Return the values of `options` by name, without the invalid ones."""
        values: dict[str, Any] = {}
        for option in options:
            try:
                values[option.name] = self._value(option, tables)
            except ConfigError as error:
                self.problems += (problem for problem in error.problems if problem not in self.problems)
        return values

    def _choose_alternatives(
        self, values: dict[str, Any], options: Sequence[Option], tables: Sequence["Table"]
    ) -> None:
        """Unset options that stand in a lower layer than those that they replace; both in one layer is a problem."""
        by_name = {option.name: option for option in options}
        for option in options:
            layer = self._layer_of(option, tables)
            if layer is None or not values.get(option.name):
                continue
            others = {by_name[name]: self._layer_of(by_name[name], tables) for name in option.instead_of}
            highest = min((other for other in others.values() if other), default=None)
            if highest is not None and highest < layer:
                values[option.name] = option.kind.parse(option.default)
            elif highest == layer:
                flags = " or ".join(other.flag for other, its_layer in others.items() if its_layer == layer)
                self.problems.append(f"{option.flag} and {flags} (both from {layer[1]}) cannot be used together")

    def _layer_of(self, option: Option, tables: Sequence["Table"]) -> tuple[int, str] | None:
        """Return the rank of the layer that an option's value is from, the highest being 0, and its name."""
        if option.name in self._arguments:
            return 0, "the command line"
        if self._environment.get(option.env):
            return 1, "the environment"
        if any(option.name in table.values for table in tables):
            return 2, "the configuration file"
        return None

    def _value(self, option: Option, tables: Sequence["Table"]) -> Any:
        """Return the value of one option. Raises ConfigError. An empty variable counts as not set."""
        text: str | Sequence[str]
        if option.name in self._arguments:
            text, source = self._arguments[option.name], "the command line"
        elif self._environment.get(option.env):
            text, source = self._environment[option.env], f"the environment variable {option.env}"
        else:
            for table in tables:
                if option.name in table.values:
                    return table.value(option)
            text, source = option.default, "the default"
        try:
            return option.kind.parse(text) if isinstance(text, str) else option.kind.from_toml([*text])
        except ValueError as error:
            reason = f": {error}" if str(error) else ""
            shown = text if isinstance(text, str) else " ".join(text)
            raise ConfigError(
                [f"{option.flag}: {quoted(shown)} (from {source}) must be {option.kind.allowed}{reason}"]
            ) from None

    def _file(self, option: Option, settings: type) -> "TomlFile | None":
        """Return the configuration file, or None if none is configured or it cannot be read."""
        path: Path | None = self.values([option]).get(option.name)
        if path is None:
            return None
        # Imported late: a program without a configuration file need not wait for the TOML parser.
        from logferry.config.loading.toml_file import read

        try:
            file = read(path, _vocabulary(settings))
        except ConfigError as error:
            self.problems += error.problems
            return None
        self.problems += file.problems
        return file

    def _tables_of_inputs(self, file: "TomlFile | None") -> list[tuple["Table", ...]]:
        """Return for each input the tables that may hold its values, the one that wins first."""
        if file is None:
            return [()]
        if not file.inputs or _LOG_FILE.name in self._arguments or self._environment.get(_LOG_FILE.env):
            return [(file.top,)]
        return [(table, file.top) for table in file.inputs]


def _vocabulary(settings: type) -> "Vocabulary":
    """Return the keys that a file may have: any client command accepts every key of the client, likewise the server.

    The console has a file of its own.
    """
    from logferry.config.loading.toml_file import Vocabulary
    from logferry.config.settings.console_settings import ConsoleSettings
    from logferry.config.settings.server_settings import FsckSettings, ServeSettings
    from logferry.config.tables import CONSOLE_OPTIONS, SERVE_OPTIONS, SHIP_OPTIONS

    client, server = (tuple(option.name for option in options) for options in (SHIP_OPTIONS, SERVE_OPTIONS))
    if settings in (ServeSettings, FsckSettings):
        return Vocabulary(server, frozenset(), frozenset(client) - {*server}, "client")
    if settings is ConsoleSettings:
        console = tuple(option.name for option in CONSOLE_OPTIONS)
        return Vocabulary(console, frozenset(), frozenset((*client, *server)) - {*console}, "client or the server")
    return Vocabulary(client, _INPUT_NAMES, frozenset(server) - {*client}, "server")
