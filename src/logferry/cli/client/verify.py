"""`logferry verify`: compares files with the lines that the server has stored, and prints a verdict on each file.

The verdict `all there, once` must not change: scripts rely on it.
"""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.cli.client.proof_command import asking, find_and_print
from logferry.cli.command_line import CommandLine
from logferry.cli.output import as_json, print_problem, shown, shown_reason, table
from logferry.cli.progress_line import showing_progress
from logferry.client.proof.former import FormerSource
from logferry.client.proof.known import ClientKnowledge
from logferry.client.proof.lines import LineProblem
from logferry.client.proof.verdict import Range, Verdict
from logferry.client.proof.verify import NEVER_SHIPPED, verify_all
from logferry.client.run import state_dirs
from logferry.client.state.checkpoints import Checkpoints
from logferry.client.state.losses_file import read_losses
from logferry.client.state.state_folder import FILE_NAME as CHECKPOINTS_FILE
from logferry.client.status.acknowledged import read as read_acknowledged
from logferry.config import VerifySettings
from logferry.errors import DeliveryError, StateError
from logferry.printable import moment
from logferry.progress import Tally
from logferry.protocol.messages.client_state import FileVerdict
from logferry.protocol.plain.acks import MAX_REASON_CHARS

# List at most this many ranges of one file; `--json` lists them all.
_MAX_RANGES: Final = 20

_COMMAND_LINE: Final = CommandLine(
    "verify",
    VerifySettings,
    "Compare files with the lines that the server has stored.",
    "exit codes: 0 every line is stored, once; 1 the server does not answer; 2 the command line or the configuration "
    "is wrong; 3 something is missing, repeated, altered or lost",
    takes_files=True,
)


def run(words: Sequence[str]) -> int:
    """Verify the files; return the exit code. Raises ConfigError."""
    return verify_and_print(_COMMAND_LINE.start(words))


def verify_and_print(settings: VerifySettings) -> int:
    """Compare the files with what the server has stored, print the verdicts, return the exit code."""
    return find_and_print(
        "verify",
        settings,
        _verify,
        as_table=verdicts_as_table,
        as_json=verdicts_as_json,
        is_fine=lambda verdict: verdict.is_proven,
    )


def _verify(settings: VerifySettings) -> list[Verdict]:
    with asking(settings) as (folder, checkpoints, reports):
        known = _client_knowledge(folder)
        tally = Tally()
        with showing_progress("verifying", tally.look):
            verdicts = verify_all(
                settings.inputs, checkpoints, reports, known=known, with_text=settings.show, tally=tally
            )
        for verdict in verdicts:
            if verdict.problem == NEVER_SHIPPED:
                verdict.problem = _where_else(folder, checkpoints)
        with contextlib.suppress(DeliveryError):  # the verdicts hold, although the server does not know them
            for verdict in verdicts:
                reports.send_verdict(_for_server(verdict))
    return verdicts


def _for_server(verdict: Verdict) -> FileVerdict:
    path, lines, stored, missing, repeated, altered, lost, _, words = _row(verdict)
    numbers = {"lines": lines, "stored": stored, "missing": missing, "repeated": repeated, "altered": altered}
    counts = {name: int(number) for name, number in (numbers | {"lost": lost}).items()}
    return FileVerdict(path=path, is_proven=verdict.is_proven, verdict=words[:MAX_REASON_CHARS], **counts)


def _client_knowledge(folder: Path) -> ClientKnowledge:
    try:
        return ClientKnowledge(read_losses(folder).losses, read_acknowledged(folder).number)
    except StateError as error:
        print_problem(str(error), command="verify")
        return ClientKnowledge(unreadable=f"losses that the client knew are not known: {error}")


def _where_else(folder: Path, checkpoints: Checkpoints) -> str:
    """Return that a state folder does not know a file, and where other state folders are."""
    others = [str(other) for other in state_dirs() if other != folder and os.path.exists(other / CHECKPOINTS_FILE)]
    knows = f"the state folder {folder}" + ("" if len(list(checkpoints)) else ", which knows no file at all")
    other = f"; another one is {' and '.join(others)} (--state-dir)" if others else ""
    return f"never shipped, as far as known to {knows}{other}"


def verdicts_as_table(verdicts: Sequence[Verdict]) -> str:
    """Return one row per file, and below them the missing, altered and lost ranges."""
    header = ("file", "lines", "stored", "missing", "repeated", "altered", "lost", "expired", "verdict")
    rows = [_row(verdict) for verdict in verdicts]
    details = [shown(line) for verdict in verdicts for line in _details(verdict)]
    return "\n".join([*table([header, *rows]), *details])


def verdicts_as_json(verdicts: Sequence[Verdict]) -> str:
    """Return a list of objects, one per file, with all ranges."""
    return as_json([{**dataclasses.asdict(verdict), "proven": verdict.is_proven} for verdict in verdicts])


def _row(verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.path,
        str(verdict.lines),
        str(verdict.stored),
        str(sum(piece.lines for piece in verdict.missing)),
        str(verdict.repeated + sum(piece.lines for piece in verdict.doubled)),
        str(sum(piece.lines for piece in verdict.altered)),
        str(len(verdict.losses) + sum(len(former.losses) + len(former.windows) for former in verdict.former)),
        str(sum(piece.lines for piece in verdict.expired)),
        _verdict(verdict),
    )


def _verdict(verdict: Verdict) -> str:
    if verdict.is_proven and verdict.doubled:
        lines = sum(piece.lines for piece in verdict.doubled)
        return f"all there, but {lines} lines on more than one server"
    if verdict.is_proven:
        exceptions = {"has expired": verdict.expired, "was skipped": verdict.skipped}
        but = " and ".join(f"what {what}" for what, ranges in exceptions.items() if ranges)
        return f"all there, once, but for {but}" if but else "all there, once"
    if verdict.is_whole and verdict.times_stored > 1:
        return f"stored {verdict.times_stored} times"
    if verdict.is_whole:
        return f"all there, but {verdict.repeated} lines more than once"
    if verdict.is_doubtful:
        return "not proven: losses are not known any more"
    return verdict.problem or "NOT all there"


def _details(verdict: Verdict) -> list[str]:
    found = [
        *(f"{_place(piece)} missing: {piece.reason}" for piece in verdict.missing),
        *(f"{_place(piece)} altered: {piece.reason}" for piece in verdict.altered),
        *(f"bytes {loss.start} to {loss.end} lost: {shown_reason(loss.reason)}" for loss in verdict.losses),
        *(f"bytes {loss.start} to {loss.end} skipped: {shown_reason(loss.reason)}" for loss in verdict.skipped),
        *(f"{_place(piece)} expired: {piece.reason}" for piece in verdict.expired),
        *(
            f"bytes {piece.start} to {piece.end} ({piece.lines} lines) stored by {' and '.join(piece.servers)}"
            for piece in verdict.doubled
        ),
        *(text for former in verdict.former for text in _former(former)),
        *(f"it may be of this file: {sentence}" for sentence in verdict.forgotten),
    ]
    wrong = [line for problem in verdict.wrong_lines[:_MAX_RANGES] for line in _wrong_line(problem)]
    holes = [f"{verdict.nuls} NUL bytes at the beginnings of lines are not shipped"] if verdict.nuls else []
    return [f"  {verdict.path}: {text}" for text in [*holes, *_first(found, "ranges"), *wrong]]


def _former(former: FormerSource) -> list[str]:
    """Return what is wrong with a source that had the name before."""
    lines = {"missing": former.missing, "altered": former.altered}
    found = [
        *(f"{count} lines {what} on the server's disk" for what, count in lines.items() if count),
        *(f"bytes {loss.start} to {loss.end} lost: {shown_reason(loss.reason)}" for loss in former.losses),
        *(
            f"what was written at byte {window.start} and later may be lost: {shown_reason(window.reason)}; last look "
            f"{moment(window.last_look / 1000)}, noticed {moment(window.noticed / 1000)}"
            for window in former.windows
        ),
        *([former.problem] if former.problem else []),
    ]
    seen = f", {moment(former.seen_at)}" if former.seen_at else ""
    which = f"source {former.source}" if former.source else "never opened"
    return [f"an earlier file of this name ({which}{seen}): {text}" for text in found]


def _first(found: Sequence[str], what: str) -> list[str]:
    more = len(found) - _MAX_RANGES
    return [*found[:_MAX_RANGES], *([f"and {more} more {what} (--json lists them all)"] if more > 0 else [])]


def _place(piece: Range) -> str:
    lines = f" ({_lines(piece.first_line, piece.last_line)})" if 0 < piece.first_line <= piece.last_line else ""
    return f"bytes {piece.start} to {piece.end}{lines}"


def _lines(first: int, last: int) -> str:
    return f"line {first}" if first == last else f"lines {first} to {last}"


_WRONG: Final = {
    "altered": "the file and the server differ",
    "missing": "only in the file, not on the server",
    "extra": "the server has another line before it",
}


def _wrong_line(problem: LineProblem) -> list[str]:
    """Return what is wrong with lines of a file, with the texts if `--show` has asked for them."""
    lines = [f"{_lines(problem.first, problem.last)}: {_WRONG[problem.kind]}"]
    if problem.expected:
        lines.append(f"  expected: {problem.expected}")
    if problem.found:
        lines.append(f"  found:    {problem.found}")
    return lines
