"""`logferry repair`: stores lines anew that are damaged on the server's disk, from the files, and prints the result."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from logferry.cli.client.proof_command import asking, find_and_print
from logferry.cli.command_line import EXIT_NOT_DELIVERED, EXIT_OK, CommandLine
from logferry.cli.output import as_json, shown, table
from logferry.cli.progress_line import showing_progress
from logferry.client.net.conversation.reports import ReportClient
from logferry.client.proof.repair import RepairReport, repair_path
from logferry.client.proof.verify import files_of
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import RepairSettings
from logferry.errors import ProtocolError
from logferry.progress import Tally

# Show at most this many problems of one source; `--json` lists them all.
_MAX_PROBLEMS: Final = 20

_COMMAND_LINE: Final = CommandLine(
    "repair",
    RepairSettings,
    "Store lines anew that are damaged on the server's disk, from the files that still have them.",
    "exit codes: 0 nothing is damaged any more; 1 the server, or one of several, does not answer; 2 the command line "
    "or the configuration is wrong; 3 something is still damaged",
    takes_files=True,
)


def run(words: Sequence[str]) -> int:
    """Repair what is damaged of the files; return the exit code. Raises ConfigError."""
    unasked: list[str] = []
    code = find_and_print(
        "repair",
        _COMMAND_LINE.start(words),
        partial(_repair, unasked=unasked),
        as_table=reports_as_table,
        as_json=reports_as_json,
        is_fine=lambda report: not report.problems,
    )
    return EXIT_NOT_DELIVERED if unasked and code == EXIT_OK else code  # what those have may still be damaged


def _repair(settings: RepairSettings, unasked: list[str]) -> list[RepairReport]:
    with asking(settings) as (_, checkpoints, asked):
        unasked += asked.problems
        if not asked.can_heal:
            raise ProtocolError("the server does not accept repairs: it needs a newer version")
        paths = list(map(Path, files_of(settings.inputs)))
        names = len(asked.clients) > 1
        tally = Tally(total_files=len(paths) * len(asked.clients))
        with showing_progress("repairing", tally.look):
            found = [_repair_on(client, paths, checkpoints, tally, names=names) for client in asked.clients]
        return [report for reports in zip(*found, strict=True) for report in _different(reports)]


def _repair_on(
    client: ReportClient, paths: Sequence[Path], checkpoints: Checkpoints, tally: Tally, *, names: bool
) -> list[list[RepairReport]]:
    """Repair what one server has of each file; with `names`, each problem says which server that is."""
    found = []
    for path in paths:
        found.append(repair_path(path, checkpoints, client))
        tally.end()
    for report in (report for reports in found for report in reports if names and report.source):
        report.problems = [f"{client.server}: {problem}" for problem in report.problems]
    return found


def _different(found: Sequence[Sequence[RepairReport]]) -> list[RepairReport]:
    """Return what became of the sources of one file on all servers, without what is the same on several."""
    reports = [report for of_server in found for report in of_server]
    busy = [report for report in reports if report.damaged or report.problems]
    quiet = {report.source: report for report in reports if report not in busy}
    seen = {report.source for report in busy if report.source}
    unknown = [report for report in busy if not report.source][:1]
    named = [report for report in busy if report.source]
    return [*named, *unknown, *(report for source, report in quiet.items() if source not in seen)]


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
