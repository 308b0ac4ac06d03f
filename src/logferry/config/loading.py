"""From what was given to settings: command line over environment, that over the configuration file, that over defaults.

What belongs to an input holds, when it is on the command line or in the environment, for every input; the top of the
file has the defaults for its `[[input]]` sections. A log file from the command line or the environment takes the place
of all those sections: it is one input, with what the top of the file says.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from logferry.config import conflicts
from logferry.config.client_options import INPUT_OPTIONS, SHIP_OPTIONS
from logferry.config.environment import unknown_variables
from logferry.config.options import Option
from logferry.config.settings import FileSettings, InputSettings, Settings, ShipSettings
from logferry.errors import ConfigError

if TYPE_CHECKING:
    from logferry.config.toml_file import Table, TomlFile

_INPUT_NAMES: Final = frozenset(field.name for field in fields(InputSettings))


def load(
    settings: type[Settings],
    options: Sequence[Option],
    arguments: Mapping[str, str],
    environment: Mapping[str, str],
) -> Settings:
    """Return a command's settings. `arguments` maps option names to what the command line gave.

    Raises ConfigError with every problem at once.
    """
    judge = _Judge(arguments, environment)
    reads_file = any(option.name == "config" for option in options)
    values = judge.values_of_client(settings, options) if reads_file else judge.values(options)
    judge.problems += unknown_variables(environment)
    if judge.problems:
        raise ConfigError(judge.problems)
    return settings(**values)


class _Judge:
    """Finds the values of options and collects what is wrong with them."""

    def __init__(self, arguments: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._environment = environment
        self.problems: list[str] = []

    def values_of_client(self, settings: type, options: Sequence[Option]) -> dict[str, Any]:
        """Return the values of `options` of a command that knows the configuration file; those of inputs by input."""
        file = self._file(next(option for option in options if option.name == "config"))
        top = (file.top,) if file else ()
        values = self.values([option for option in options if option.name not in _INPUT_NAMES], top)
        of_inputs = [option for option in options if option.name in _INPUT_NAMES]
        if of_inputs:
            tables_of_inputs = self._tables_of_inputs(file)
            inputs = [self.values(of_inputs, tables) for tables in tables_of_inputs]
            if settings is ShipSettings:
                self._find_conflicts(values, tables_of_inputs, inputs)
            if not self.problems:
                kind = InputSettings if settings is ShipSettings else FileSettings
                values["inputs"] = tuple(kind(**own) for own in inputs)
        return values

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
        """Return the values of `options` by name, without those that are wrong."""
        values: dict[str, Any] = {}
        for option in options:
            try:
                values[option.name] = self._value(option, tables)
            except ConfigError as error:
                self.problems += (problem for problem in error.problems if problem not in self.problems)
        return values

    def _value(self, option: Option, tables: Sequence["Table"]) -> Any:
        """Return the value of one option. Raises ConfigError. An empty variable counts as not set."""
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
            return option.kind.parse(text)
        except ValueError as error:
            reason = f": {error}" if str(error) else ""
            raise ConfigError(
                [f"{option.flag}: {text!r} (from {source}) must be {option.kind.allowed}{reason}"]
            ) from None

    def _file(self, option: Option) -> "TomlFile | None":
        """Return the configuration file, if there is one and it can be read."""
        path: Path | None = self.values([option]).get(option.name)
        if path is None:
            return None
        # Imported late: a client without a configuration file need not wait for it.
        from logferry.config.toml_file import read

        try:
            file = read(path, SHIP_OPTIONS, _INPUT_NAMES)
        except ConfigError as error:
            self.problems += error.problems
            return None
        self.problems += file.problems
        return file

    def _tables_of_inputs(self, file: "TomlFile | None") -> list[tuple["Table", ...]]:
        """Return for each input where its values stand, the first place that has one first."""
        if file is None:
            return [()]
        log_file = INPUT_OPTIONS[0]
        if not file.inputs or log_file.name in self._arguments or self._environment.get(log_file.env):
            return [(file.top,)]
        return [(table, file.top) for table in file.inputs]
