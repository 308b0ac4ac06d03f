"""`logferry repair`: stores lines anew that are damaged on the server's disk, from the files, and prints the result."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_NOT_DELIVERED, EXIT_OK, CommandLine
from logferry.cli.output import as_json, print_problem, print_result, shown, table
from logferry.cli.pattern_watch import watching_patterns
from logferry.client.finding.foreign_links import follow_foreign_links
from logferry.client.net.endpoint import Endpoint
from logferry.client.net.reports import ReportClient
from logferry.client.proof.repair import RepairReport, repair_path
from logferry.client.proof.verify import files_of
from logferry.client.run import state_dir
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import RepairSettings
from logferry.errors import DeliveryError, ProtocolError

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
    settings = _COMMAND_LINE.start(words)
    try:
        with watching_patterns():
            found = _repair(settings)
    except DeliveryError as error:
        print_problem(str(error), command="repair")
        return EXIT_NOT_DELIVERED
    print_result(reports_as_json(found) if settings.json else reports_as_table(found))
    return EXIT_INCOMPLETE if any(report.problems for report in found) else EXIT_OK


def _repair(settings: RepairSettings) -> list[RepairReport]:
    follow_foreign_links(settings.follow_foreign_links)
    checkpoints = Checkpoints(state_dir(settings.state_dir), read_only=True)
    with ReportClient.connected_to(Endpoint.of(settings), settings, checkpoints.client_id) as reports:
        if not reports.can_heal:
            raise ProtocolError("the server does not accept repairs: it needs a newer version")
        return [
            report for path in files_of(settings.inputs) for report in repair_path(Path(path), checkpoints, reports)
        ]


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
