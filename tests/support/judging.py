"""Judging lines to the end, as a server does in steps."""

from logferry.protocol.lines.validation import Accept, LineJudge, Lines, Verdict
from logferry.protocol.steps import Allowance

MAX_LINE_BYTES = 8 * 1024 * 1024


def validate(lines: bytes, *, accept: Accept, max_line_bytes: int = MAX_LINE_BYTES) -> list[Verdict]:
    """Return the verdicts on complete lines, in their order, runs of lines joined: where a step ends says nothing."""
    judge = LineJudge(lines, accept=accept, max_line_bytes=max_line_bytes)
    verdicts: list[Verdict] = []
    while not judge.is_done:
        for verdict in map(judge.as_lines, judge.step(Allowance())):
            last = verdicts[-1] if verdicts else None
            if isinstance(verdict, Lines) and isinstance(last, Lines):
                verdicts[-1] = Lines(last.payload + verdict.payload, last.count + verdict.count)
            else:
                verdicts.append(verdict)
    return verdicts
