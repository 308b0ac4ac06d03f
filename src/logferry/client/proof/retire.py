"""Deletes or moves a shipped log file once all of it is proven to be stored; otherwise the file stays.

This module owns that decision. It must never delete or move a file unless all of its lines are stored. The only
exception, which the user has to request, are lines that were filtered out of a file whose other lines are stored.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

from logferry.client.proof.removal import NamedFile, folders_left_alone
from logferry.client.proof.several_reports import asking_all
from logferry.client.proof.verdict import Verdict
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import ShipSettings
from logferry.errors import DeliveryError, cause_of
from logferry.printable import printable

logger = logging.getLogger(__name__)


def warn_of_folders(paths: Iterable[Path]) -> None:
    """Log, before anything is shipped, from which folders root will not delete or move files."""
    for sentence in folders_left_alone(paths):
        logger.warning("%s", printable(sentence))


def dispose(path: Path, settings: ShipSettings, checkpoints: Checkpoints) -> list[str]:
    """Verify a shipped file; delete or move it if all of it is stored once. Return why it stays, if it does."""
    try:
        with NamedFile(path) as file:
            reason = file.why_not_removable() or _dispose(file, path, settings, checkpoints)
    except (OSError, DeliveryError) as error:
        reason = cause_of(error) if isinstance(error, OSError) else str(error)
    return [f"{printable(str(path))} stays: {reason}"] if reason else []


def _dispose(file: NamedFile, path: Path, settings: ShipSettings, checkpoints: Checkpoints) -> str:
    before = file.state()
    reason = _why_it_stays(_verdict(path, settings, checkpoints), disposes_filtered=settings.dispose_filtered)
    if reason:
        return reason
    target = settings.move_after
    reason = file.delete(before) if target is None else file.move(before, target)
    if not reason:
        done = "deleted %s" if target is None else "moved %s to %s"
        logger.info(done, *(printable(str(place)) for place in (path, target) if place is not None))
    return reason


def _why_it_stays(verdict: Verdict, *, disposes_filtered: bool) -> str:
    """Return what part of a file is not stored, or "". Blank lines do not count: they are never stored."""
    if not verdict.is_proven:
        return "not all of it is proven to be stored (`logferry verify` shows the details)"
    if verdict.skipped:
        return "its beginning was skipped when it was shipped (`logferry verify` shows why)"
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


def _verdict(path: Path, settings: ShipSettings, checkpoints: Checkpoints) -> Verdict:
    with asking_all(settings, checkpoints) as reports:
        return verify(path, checkpoints, reports)
