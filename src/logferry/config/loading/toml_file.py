"""The configuration file: TOML with the names of options as keys; a client's file has an `[[input]]` section per input.

This module reads the file, finds unknown keys, and knows the line of each key. It never decides which value wins:
`loading` does.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from logferry.config.kinds.units import MIB
from logferry.config.options import Option
from logferry.errors import ConfigError, cause_of
from logferry.printable import printable, quoted
from logferry.suggestions import similar

INPUT: Final = "input"

# A hundred times the size of a file with thousands of inputs. A log file named by mistake is not read to its end.
_MAX_BYTES: Final = 4 * MIB

_MAX_WRITTEN: Final = 120

_DECODE_ERROR: Final = re.compile(r"(.*) \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)", re.DOTALL)
_HEADER: Final = re.compile(r"[ \t]*(\[\[?)[ \t]*([\"']?)([\w-]+)\2[ \t]*(?:\.[ \t]*([\"']?)([\w-]+)\4[ \t]*)?\]")
_KEY: Final = re.compile(r"[ \t]*([\"']?)([\w-]+)\1[ \t]*[=.]")


class Lines:
    """The line numbers of keys, found by searching the text because `tomllib` does not report them.

    A line number counts only if a single line matches: a line of a multi-line string may look like a key.
    """

    def __init__(self, text: str) -> None:
        self._found: dict[tuple[int, str], list[int]] = {}
        self.sections = 0
        place: int | None = 0  # 0 is the top, n the nth [[input]], None any other section
        for number, line in enumerate(text.split("\n"), 1):
            if header := _HEADER.match(line):
                place = self._enter(header, number)
            elif place is not None and (key := _KEY.match(line)):
                self._add(place, key[2], number)

    def _enter(self, header: re.Match[str], number: int) -> int | None:
        brackets, name, key = header[1], header[3], header[5]
        if name != INPUT or (key is None and brackets == "["):
            self._add(0, name, number)
            return None
        if key is not None:  # [input.field]: a table of the last input
            self._add(self.sections, key, number)
            return None
        self.sections += 1
        self._add(self.sections, "", number)
        if self.sections == 1:  # for problems with the presence of sections
            self._add(0, INPUT, number)
        return self.sections

    def _add(self, section: int, key: str, number: int) -> None:
        self._found.setdefault((section, key), []).append(number)

    def of(self, section: int, key: str) -> int | None:
        """Return the line of a key in the nth `[[input]]` (0 = the top), or of the section itself if `key` is empty."""
        numbers = self._found.get((section, key), ())
        return numbers[0] if len(numbers) == 1 else None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The keys that a file may have: `names` at its top, `input_names` in an `[[input]]` (empty: no such sections).

    `foreign` are the keys that only the file of the other end may have.
    """

    names: Sequence[str]
    input_names: Set[str]
    foreign: Set[str]
    other_end: str


@dataclass(frozen=True, slots=True)
class Table:
    """The top of the file (`section` 0), or its nth `[[input]]`."""

    path: Path
    section: int
    values: Mapping[str, Any]
    lines: Lines | None

    def value(self, option: Option) -> Any:
        """Return the value of an option that this table has. Raises ConfigError."""
        value = self.values[option.name]
        try:
            return option.kind.from_toml(value)
        except ValueError as error:
            reason = f": {error}" if str(error) else ""
            raise ConfigError(
                [self.complaint(option.name, f"{_written(value)} must be {option.kind.allowed}{reason}")]
            ) from None

    def complaint(self, key: str, sentence: str) -> str:
        """Return a message about a key, or about the section if `key` is empty, with file, line and section."""
        line = self.lines.of(self.section, key) if self.lines else None
        place = f"{printable(str(self.path))}, line {line}" if line else printable(str(self.path))
        section = f" [[{INPUT}]] {self.section}:" if self.section else ""
        return f"{place}:{section} {printable(key) + ': ' if key else ''}{sentence}"


@dataclass(slots=True)
class TomlFile:
    """A file that could be read: its top, its inputs, and the problems with its keys."""

    top: Table
    inputs: list[Table] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read(path: Path, vocabulary: Vocabulary) -> TomlFile:
    """Read the file. Raises ConfigError if it cannot be read or is not TOML."""
    text = _read_text(path)
    values = _parse(path, text)
    sections = values.pop(INPUT, []) if vocabulary.input_names else []
    lines = Lines(text)
    is_certain = isinstance(sections, list) and len(sections) == lines.sections
    file = TomlFile(Table(path, 0, values, lines))
    if not isinstance(sections, list) or not all(isinstance(section, dict) for section in sections):
        file.problems.append(file.top.complaint(INPUT, f"write each input as its own section, headed [[{INPUT}]]"))
        sections = []
    file.inputs = [Table(path, n, section, lines if is_certain else None) for n, section in enumerate(sections, 1)]
    for table in (file.top, *file.inputs):
        file.problems += _unknown_keys(table, vocabulary)
    if file.inputs:
        file.problems += _missing_files(file)
    return file


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{printable(str(path))}: cannot read the configuration file: {cause_of(error)}"]) from None
    if len(content) > _MAX_BYTES:
        raise ConfigError([f"{printable(str(path))}: a configuration file may have at most {_MAX_BYTES} bytes"])
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [f"{printable(str(path))}, line {line}: a configuration file must be UTF-8, and this line is not"]
        ) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(path, text, str(error))]) from None
    except (ValueError, RecursionError) as error:  # a number with thousands of digits; arrays nested too deeply
        raise ConfigError([f"{printable(str(path))}: not TOML: {printable(str(error))}"]) from None


def _syntax_problem(path: Path, text: str, message: str) -> str:
    match = _DECODE_ERROR.fullmatch(printable(message))
    if match is None:
        return f"{printable(str(path))}: not TOML: {message}"
    if match[2] is None:
        last = text.rstrip().count("\n") + 1
        return f"{printable(str(path))}, line {last}: not TOML: {match[1]} at the end of the file"
    return f"{printable(str(path))}, line {match[2]}: not TOML: {match[1]} at column {match[3]}"


def _unknown_keys(table: Table, vocabulary: Vocabulary) -> Iterator[str]:
    for key, value in table.values.items():
        if key == "config":
            yield table.complaint(key, "a configuration file cannot name another configuration file")
        elif key not in _allowed(table, vocabulary):
            yield table.complaint(key, f"unknown key{_hint(table, key, value, vocabulary)}")


def _allowed(table: Table, vocabulary: Vocabulary) -> list[str]:
    if table.section:
        return [name for name in vocabulary.names if name in vocabulary.input_names]
    return [*vocabulary.names, INPUT] if vocabulary.input_names else [*vocabulary.names]


def _hint(table: Table, key: str, value: object, vocabulary: Vocabulary) -> str:
    allowed = _allowed(table, vocabulary)
    if key in vocabulary.names:
        return f" in an [[{INPUT}]] section; it belongs above the first one"
    if key in vocabulary.foreign or (key == INPUT and key not in allowed):
        return f" here; it belongs in the configuration file of the {vocabulary.other_end}"
    close = similar(key.lower().replace("-", "_"), allowed)
    if isinstance(value, dict) or close == INPUT:
        return f"; the only sections are [[{INPUT}]]" if vocabulary.input_names else "; this file has no sections"
    if close:
        return f"; did you mean {close}?"
    if table.section:
        return f" in an [[{INPUT}]] section; the keys are {', '.join(allowed)}"
    return "; the keys are the long options with underscores, like server_port"


def _missing_files(file: TomlFile) -> Iterator[str]:
    if "log_file" in file.top.values:
        yield file.top.complaint("log_file", f"with [[{INPUT}]] sections, each section needs its own log_file")
    for table in file.inputs:
        if "log_file" not in table.values:
            yield table.complaint("", "log_file is missing")


def _written(value: object) -> str:
    """Return a value roughly as the file spells it, on one line, shortened."""
    if isinstance(value, str):
        return quoted(value, max_chars=_MAX_WRITTEN)
    return printable(str(value).lower() if isinstance(value, bool) else repr(value), max_chars=_MAX_WRITTEN)
