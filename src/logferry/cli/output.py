"""Prints results to stdout and problems to stderr, and lays out tables; makes names and reasons safe for a terminal."""

import os
import sys
from collections.abc import Sequence

from logferry.printable import printable


def print_result(text: str) -> None:
    """Print a result. The reader of a pipe may close it before the end (`| head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that flushing at exit does not fail


def print_problem(text: str, *, command: str = "") -> None:
    """Print a problem as one line on stderr, prefixed with the name of the program and the command."""
    name = f"logferry {command}" if command else "logferry"
    print(f"{name}: {printable(text, encoding=sys.stderr.encoding or 'utf-8')}", file=sys.stderr)


def shown(text: object) -> str:
    """Return a text from outside, such as a file name, in a form that is safe to print to stdout."""
    return printable(str(text), encoding=sys.stdout.encoding or "utf-8")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with aligned columns; the first row is the header."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
