"""Prints results to stdout and problems to stderr, and lays out tables; makes names and reasons safe for a terminal.

With --log-format json, notices and problems are objects as those of the log, so that every line on stderr is one. Must
never fail because nobody can read the output: streams.py sees to that.
"""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Final, TextIO

from logferry.cli.streams import write_if_ready
from logferry.printable import SHOWN_REASON_CHARS, printable

# Units of sizes, each a thousand times the one before.
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


class _Form:
    """How notices and problems are printed; the command line decides it once, before there is anything to print."""

    is_json = False


def notices_as_json(*, is_wanted: bool) -> None:
    """Print notices and problems as JSON from now on, or as text."""
    _Form.is_json = is_wanted


def are_notices_json() -> bool:
    """Return whether notices and problems are printed as JSON."""
    return _Form.is_json


def print_result(text: str) -> None:
    """Print a result, of one line or several, to stdout."""
    _print(text, sys.stdout)


def print_notice(text: str) -> None:
    """Print a line to stderr that scripts read, such as the summary of a run."""
    if _Form.is_json:
        text = _as_json_line("info", text)
    _print(text, sys.stderr)


def print_last_words(text: str) -> None:
    """Print a line of ASCII to stderr from a signal handler that ends the process: at once, or not at all."""
    line = _as_json_line("info", text) if _Form.is_json else text
    write_if_ready(2, f"{line}\n".encode())


def print_problem(text: str, *, command: str = "") -> None:
    """Print a problem as one line on stderr, prefixed with the name of the program and the command."""
    name = f"logferry {command}" if command else "logferry"
    line = f"{name}: {printable(text, encoding=_encoding(sys.stderr))}"
    _print(_as_json_line("error", line) if _Form.is_json else line, sys.stderr)


def _as_json_line(level: str, text: str) -> str:
    from logferry.telemetry.log_format import json_line  # late: it imports what only a log needs

    return json_line(time.time(), level, text)


def shown(text: object) -> str:
    """Return a text from outside, such as a file name, in a form that is safe to print to stdout."""
    return printable(str(text), encoding=_encoding(sys.stdout))


def shown_reason(reason: str) -> str:
    """Return a reason that a peer may have written, in a form that is safe to print to stdout, and not too long."""
    return printable(reason, max_chars=SHOWN_REASON_CHARS, encoding=_encoding(sys.stdout))


def shown_text(text: str, columns: int) -> str:
    """Return a text from outside in a form that is safe to print to stdout, cut to this many columns."""
    return printable(text, max_chars=columns, encoding=_encoding(sys.stdout))


def size_text(size: int) -> str:
    """Return a number of bytes for people, in powers of 1000."""
    amount, unit = float(size), 0
    while amount >= 999.5 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 99.5 else f"{amount:.1f} {_UNITS[unit]}"


def duration_text(seconds: float) -> str:
    """Return a duration for people, in its two largest units: "1 h 5 min"."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    rest, parts = round(seconds), []
    for unit, size in units:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def terminal_columns() -> int | None:
    """Return the width of the terminal that standard output is; None if it is something else."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def as_json(value: object) -> str:
    """Return JSON for scripts, in ASCII without control characters; half a character of a name is an escape in it."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns; the first row is the header."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _print(text: str, stream: TextIO) -> None:
    """Print lines. What their callers forgot to escape is escaped here, except newlines."""
    lines = [printable(line, encoding=_encoding(stream)) for line in text.split("\n")]
    with contextlib.suppress(OSError):
        print("\n".join(lines), file=stream, flush=True)


def _encoding(stream: TextIO) -> str:
    return stream.encoding or "utf-8"
