"""What those who look at stored lines ask the ledger: which logs and segments there are, and what is lacking of them.

Only reads, in short transactions. Reads ledgers of every version: what an earlier one does not have is left out.
"""

from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from logferry.server.storage.disk.ledger.tables.checked import CheckedRows
from logferry.server.storage.records import SegmentRow

_LOGS_SINCE: Final = 6
_LOSSES_SINCE: Final = 4
_DAMAGE_SINCE: Final = 3

# The folder of a path, with its slash.
_FOLDER: Final = "rtrim(path, replace(path, '/', ''))"


class SourcePlace(NamedTuple):
    """A source that has lines in a segment, which says in which folder all of its lines are."""

    source: str
    host: str
    path: str
    segment: str


class Total(NamedTuple):
    """What is stored of a log (None: from before logs were recorded) or, then, in a folder.

    `first_path` is that of the segment with the earliest day.
    """

    log: int | None
    folder: str
    segments: int
    bytes: int
    lines: int
    first_path: str


class LossNote(NamedTuple):
    """A loss of `bytes`, with the time of its notice twice, or an unknown window, with its two times, in ms."""

    host: str
    path: str
    is_lost: bool
    first: int
    last: int
    bytes: int
    reason: str


class OverviewRows(CheckedRows):
    """What the tables say together."""

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let all queries inside a `with` see the same state."""
        self._query("BEGIN")
        try:
            yield
        finally:
            with suppress(OSError):
                self._query("ROLLBACK")

    def newest_segments(self) -> list[SegmentRow]:
        """Return the newest segment of each log, and of each folder from before logs were recorded."""
        rows = []
        if self.version >= _LOGS_SINCE:
            rows += self._segments_where(
                "id IN (SELECT max(id) FROM segments WHERE log IS NOT NULL GROUP BY log) AND state != 'expired'"
            )
        newest = f"SELECT max(id) FROM segments WHERE state != 'expired' {self._without_log} GROUP BY {_FOLDER}"
        return rows + self._segments_where(f"id IN ({newest})")

    def growing_segments(self, after: int, *, besides: Container[int] = ()) -> list[SegmentRow]:
        """Return the open segments, and all with a higher number than `after`, oldest first, but those `besides`."""
        return self._segments_where("state = 'open' OR id > ?", after, besides=besides)

    def last_segment_number(self) -> int:
        """Return the highest number of a segment; 0 if there is none."""
        ((number,),) = self._query("SELECT coalesce(max(id), 0) FROM segments")
        return int(number)

    def segments_of_log(self, log: int) -> list[SegmentRow]:
        """Return the segments of a log that are not deleted, oldest first."""
        return self._segments_where("log = ? AND state != 'expired'", log)

    def segments_of_folder(self, folder: str) -> list[SegmentRow]:
        """Return the segments of a folder from before logs were recorded that are not deleted, oldest first."""
        where = f"path > ? AND path < ? AND state != 'expired' {self._without_log}"
        rows = self._segments_where(where, f"{folder}/", f"{folder}0")
        return [row for row in rows if row.path.rpartition("/")[0] == folder]

    def segment_at(self, path: str) -> SegmentRow | None:
        """Return the segment with a path; None if there is none, or if it is deleted."""
        rows = self._segments_where("path = ? AND state != 'expired'", path)
        return rows[0] if rows else None

    def places_of_sources(self) -> list[SourcePlace]:
        """Return the sources with lines in segments from before logs were recorded, and where the last of them are."""
        rows = self._query(
            "SELECT sources.id, host, sources.path, segments.path FROM sources JOIN segments ON segments.id = "
            "(SELECT segment FROM extents WHERE source = sources.id ORDER BY start LIMIT 1) "
            f"WHERE 1 {self._without_log}"
        )
        return [SourcePlace(*row) for row in rows]

    def ranges_of(self, source: str) -> list[tuple[int, int, int]]:
        """Return the extents of a source as segment, position and bytes, by segment and position."""
        query = "SELECT segment, position, bytes FROM extents WHERE source = ? ORDER BY segment, position"
        return [(int(segment), int(position), int(size)) for segment, position, size in self._query(query, (source,))]

    def totals(self) -> list[Total]:
        """Return how much is stored of each log and in each folder."""
        log = "log" if self.version >= _LOGS_SINCE else "NULL"
        rows = self._query(
            f"SELECT {log}, CASE WHEN {log} IS NULL THEN {_FOLDER} ELSE '' END AS folder, count(*), sum(bytes), "
            f"sum(lines), min(path) FROM segments WHERE state != 'expired' GROUP BY {log}, folder"
        )
        return [
            Total(log, str(folder).rstrip("/"), int(count), int(size), int(lines), str(path))
            for log, folder, count, size, lines, path in rows
        ]

    @property
    def has_logs(self) -> bool:
        """Whether the ledger records which log a segment is of."""
        return self.version >= _LOGS_SINCE

    def damage_by_segment(self) -> dict[int, tuple[int, int, int]]:
        """Return how many extents of each segment are damaged, their bytes, and their lines."""
        if self.version < _DAMAGE_SINCE:
            return {}
        rows = self._query(
            "SELECT damage.segment, count(*), coalesce(sum(bytes), 0), coalesce(sum(lines), 0) FROM damage "
            "LEFT JOIN extents USING (source, start) GROUP BY damage.segment"
        )
        return {segment: (count, size, lines) for segment, count, size, lines in rows}

    def first_opened_at(self) -> float | None:
        """Return when the first source was opened, in Unix time; None if there is none."""
        ((first,),) = self._query("SELECT min(opened_at) FROM sources")
        return float(first) if isinstance(first, int | float) else None

    def losses_since(self, time: float, *, limit: int) -> list[LossNote]:
        """Return what is lost, and noted since a time, and the unknown windows that end after it, oldest first."""
        if self.version < _LOSSES_SINCE:
            return []
        losses = self._query(
            "SELECT host, path, 1, noted_at * 1000, noted_at * 1000, end - start, reason FROM losses "
            "JOIN sources ON sources.id = source WHERE is_lost AND noted_at >= ? ORDER BY noted_at LIMIT ?",
            (time, limit),
        )
        windows = self._query(
            "SELECT host, path, 0, last_look, noticed, 0, reason FROM windows JOIN sources ON sources.id = source "
            "WHERE noticed >= ? ORDER BY last_look LIMIT ?",
            (time * 1000, limit),
        )
        return sorted(map(_loss_note, [*losses, *windows]), key=lambda note: note.first)[:limit]

    @property
    def _without_log(self) -> str:
        return "AND log IS NULL" if self.version >= _LOGS_SINCE else ""

    def _segments_where(self, where: str, *values: object, besides: Container[int] = ()) -> list[SegmentRow]:
        query = f"SELECT {self._segment_columns} FROM segments WHERE {where} ORDER BY id"
        return [self._segment(row) for row in self._query(query, values) if row[0] not in besides]


def _loss_note(row: Sequence[object]) -> LossNote:
    host, path, is_lost, first, last, size, reason = row
    begun, ended, lost = (int(value) if isinstance(value, int | float) else 0 for value in (first, last, size))
    return LossNote(str(host), str(path), bool(is_lost), begun, ended, lost, str(reason))
