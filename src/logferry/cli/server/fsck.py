"""`logferry fsck`: checks a server's data folder against its ledger, or makes the ledger anew; prints the findings."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_OK, CommandLine
from logferry.cli.output import as_json, print_result, shown, table
from logferry.cli.progress_line import showing_progress
from logferry.config import FsckSettings
from logferry.progress import Tally
from logferry.server.storage.disk.integrity.data_folder import Finding
from logferry.server.storage.disk.integrity.fsck import fsck
from logferry.server.storage.disk.recovery.rebuild import rebuild

_COMMAND_LINE: Final = CommandLine(
    "fsck",
    FsckSettings,
    "Check every segment of a server's data folder against the ledger, or make the ledger anew (--rebuild).",
    "exit codes: 0 every segment agrees with the ledger, or the ledger was made as it was; 1 the ledger is missing, or "
    "cannot be made; 2 the command line or the configuration is wrong; 3 a segment or the ledger is damaged, a segment "
    "is not in the ledger, a surplus has lines that are stored nowhere else, or the remarks of --rebuild say what "
    "could not be made as it was",
)


def run(words: Sequence[str]) -> int:
    """Check the segments; return the exit code. Raises ConfigError, and LogferryError if the ledger is missing."""
    settings = _COMMAND_LINE.start(words)
    if settings.rebuild:
        return _rebuild(settings.data_dir)
    tally = Tally()
    with showing_progress("checking", tally.look):
        findings = list(fsck(settings.data_dir, tally))
    print_result(findings_as_json(findings) if settings.json else findings_as_table(findings))
    return EXIT_INCOMPLETE if any(finding.problem for finding in findings) else EXIT_OK


def _rebuild(data_dir: Path) -> int:
    made = rebuild(data_dir)
    for remark in made.remarks:
        print_result(shown(remark))
    if made.further_remarks:
        print_result(f"... and {made.further_remarks} more remarks")
    kept = f"; the old one is kept as {made.kept_as}" if made.kept_as else ""
    print_result(
        f"made the ledger anew: {made.segments} segments, {made.lines} lines, {made.sources} sources, "
        f"{len(made.remarks) + made.further_remarks} remarks{kept}"
    )
    return EXIT_INCOMPLETE if made.remarks else EXIT_OK


def findings_as_table(findings: Sequence[Finding]) -> str:
    """Return one row per segment, and for whatever else lies in the data folder."""
    header = ("segment", "bytes", "lines", "verdict")
    rows = [(f.path, str(f.bytes), str(f.lines), f.problem or f.note or "ok") for f in findings]
    segments = [finding for finding in findings if finding.kind == "segment"]
    others = len(findings) - len(segments)
    bad, worse = (sum(bool(f.problem) for f in findings if (f.kind == "segment") is which) for which in (True, False))
    lines = sum(finding.lines for finding in segments)
    summary = f"{len(segments)} segments, {lines} lines, {bad} damaged"
    if others:
        summary += f"; {others} other findings, {worse} of them problems"
    return "\n".join([*table([header, *rows]), summary])


def findings_as_json(findings: Sequence[Finding]) -> str:
    """Return a list of objects, one per finding."""
    return as_json([dataclasses.asdict(finding) for finding in findings])
