"""`logferry try`: shows what the first lines of a file would be stored as; connects to nothing and writes nothing."""

from collections.abc import Sequence
from typing import Final

from logferry.cli.client.try_report import trial_as_json, trial_as_text
from logferry.cli.command_line import EXIT_OK, CommandLine, Operand
from logferry.cli.output import print_result, terminal_columns
from logferry.cli.pattern_watch import watching_patterns
from logferry.client.readers.trial import try_lines
from logferry.config import STANDARD_INPUT, TrySettings

_EPILOG: Final = """the first ten records are shown; --json has them byte for byte as they would be stored

exit codes: 0 the lines were read; 1 the file cannot be read; 2 the command line or the configuration is wrong
"""

_COMMAND_LINE: Final = CommandLine(
    "try",
    TrySettings,
    "Show what the first lines of a file would be stored as, and which format fits them.",
    _EPILOG,
    operand=Operand(
        "FILE",
        "the file to read, plain or compressed, or - for standard input",
        instead_of=frozenset({"log_file", "exclude", "start_at", "multiline_timeout"}),
        fixed={"log_file": STANDARD_INPUT},
    ),
    letters={"lines": "-n"},
)


def run(words: Sequence[str]) -> int:
    """Read the lines and print what they become; return the exit code. Raises ConfigError, SourceError."""
    settings, name = _COMMAND_LINE.start_with_operand(words)
    with watching_patterns():
        trial = try_lines(name, settings.inputs[0], max_lines=settings.lines)
    if settings.json:
        print_result(trial_as_json(name, trial))
        return EXIT_OK
    columns = terminal_columns()
    print_result(trial_as_text(name, trial, columns=columns))
    return EXIT_OK
