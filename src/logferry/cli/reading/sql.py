"""`logferry sql`: answers a query in SQL over stored lines (the extra `logferry[sql]`)."""

import argparse
import csv
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Final

from logferry.cli.command_line import EXIT_OK
from logferry.cli.output import print_notice, print_result, shown_text, table
from logferry.cli.reading.query import QueryLine
from logferry.config.units import size
from logferry.errors import ConfigError
from logferry.reading.disk_logs import DiskLogs
from logferry.reading.sql import Query

_EPILOG: Final = """The view `logs` has all committed lines. Its columns are host, path, received_at (UTC; at the
latest then), level, timestamp, message, and fields (JSON: all others):

  logferry sql "select level, count(*) from logs where host like 'web-%' group by 1"
  logferry sql "select fields->>'$.user' as who, count(*) from logs where level = 'ERROR' group by who order by 2 desc"

What a query says of host, path and received_at decides which segments are read. DuckDB answers it; a query reads
nothing but the view, writes nothing, and uses no network.

exit codes: 0 answered; 1 there is no store, DuckDB is not installed, or it cannot answer the query; 2 the command line
is wrong
"""

_OUTPUTS: Final = ("table", "csv", "json")
_MEMORY: Final = size(64 * 1024 * 1024, 1024 * 1024 * 1024 * 1024)

# A table is laid out when it is complete.
_MOST_ROWS: Final = 1000
_LEAST_CELL_COLUMNS: Final = 20


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", nargs="?", metavar="QUERY", help="what to select from logs")
    parser.add_argument(
        "--output", metavar="WHAT", help="table, csv, or json: an object a line; default: table on a terminal, else csv"
    )
    parser.add_argument("--memory", metavar="SIZE", default="512M", help="use at most this much memory; default 512M")
    parser.add_argument(
        "--external-access", action="store_true", help="let the query read and write other files, and use the network"
    )


_COMMAND_LINE: Final = QueryLine(
    "sql",
    "QUERY",
    "Answer a query in SQL over stored lines. Reads the data folder of a server.",
    _EPILOG,
    _add_arguments,
)


def run(words: Sequence[str]) -> int:
    """Answer the query; return the exit code. Raises ConfigError, LogferryError and OSError."""
    settings, asked = _COMMAND_LINE.start(words)
    output, memory, text = _checked(asked)
    reaches = getattr(asked, "external_access", False)
    with (
        closing(DiskLogs(settings.data_dir)) as stored,
        closing(Query(stored, memory_bytes=memory, may_reach_others=reaches)) as query,
    ):
        columns, batches = query.rows(text)
        _WRITERS[output](columns, (row for batch in batches for row in batch))
        if stored.looked.unreadable:
            print_notice(f"{stored.looked.unreadable} segments could not be read: {stored.looked.problem}")
    return EXIT_OK


def _checked(asked: argparse.Namespace) -> tuple[str, int, str]:
    problems = []
    output = getattr(asked, "output", None) or ("table" if sys.stdout.isatty() else "csv")
    if output not in _OUTPUTS:
        problems.append(f"--output must be one of {', '.join(_OUTPUTS)}, not {output}")
    memory = 0
    try:
        memory = _MEMORY.parse(asked.memory)
    except ValueError:
        problems.append(f"--memory must be {_MEMORY.allowed}, not {asked.memory}")
    if not getattr(asked, "query", None):
        problems.append("QUERY is missing: what to select from logs")
    if problems:
        raise ConfigError(problems)
    return output, memory, asked.query


def _write_table(columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    width = shutil.get_terminal_size().columns
    cell_columns = max(_LEAST_CELL_COLUMNS, width // max(len(columns), 1) if len(columns) > 2 else width // 2)
    shown = [[_cell(value, cell_columns) for value in row] for row in islice(rows, _MOST_ROWS)]
    print_result("\n".join(table([[_cell(name, cell_columns) for name in columns], *shown])))
    if len(shown) == _MOST_ROWS and next(rows, None) is not None:
        print_notice(f"only the first {_MOST_ROWS} rows are shown: --output csv has all")


def _cell(value: Any, columns: int) -> str:
    return "" if value is None else shown_text(str(value), columns)


def _write_csv(columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([_safe(name) for name in columns])
    for row in rows:
        writer.writerow([_safe(value) for value in row])
    sys.stdout.flush()


def _write_json(columns: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    for row in rows:
        line = json.dumps(dict(zip(columns, row, strict=True)), default=str)
        sys.stdout.write(line.replace("\x7f", "\\u007f") + "\n")
    sys.stdout.flush()


def _safe(value: Any) -> Any:
    """Return a value as it is for a pipe, and so that it cannot control a terminal."""
    return shown_text(str(value), sys.maxsize) if isinstance(value, str) and sys.stdout.isatty() else value


_WRITERS: Final = {"table": _write_table, "csv": _write_csv, "json": _write_json}
