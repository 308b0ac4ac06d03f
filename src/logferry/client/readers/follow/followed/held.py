"""Counts, bounds (--max-held-bytes) and reports the unacked bytes of renamed and deleted files.

Owns which bytes are dropped when there are too many: those of the files that lost their names first. Must never drop
bytes of a file that has its name.
"""

import logging
from collections.abc import Callable
from typing import Final

from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.model.loss import Loss, LossKind
from logferry.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

# Every rotation leaves unacked bytes in a rotated file for a moment; bytes held for this long are worth a warning.
_HELD_WARNING_S: Final = 10.0


class HeldFiles:
    """The files that lost their names and are not acked to their end. Used by the reading thread only."""

    def __init__(self, registry: Registry, metrics: Metrics, clock: Callable[[], float], *, max_bytes: int = 0) -> None:
        """Hold at most `max_bytes`; 0 means no bound."""
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._max_bytes = max_bytes
        self._names: dict[FollowedName, None] = {}  # those with held files
        self._held_since = clock()
        self._has_warned = False

    def __bool__(self) -> bool:
        """Whether any file is held."""
        return bool(self._names)

    def note(self, name: FollowedName) -> None:
        """Note whether a name that was just checked has held files."""
        if name.held:
            self._names[name] = None

    def update(self) -> None:
        """Count what is held; drop the oldest of it if it exceeds the bound."""
        held: list[FollowedFile] = []
        for name in list(self._names):
            files = name.held
            held += files
            if not files:
                del self._names[name]
        total = sum(file.unacked for file in held)
        if self._max_bytes and total > self._max_bytes:
            total -= self._drop(held, total - self._max_bytes)
        self._metrics.set_held(len(held), total)
        self._warn(len(held), total)

    def _drop(self, held: list[FollowedFile], excess: int) -> int:
        dropped = 0
        for file in sorted(held, key=lambda file: (not file.is_superseded, file.superseded_at)):
            if dropped >= excess:
                break
            dropped += file.unacked
            self._drop_file(file)
        return dropped

    def _drop_file(self, file: FollowedFile) -> None:
        if file.seen_size > file.offset:
            reason = f"given up: more than {self._max_bytes} bytes were held (--max-held-bytes)"
            self._registry.losses.append(Loss(file.source, file.offset, file.seen_size, reason, kind=LossKind.DROPPED))
        self._registry.forget(file)

    def _warn(self, files: int, size: int) -> None:
        now = self._clock()
        if not size:
            if self._has_warned:
                logger.info("no longer holding any renamed or deleted file")
            self._held_since, self._has_warned = now, False
        elif not self._has_warned and now - self._held_since >= _HELD_WARNING_S:
            self._has_warned = True
            logger.warning("holding %d renamed or deleted files open: %d of their bytes are not acked", files, size)
