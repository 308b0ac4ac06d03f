"""Which bytes of files the ledger does not account for: neither stored nor lost, or stored more than once.

Only reads, all extents at a time: their order is that of the table.
"""

from collections import defaultdict
from typing import Final, NamedTuple

from logferry.server.storage.disk.ledger.queries.history import HistoryRows

_MOST_PLACES: Final = 100_000
_MOST_LOSSES: Final = 10_000


class Unaccounted(NamedTuple):
    """Bytes of a file between stored ones that are neither stored nor recorded as lost, and such stored twice."""

    missing: int
    repeated: int


class AccountRows(HistoryRows):
    """What becomes of the bytes of files."""

    def unaccounted(self) -> dict[tuple[str, str], Unaccounted]:
        """Return the files that are not accounted for, by host and path. Raises OSError."""
        rows = self._query(
            "SELECT source, host, path, reached, start, end FROM (SELECT source, start, end, max(end) OVER "
            "(PARTITION BY source ORDER BY start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached "
            "FROM extents) JOIN sources ON sources.id = source WHERE reached != start LIMIT ?",
            (_MOST_PLACES,),
        )
        missing: dict[tuple[str, str], int] = defaultdict(int)
        repeated: dict[tuple[str, str], int] = defaultdict(int)
        for source, host, path, reached, start, end in rows:
            if reached < start:
                missing[host, path] += self._without_losses(source, reached, start)
            else:
                repeated[host, path] += min(reached, end) - start
        found = {key: Unaccounted(missing[key], repeated[key]) for key in {*missing, *repeated}}
        return {key: each for key, each in found.items() if any(each)}

    def _without_losses(self, source: str, start: int, end: int) -> int:
        """Return how many bytes of a range are not recorded as lost or skipped."""
        left, at = 0, start
        for loss in self.losses_noted(source, limit=_MOST_LOSSES):
            if at < loss.start < end:
                left += loss.start - at
            if loss.start < end:
                at = max(at, loss.end)
        return left + max(end - at, 0)
