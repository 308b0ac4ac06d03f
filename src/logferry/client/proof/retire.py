"""Deletes or moves a shipped log file once all of it is proven to be stored; otherwise the file stays.

This module owns that decision. It must never delete or move a file unless all of its lines are stored. The only
exception, which the user has to request, are lines that were filtered out of a file whose other lines are stored.
"""

import logging
import os
import shutil
from pathlib import Path

from logferry.client.net.reports import ReportClient
from logferry.client.proof.verify import Verdict, verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import ShipSettings
from logferry.errors import DeliveryError

logger = logging.getLogger(__name__)


def dispose(path: Path, settings: ShipSettings, checkpoints: Checkpoints) -> list[str]:
    """Verify a shipped file; delete or move it if all of it is stored once. Return why it stays, if it does."""
    try:
        before = _state(path)
        reason = _why_it_stays(_verdict(path, settings, checkpoints), disposes_filtered=settings.dispose_filtered)
        if not reason and _state(path) != before:
            reason = "it changed while it was verified"
        if not reason:
            reason = _delete(path) if settings.move_after is None else _move(path, settings.move_after)
    except (OSError, DeliveryError) as error:
        reason = str(error)
    return [f"{path} stays: {reason}"] if reason else []


def _why_it_stays(verdict: Verdict, *, disposes_filtered: bool) -> str:
    """Return what part of a file is not stored, or "". Blank lines do not count: they are never stored."""
    if not verdict.is_proven:
        return "not all of it is proven to be stored (`logferry verify` shows the details)"
    if verdict.expired:
        return "the server's retention has deleted lines of it"
    if verdict.filtered and not verdict.stored:
        return (
            f"nothing of it is stored: all of its {verdict.filtered} lines were left out by --include or --exclude-line"
        )
    if verdict.filtered and not disposes_filtered:
        return (
            f"{verdict.filtered} of its {verdict.filtered + verdict.lines} lines were left out by --include or "
            "--exclude-line and are stored nowhere; --dispose-filtered disposes of such files too"
        )
    return ""


def _delete(path: Path) -> str:
    os.unlink(path)
    logger.info("deleted %s", path)
    return ""


def _move(path: Path, folder: Path) -> str:
    """Move the file into a folder; return "", or why it cannot be moved."""
    target = folder / path.name
    if os.path.lexists(target):
        return f"{target} already exists"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    logger.info("moved %s to %s", path, folder)
    return ""


def _state(path: Path) -> tuple[int, ...]:
    """Return values that change when the path is replaced by another file, or the content of the file changes."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _verdict(path: Path, settings: ShipSettings, checkpoints: Checkpoints) -> Verdict:
    with ReportClient.for_server_of(settings) as reports:
        return verify(path, checkpoints, reports)
