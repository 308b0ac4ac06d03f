"""The state of a client now: its last report (snapshot.py), compared with its lock and with the disk.

A quiet client writes no reports, and a client that hangs or has died cannot. So this module computes ages and reads the
sizes of files from the disk: the lag that it returns is right whatever has happened to the client. It only reads.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from logferry.client.files.identity import identity_of
from logferry.client.state.losses_file import KnownLoss, LossesFile, read_losses, without_files
from logferry.client.status.acknowledged import Acknowledged
from logferry.client.status.acknowledged import read as read_acknowledged
from logferry.client.status.connection_state import WAITING
from logferry.client.status.snapshot import ClientReport, Status, read
from logferry.errors import StateError, cause_of
from logferry.folder_lock import lock_holder
from logferry.model.file_report import FileReport
from logferry.permissions import advice
from logferry.telemetry.report_line import shortcomings

HELD: Final = "held"
UNREADABLE: Final = "unreadable"


@dataclass(frozen=True, slots=True)
class InspectedFile:
    """One file: what the client reported about it, and what has happened to it since.

    `other_name` is the file's current name, if that is not the one that the client follows.

    `lag_seconds` is how long the file has had unacked data. If that began after the client's last report about the
    file, it counts from the last write to the file while the client runs, otherwise from the last report.
    """

    report: FileReport
    size: int
    lag_bytes: int
    lag_seconds: float
    other_name: str = ""
    since_then: str = ""

    @property
    def is_held(self) -> bool:
        """Whether the file was rotated or deleted, and is kept open until the rest of it is acked."""
        return self.report.state == HELD

    @property
    def is_unreadable(self) -> bool:
        """Whether the client cannot read the file."""
        return self.report.state == UNREADABLE

    @property
    def reason(self) -> str:
        """Why the file is not read, what failed last, and what has happened since; "" if there is nothing to report."""
        return "; ".join(filter(None, (self.report.problem, self.since_then)))


@dataclass(frozen=True, slots=True)
class Inspection:
    """A client as it is now. `pid` belongs to the running client, or else to the last one; times are in seconds.

    `problems` has one sentence for each problem.
    """

    folder: str
    is_running: bool
    pid: int
    age_seconds: float
    client: ClientReport
    files: tuple[InspectedFile, ...]
    problems: tuple[str, ...]
    losses: tuple[KnownLoss, ...] = ()  # of this run and earlier ones, those that are not acknowledged
    latest_loss: int = 0  # the number of the latest loss or window, acknowledged or not


def inspect(folder: Path, *, now: float) -> Inspection:
    """Inspect the client of a state folder; `now` is Unix time.

    Raises StateError if the folder has no status of a client.
    """
    holder = _holder(folder)
    status = read(folder)
    if status is None:
        raise StateError(
            f"process {holder} is using the state folder {folder}, but has not reported a status yet"
            if holder
            else f"found no status in {folder}: no client has run with this state folder (--state-dir names another)"
        )
    client, acknowledged = status.client, read_acknowledged(folder)
    known, unreadable = _known_losses(folder)
    losses = tuple(loss for loss in known.losses if loss.number > acknowledged.number and not loss.is_over)
    files = tuple(_inspected(report, client, is_running=holder is not None, now=now) for report in status.files)
    return Inspection(
        str(folder),
        holder is not None,
        int(holder) if holder and holder.isdecimal() else client.pid,
        max(0.0, now - client.written_at),
        client,
        files,
        (*_problems(status, holder, now, acknowledged), *_problems_of_losses(losses, client), *unreadable),
        losses,
        max(known.numbered, acknowledged.number),
    )


def _holder(folder: Path) -> str | None:
    try:
        return lock_holder(folder)
    except OSError as error:
        raise StateError(f"cannot read the state folder {folder}: {cause_of(error)}{advice(folder, error)}") from None


def _known_losses(folder: Path) -> tuple[LossesFile, list[str]]:
    """Return the known losses of a state folder, and why they cannot be read, in a list."""
    try:
        return read_losses(folder), []
    except StateError as error:
        return LossesFile(), [f"{error}; losses of earlier runs are not known"]


def _problems_of_losses(losses: Sequence[KnownLoss], client: ClientReport) -> Iterator[str]:
    """Yield a sentence for unknown windows, and one for the losses of earlier runs, which this run does not count.

    Losses of files that are not known any more have a sentence each, whichever run they are from.
    """
    hint = "`logferry status --acknowledge` after reading"
    if windows := [loss for loss in losses if loss.is_window]:
        yield f"files that may have lost bytes that nobody saw: {len(windows)} (unknown windows; {hint})"
    earlier = [loss for loss in losses if loss.path and not loss.is_window and loss.noticed_at < client.started_at]
    if earlier:
        yield f"{sum(loss.size for loss in earlier)} bytes were lost in earlier runs ({hint})"
    yield from (f"{without_files(loss)} ({hint})" for loss in losses if not loss.path)


def _problems(status: Status, holder: str | None, now: float, acknowledged: Acknowledged) -> Iterator[str]:
    client = status.client
    if holder is None:
        yield from _why_not_running(client)
    elif client.ended_at or holder not in (str(client.pid), "unknown"):
        yield f"process {holder} has not reported a status yet; this is the status of an earlier run ({client.pid})"
    elif client.link.state == WAITING:
        yield f"waiting for the server for {now - client.link.since:.0f} s: {client.link.error}"
    elif client.link.stall:
        for_s = max(0.0, now - client.link.stalled_since)  # the server's clock may be ahead
        yield f"connected, but nothing is stored for {for_s:.0f} s: {client.link.stall}"
    unreadable = sum(report.state == UNREADABLE for report in status.files)
    if unreadable:
        yield f"{unreadable} of {len(status.files)} files cannot be read"
    counters = replace(acknowledged.rest_of(client), unknown_windows=0)  # windows are listed one by one
    yield from (sentence for sentence in shortcomings(counters) if sentence not in client.outcome)


def _why_not_running(client: ClientReport) -> Iterator[str]:
    if not client.ended_at:
        yield "not running: it was killed, or its machine went down"
    elif client.outcome:
        yield f"not running: {client.outcome}"
    elif client.mode != "batch":
        yield "not running: it was stopped"


def _inspected(report: FileReport, client: ClientReport, *, is_running: bool, now: float) -> InspectedFile:
    """Compare a report with the disk, unless the file has no name, or the client will ship no more of it."""
    size, since_then, written_at = report.size, "", client.written_at
    if client.mode != "batch" and report.name and report.inode:
        try:
            status = os.stat(_full(report.name, client))
        except FileNotFoundError:
            since_then = "deleted or renamed since"
        except OSError as error:
            since_then = f"cannot check it now: {cause_of(error)}"
        else:
            if identity_of(status) != (report.device, report.inode):
                since_then = "replaced: this path is now a different file"
            else:
                size = status.st_size
                written_at = status.st_mtime if is_running else client.written_at
    if size < report.committed and not since_then:
        since_then = "truncated since"
    lag = size - report.committed if size >= report.committed else size
    behind_since = report.behind_since or written_at
    other_name = report.name if report.name and _full(report.name, client) != _full(report.path, client) else ""
    return InspectedFile(report, size, lag, max(0.0, now - behind_since) if lag else 0.0, other_name, since_then)


def _full(name: str, client: ClientReport) -> str:
    return os.path.normpath(os.path.join(client.directory, name))
