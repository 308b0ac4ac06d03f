"""What `verify` and `fsck` found, as a table for people or JSON for scripts. Text only; cli.py prints it."""

import dataclasses
import json
from collections.abc import Sequence

from logferry.client.verifier import Verdict
from logferry.server.audit import Finding

# So many ranges of one file are told one by one; more than that only as a number.
_MOST_RANGES = 20


def verdicts_as_table(verdicts: Sequence[Verdict]) -> str:
    """Return one row a file, and under them what is wrong in detail."""
    header = ("file", "lines", "stored", "missing", "repeated", "altered", "lost", "verdict")
    rows = [_row(verdict) for verdict in verdicts]
    details = [line for verdict in verdicts for line in _details(verdict)]
    return "\n".join([*_table([header, *rows]), *details])


def verdicts_as_json(verdicts: Sequence[Verdict]) -> str:
    """Return a list of objects, one a file, with all ranges."""
    return json.dumps([{**dataclasses.asdict(verdict), "proven": verdict.is_proven} for verdict in verdicts], indent=2)


def findings_as_table(findings: Sequence[Finding]) -> str:
    """Return one row a segment."""
    header = ("segment", "bytes", "lines", "verdict")
    rows = [(f.path, str(f.bytes), str(f.lines), f.problem or "ok") for f in findings]
    bad = sum(bool(finding.problem) for finding in findings)
    lines = sum(finding.lines for finding in findings)
    return "\n".join([*_table([header, *rows]), f"{len(findings)} segments, {lines} lines, {bad} damaged"])


def findings_as_json(findings: Sequence[Finding]) -> str:
    """Return a list of objects, one a segment."""
    return json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2)


def _row(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.path,
        str(verdict.lines),
        str(verdict.stored),
        str(sum(piece.lines for piece in verdict.missing)),
        str(verdict.repeated),
        str(sum(piece.lines for piece in verdict.altered)),
        str(len(verdict.losses)),
        "all there, once" if verdict.is_proven else verdict.problem or "NOT all there",
    )


def _details(verdict: Verdict) -> list[str]:
    found = [
        *(("missing", piece.start, piece.end, piece.reason) for piece in verdict.missing),
        *(("altered", piece.start, piece.end, piece.reason) for piece in verdict.altered),
        *(("lost", loss.start, loss.end, loss.reason) for loss in verdict.losses),
    ]
    lines = [
        f"  {verdict.path}: bytes {start} to {end} {what}: {why}" for what, start, end, why in found[:_MOST_RANGES]
    ]
    if len(found) > _MOST_RANGES:
        lines.append(f"  {verdict.path}: and {len(found) - _MOST_RANGES} ranges more (--json lists them all)")
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
