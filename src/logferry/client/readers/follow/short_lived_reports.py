"""Reports files that were written and gone before the client could open them: nothing of them can be delivered.

Owns which of these files were wanted: those with a name that an input asks for, unless it is the name of a copy or an
archive of a followed file, whose lines are read from that file. Must never claim that such a file had no lines.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

from logferry.client.finding.rotation_names import original_names, without_archive_suffix
from logferry.client.finding.short_lived import NewFile
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.names import FollowedNames
from logferry.client.state.known_losses import KnownLosses
from logferry.printable import printable
from logferry.telemetry.log_limits import RepeatLimit
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

_REASON: Final = "written, and gone before it could be opened"


class ShortLivedReports:
    """Logs, counts and remembers short-lived files. Used by the reading thread only."""

    def __init__(
        self,
        names: FollowedNames,
        registry: Registry,
        metrics: Metrics,
        known: KnownLosses | None,
        clock: Callable[[], float],
    ) -> None:
        self._names = names
        self._registry = registry
        self._metrics = metrics
        self._known = known
        self._log = RepeatLimit(logger, clock=clock)

    def report(self, file: NewFile, names: Iterable[str]) -> None:
        """Report a file that is gone under the first of its `names` that was wanted, if any was."""
        path = next(filter(self._is_wanted, names), None)
        if path is None:
            return
        size = f"at least {file.size} bytes" if file.size else "nobody knows how many bytes"
        self._log.log(
            *(logging.ERROR, "gone", "%s was written and gone before it could be opened; %s of it are lost"),
            *(printable(path), size),
        )
        self._metrics.add(files_missed=1, bytes_lost=file.size)
        if self._known is not None:
            self._known.add_loss(path, "", 0, file.size, _REASON)

    def _is_wanted(self, path: str) -> bool:
        if not self._names.is_followed(path):
            return False
        folder, slash, name = path.rpartition("/")
        originals = original_names(without_archive_suffix(name))
        return not any(f"{folder}{slash}{original}" in self._registry.names for original in originals)
