"""`logferry fsck`: checks every segment of a server's data folder against the ledger, and prints the findings."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Final

from logferry.cli.command_line import EXIT_INCOMPLETE, EXIT_OK, CommandLine
from logferry.cli.output import print_result, table
from logferry.config import FsckSettings
from logferry.server.storage.disk.fsck import Finding, fsck

_COMMAND_LINE: Final = CommandLine(
    "fsck",
    FsckSettings,
    "Check every segment of a server's data folder against the ledger.",
    "exit codes: 0 every segment agrees with the ledger; 1 the ledger is missing; 2 the command line or the "
    "configuration is wrong; 3 a segment is damaged",
)


def run(words: Sequence[str]) -> int:
    """Check the segments; return the exit code. Raises ConfigError, and LogferryError if the ledger is missing."""
    settings = _COMMAND_LINE.start(words)
    findings = list(fsck(settings.data_dir))
    print_result(findings_as_json(findings) if settings.json else findings_as_table(findings))
    return EXIT_INCOMPLETE if any(finding.problem for finding in findings) else EXIT_OK


def findings_as_table(findings: Sequence[Finding]) -> str:
    """Return one row per segment."""
    header = ("segment", "bytes", "lines", "verdict")
    rows = [(f.path, str(f.bytes), str(f.lines), f.problem or "ok") for f in findings]
    bad = sum(bool(finding.problem) for finding in findings)
    lines = sum(finding.lines for finding in findings)
    return "\n".join([*table([header, *rows]), f"{len(findings)} segments, {lines} lines, {bad} damaged"])


def findings_as_json(findings: Sequence[Finding]) -> str:
    """Return a list of objects, one per segment."""
    return json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2)
