"""What happens to a log file after it was shipped: it stays, or is deleted or moved once it is proven to be stored."""

import logging
import os
import shutil
from pathlib import Path

from logferry.client.net.reports import ReportClient
from logferry.client.proof.verify import verify
from logferry.client.state.checkpoints import Checkpoints
from logferry.config import ShipSettings
from logferry.errors import DeliveryError

logger = logging.getLogger(__name__)


def dispose(path: Path, settings: ShipSettings, checkpoints: Checkpoints) -> list[str]:
    """Verify a shipped file; delete or move it if all of it is stored, once. Return why it had to stay, if it had."""
    try:
        before = _state(path)
        if not _is_stored(path, settings, checkpoints):
            return [f"{path} stays: not all of it is proven to be stored (logferry verify says more)"]
        if _state(path) != before:
            return [f"{path} stays: it has changed meanwhile"]
        if settings.move_after is not None:
            target = settings.move_after / path.name
            if os.path.lexists(target):
                return [f"{path} stays: {target} exists already"]
            settings.move_after.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
            logger.info("moved %s to %s", path, settings.move_after)
        else:
            os.unlink(path)
            logger.info("deleted %s", path)
    except (OSError, DeliveryError) as error:
        return [f"{path} stays: {error}"]
    return []


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes when the name gets another file, or the file other content."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_stored(path: Path, settings: ShipSettings, checkpoints: Checkpoints) -> bool:
    reports = ReportClient(
        settings.server_host,
        settings.server_port,
        client_host=settings.host,
        connect_timeout_s=settings.connect_timeout,
        answer_timeout_s=settings.ack_timeout,
    )
    try:
        return verify(path, checkpoints, reports).is_proven
    finally:
        reports.close()
