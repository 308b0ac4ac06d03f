"""`logferry sql`: answers a query in SQL over stored lines (the extra `logferry[sql]`)."""

import csv
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, Final

from logferry.cli.commands import EXIT_INCOMPLETE, EXIT_OK
from logferry.cli.output import print_notice, print_result, shown, shown_text, table
from logferry.cli.parsing import RaisingParser
from logferry.cli.reading.options import add_store, data_dir_of, refuse_console, without_console
from logferry.config.kinds.units import size
from logferry.errors import ConfigError
from logferry.reading.disk.logs import DiskLogs
from logferry.reading.sql import Query

_EPILOG: Final = """The view `logs` has all committed lines. Its columns are host, path, received_at (UTC; at the
latest then), level, timestamp, message, and fields (JSON: all others):

  logferry sql "select level, count(*) from logs where host like 'web-%' group by 1"
  logferry sql "select fields->>'$.user' as who, count(*) from logs where level = 'ERROR' group by who order by 2 desc"

What a query says of host, path and received_at decides which segments are read. DuckDB answers it; a query reads
nothing but the view, writes nothing, and uses no network.

exit codes: 0 answered; 1 there is no store, DuckDB is not installed, or it cannot answer the query; 2 the command line
is wrong; 3 some segments could not be read
"""

_OUTPUTS: Final = ("table", "csv", "json")
_MEMORY: Final = size(64 * 1024 * 1024, 1024 * 1024 * 1024 * 1024)

# A table is laid out when it is complete.
_MOST_ROWS: Final = 1000
_LEAST_CELL_COLUMNS: Final = 20


def parser() -> RaisingParser:
    """Return the parser of the command line."""
    made = RaisingParser("sql", "Answer a query in SQL over stored lines.", _EPILOG, usage="%(prog)s [options] QUERY")
    add = made.add_argument
    add("query", nargs="?", metavar="QUERY", help="what to select from logs")
    add(
        "--output", metavar="FORM", help="table, csv, or json: an object a line; default: table on a terminal, else csv"
    )
    add("--memory", metavar="SIZE", help="use at most this much memory; default 512M")
    add("--external-access", action="store_true", help="let the query use other files, and the network")
    add_store(made)
    refuse_console(made)
    return made


def run(words: Sequence[str]) -> int:
    """Answer the query; return the exit code. Raises ConfigError, LogferryError and OSError."""
    given = without_console(vars(parser().parse_args(list(words))), "SQL")
    output, memory, text = _checked(given)
    reaches = bool(given.get("external_access"))
    with (
        closing(DiskLogs(data_dir_of(given))) as stored,
        closing(Query(stored, memory_bytes=memory, may_reach_others=reaches)) as query,
    ):
        columns, batches = query.rows(text)
        _WRITERS[output](columns, (row for batch in batches for row in batch))
        if stored.looked.unreadable:
            print_notice(
                f"some segments could not be read, such as {shown(stored.looked.problem)}; see `logferry fsck`"
            )
        return EXIT_INCOMPLETE if stored.looked.unreadable else EXIT_OK


def _checked(given: Mapping[str, Any]) -> tuple[str, int, str]:
    problems = []
    output = given.get("output") or ("table" if sys.stdout.isatty() else "csv")
    if output not in _OUTPUTS:
        problems.append(f"--output must be one of {', '.join(_OUTPUTS)}, not {output}")
    memory = 0
    try:
        memory = _MEMORY.parse(given.get("memory", "512M"))
    except ValueError:
        problems.append(f"--memory must be {_MEMORY.allowed}, not {given['memory']}")
    if not given.get("query"):
        problems.append("QUERY is missing: what to select from logs")
    if problems:
        raise ConfigError(problems)
    return output, memory, str(given["query"])


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
    names = _distinct(columns)
    for row in rows:
        line = json.dumps(dict(zip(names, map(_with_json, row), strict=True)), default=str)
        sys.stdout.write(line.replace("\x7f", "\\u007f") + "\n")
    sys.stdout.flush()


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of columns, each once: an object would keep only one column of a name."""
    found: list[str] = []
    for name in names:
        number, own = 1, name
        while own in found:
            own, number = f"{name}_{number}", number + 1
        found.append(own)
    return found


def _with_json(value: Any) -> Any:
    """Return a value that JSON has: not a number, and the infinite ones, are texts."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _safe(value: Any) -> Any:
    """Return a value as it is for a pipe, and so that it cannot control a terminal."""
    return shown_text(str(value), sys.maxsize) if isinstance(value, str) and sys.stdout.isatty() else value


_WRITERS: Final = {"table": _write_table, "csv": _write_csv, "json": _write_json}
