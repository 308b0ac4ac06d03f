"""The end of the time index of each log: for those who look at many logs, in one query."""

from typing import Final, NamedTuple

from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.disk.ledger.tables.packed_times import TimeEntry, unpacked

_SINCE: Final = 6

_ENDS: Final = (
    "SELECT ends.id, path, NOT EXISTS (SELECT 1 FROM segments WHERE log = ends.log AND id < ends.id AND "
    "state != 'expired'), first, data FROM segments AS ends JOIN times ON segment = ends.id AND "
    "first = (SELECT max(first) FROM times WHERE segment = ends.id) WHERE ends.id "
)
_OF_ONE: Final = f"{_ENDS} = ?"
_OF_ALL: Final = f"{_ENDS} IN (SELECT max(id) FROM segments WHERE log IS NOT NULL GROUP BY log)"


class LogEnd(NamedTuple):
    """The last row of the time index of a log's newest segment, whether it `is_only` one, and where the row begins."""

    segment: int
    path: str
    is_only: bool
    first: int
    data: bytes

    @property
    def entries(self) -> list[TimeEntry]:
        """The entries of the row (TimeRows.times_of); none if it is damaged."""
        try:
            return unpacked(self.first, self.data)
        except (TypeError, ValueError):
            return []


class LogEndRows(CheckedRows):
    """What the tables `segments` and `times` say together."""

    def log_ends(self, segment: int | None = None) -> list[LogEnd]:
        """Return the ends of all logs that have an index, or of the one whose newest segment this is."""
        if self.version < _SINCE:
            return []
        rows = self._query(_OF_ALL) if segment is None else self._query(_OF_ONE, (segment,))
        return [LogEnd(*row) for row in rows]
