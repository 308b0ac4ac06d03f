"""What commands print: results on stdout, problems on stderr, tables; names and reasons safe for a terminal."""

import os
import sys
from collections.abc import Sequence

from logferry.printable import printable


def print_result(text: str) -> None:
    """Print what was asked for; whoever reads it may have seen enough before its end (`| head`)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the exit


def print_problem(text: str, *, command: str = "") -> None:
    """Print one line on stderr: what is wrong, with the name of the program or of the command before it."""
    name = f"logferry {command}" if command else "logferry"
    print(f"{name}: {printable(text, encoding=sys.stderr.encoding or 'utf-8')}", file=sys.stderr)


def shown(text: object) -> str:
    """Return a text from outside as it can be printed on stdout: names of files may hold anything."""
    return printable(str(text), encoding=sys.stdout.encoding or "utf-8")


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines with columns; the first row is the header."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
