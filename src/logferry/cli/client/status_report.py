"""The findings of `logferry status`: a table for people, JSON for scripts. Makes text only; never prints.

The table fits the width of a terminal; device, inode and source of each file are in the JSON alone.
"""

import dataclasses
from collections.abc import Sequence
from textwrap import wrap
from typing import Final

from logferry.cli.output import as_json, duration_text, shown, shown_reason, size_text, table
from logferry.client.state.losses_file import KnownLoss, without_files
from logferry.client.status.connection_state import CONNECTED, WAITING, ConnectionState
from logferry.client.status.inspect import InspectedFile, Inspection
from logferry.client.status.snapshot import ClientReport
from logferry.names import text_of_name
from logferry.printable import moment

# Show up to 50 files. Beyond that, show those that need attention plus the 20 furthest behind.
_MAX_FILES: Final = 50
_FURTHEST_BEHIND: Final = 20

# A narrow terminal wraps rows that leave a name less room than this.
_MIN_NAME_COLUMNS: Final = 16

# Show the latest losses up to this number.
_MAX_LOSSES: Final = 20


def status_as_table(status: Inspection, *, shows_all: bool = False, columns: int | None = None) -> str:
    """Return the client's state, its problems, and one row per file: those that need attention first, then by lag.

    `columns` is the width of the terminal: sizes are then rounded, lines wrapped, and long names cut at their front.
    """
    special = sorted((file for file in status.files if _needs_attention(file)), key=_urgency)
    others = sorted((file for file in status.files if not _needs_attention(file)), key=_urgency)
    count = len(others) if shows_all or len(status.files) <= _MAX_FILES else _FURTHEST_BEHIND
    header = ("lag", "behind", "state", "size", "acked", "format", "file")
    rows = [_file_row(file, columns) for file in (*special, *others[:count])]
    sentences = [
        *_client_lines(status),
        *(f"problem: {shown(problem)}" for problem in status.problems),
        *_losses(status.losses),
    ]
    return "\n".join(
        [
            *(line for sentence in sentences for line in _wrapped(sentence, columns)),
            *(["", *table([header, *_fitting(rows, header, columns)])] if rows else []),
            *_rest(others[count:]),
        ]
    )


def _wrapped(sentence: str, columns: int | None) -> list[str]:
    if columns is None or len(sentence) <= columns:
        return [sentence]
    return wrap(sentence, columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _fitting(rows: list[tuple[str, ...]], header: tuple[str, ...], columns: int | None) -> list[tuple[str, ...]]:
    """Return the rows with the names of files, in the last column, cut at their front so that they fit."""
    if columns is None:
        return rows
    widths = [max(len(row[number]) for row in [header, *rows]) for number in range(len(header) - 1)]
    room = max(columns - sum(widths) - 2 * len(widths), _MIN_NAME_COLUMNS)
    return [(*row[:-1], row[-1] if len(row[-1]) <= room else f"...{row[-1][3 - room :]}") for row in rows]


def status_as_json(status: Inspection) -> str:
    """Return an object: `client`, `problems`, and `files`, a list of objects. Times are Unix times, sizes bytes."""
    names = {"directory": text_of_name(status.client.directory), "state_dir": text_of_name(status.folder)}
    now = {"running": status.is_running, "pid": status.pid, "age_seconds": round(status.age_seconds, 3)}
    client: dict[str, object] = {**dataclasses.asdict(status.client), **names, **now}
    return as_json(
        {
            "client": client,
            "problems": status.problems,
            "losses": [dataclasses.asdict(loss) for loss in status.losses if not loss.is_window],
            "windows": [dataclasses.asdict(loss) for loss in status.losses if loss.is_window],
            "files": [_file_object(file) for file in status.files],
        }
    )


def _losses(losses: Sequence[KnownLoss]) -> list[str]:
    """Return a line for each of the latest losses and unknown windows."""
    latest = list(losses)[-_MAX_LOSSES:][::-1]
    rest = len(losses) - len(latest)
    return [*map(_loss, latest), *([f"and {rest} earlier losses (--json lists them all)"] if rest else [])]


def _loss(loss: KnownLoss) -> str:
    repeats = f" ({loss.count} times, {loss.size} bytes in all)" if loss.count > 1 else ""
    path, reason = shown(loss.path), shown_reason(loss.reason)
    if not loss.path:
        return f"lost: {shown(without_files(loss))}; {moment(loss.noticed_at)}"
    if loss.is_window:
        repeats = f" ({loss.count} times)" if loss.count > 1 else ""
        return (
            f"may be lost: {path}: what was written at byte {loss.start} and later: {reason}; "
            f"last look {moment(loss.last_look)}, noticed {moment(loss.noticed_at)}{repeats}"
        )
    return f"lost: {path}: bytes {loss.start} to {loss.end}: {reason}; {moment(loss.noticed_at)}{repeats}"


def _client_lines(status: Inspection) -> list[str]:
    client, counters = status.client, status.client.counters
    extras = [
        *([f"held {client.held_files} files ({client.held_bytes} bytes not acked)"] if client.held_files else []),
        *([f"filtered {counters.lines_filtered} lines"] if counters.lines_filtered else []),
        *([f"redacted {counters.redactions}"] if counters.redactions else []),
    ]
    numbers = (
        f"{counters.lines_acked} lines acked, {client.lines_per_second:g} lines/s, queue {client.queue_lines} lines",
        *extras,
        f"lost {counters.bytes_lost + counters.bytes_given_up} bytes",
    )
    return [
        _head(status),
        f"mode {shown(client.mode)}, state folder {shown(status.folder)}",
        f"server {shown(client.server)}: {_link(client.link, is_running=status.is_running)}",
        *_servers(client),
        ", ".join(numbers),
        f"as of {duration_text(status.age_seconds)} ago, when something last changed",
    ]


def _head(status: Inspection) -> str:
    """Return whether the client is running, and since when or until when."""
    client = status.client
    if status.is_running:
        return f"logferry (process {status.pid}) has been running since {moment(client.started_at)}"
    if client.mode == "batch" and client.ended_at:
        how = "ended" if client.outcome else "finished"
        return f"the batch run of process {status.pid} {how} {moment(client.ended_at)}"
    end = f"ended {moment(client.ended_at)}" if client.ended_at else f"last reported {moment(client.written_at)}"
    return f"logferry is not running: process {status.pid} {end}"


def _servers(client: ClientReport) -> list[str]:
    """Return which of several servers is in use, since when, and why not the preferred one."""
    if not client.servers:
        return []
    why = f"; not the preferred one: {shown(client.link.why_not_first)}" if client.link.why_not_first else ""
    return [f"servers {shown(client.servers)}: {shown(client.server)} since {moment(client.link.server_since)}{why}"]


def _link(link: ConnectionState, *, is_running: bool) -> str:
    words = {CONNECTED: f"connected since {moment(link.since)}, {shown(link.delivery)}"}
    words[WAITING] = f"waiting since {moment(link.since)}"
    state = words.get(link.state, "not connected") if is_running else "not connected"
    return f"{state} (last failure {moment(link.error_at)}: {shown(link.error)})" if link.error else state


def _needs_attention(file: InspectedFile) -> bool:
    return file.is_unreadable or file.is_held or bool(file.reason)


def _urgency(file: InspectedFile) -> tuple[bool, int, str]:
    return not file.is_unreadable, -file.lag_bytes, file.report.path


def _file_row(file: InspectedFile, columns: int | None) -> tuple[str, ...]:
    report = file.report
    number = str if columns is None else size_text
    name = text_of_name(report.path) + (f" (now {text_of_name(file.other_name)})" if file.other_name else "")
    has_name_only = not report.inode and file.is_unreadable
    return (
        number(file.lag_bytes) if not has_name_only else "-",
        duration_text(file.lag_seconds) if file.lag_bytes else "-",
        report.state,
        *(("-", "-") if has_name_only else (number(file.size), number(report.committed))),
        report.format or "-",
        shown(f"{name}: {file.reason}" if file.reason else name),
    )


def _file_object(file: InspectedFile) -> dict[str, object]:
    values = dataclasses.asdict(file.report)
    values |= {"path": text_of_name(file.report.path), "name": text_of_name(file.report.name)}
    values |= {"size": file.size, "lag_bytes": file.lag_bytes, "lag_seconds": round(file.lag_seconds, 3)}
    return values | {"held": file.is_held, "since_then": file.since_then}


def _rest(files: Sequence[InspectedFile]) -> list[str]:
    if not files:
        return []
    behind = [file.lag_bytes for file in files if file.lag_bytes]
    are_behind = f", {len(behind)} of them behind by {sum(behind)} bytes in total" if behind else ""
    return [f"and {len(files)} more files without problems{are_behind} (--all shows them)"]
