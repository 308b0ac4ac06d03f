"""`logferry repair`: stores lines anew that are damaged on the server's disk, from the files, and prints the result."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.cli.client.proof_command import asking, find_and_print
from logferry.cli.command_line import CommandLine
from logferry.cli.output import as_json, shown, table
from logferry.client.proof.repair import RepairReport, repair_path
from logferry.client.proof.verify import files_of
from logferry.config import RepairSettings
from logferry.errors import ProtocolError

# Show at most this many problems of one source; `--json` lists them all.
_MAX_PROBLEMS: Final = 20

_COMMAND_LINE: Final = CommandLine(
    "repair",
    RepairSettings,
    "Store lines anew that are damaged on the server's disk, from the files that still have them.",
    "exit codes: 0 nothing is damaged any more; 1 the server does not answer; 2 the command line or the configuration "
    "is wrong; 3 something is still damaged",
)


def run(words: Sequence[str]) -> int:
    """Repair what is damaged of the files; return the exit code. Raises ConfigError."""
    return find_and_print(
        "repair",
        _COMMAND_LINE.start(words),
        _repair,
        as_table=reports_as_table,
        as_json=reports_as_json,
        is_fine=lambda report: not report.problems,
    )


def _repair(settings: RepairSettings) -> list[RepairReport]:
    with asking(settings) as (_, checkpoints, reports):
        if not reports.can_heal:
            raise ProtocolError("the server does not accept repairs: it needs a newer version")
        paths = map(Path, files_of(settings.inputs))
        return [report for path in paths for report in repair_path(path, checkpoints, reports)]


def reports_as_table(reports: Sequence[RepairReport]) -> str:
    """Return one row per source, and below them what is still damaged and why."""
    header = ("file", "source", "damaged", "repaired", "verdict")
    rows = [(r.path, r.source or "-", str(r.damaged), str(r.repaired), _verdict(r)) for r in reports]
    details = [f"  {shown(f'{r.path}: {text}')}" for r in reports for text in _details(r)]
    return "\n".join([*table([header, *rows]), *details])


def reports_as_json(reports: Sequence[RepairReport]) -> str:
    """Return a list of objects, one per source."""
    return as_json([dataclasses.asdict(report) for report in reports])


def _verdict(report: RepairReport) -> str:
    if report.problems:
        return "NOT all repaired" if report.damaged else report.problems[0]
    return "repaired" if report.damaged else "nothing is damaged"


def _details(report: RepairReport) -> list[str]:
    if not report.damaged:
        return []
    more = len(report.problems) - _MAX_PROBLEMS
    return [*report.problems[:_MAX_PROBLEMS], *([f"and {more} more (--json lists them all)"] if more > 0 else [])]
