"""What the ledger knows of the completeness of every file: what scrub has compared, and when; damage, losses, windows.

Owns what counts as checked: a segment that scrub has compared since it was written last. Reads the ledger in one short
transaction, and no segment.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from logferry.console.source import FileProof, Gap, Proof
from logferry.reading.disk.ledger import LedgerDoor
from logferry.reading.disk.listing import Listing, listing_of
from logferry.reading.query.records import utc
from logferry.server.clients.reporting.states_file import read_verdicts
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME, on_disk
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.ledger.queries.overview import LossNote
from logferry.server.storage.records import SegmentRow

_ROWS: Final = 5000
_MOST_NOTES: Final = 100_000
_GAPS_OF_FILE: Final = 20
_VERDICT: Final = ("is_proven", "verdict", "lines", "stored", "missing", "altered", "repeated", "lost")


@dataclass(slots=True)
class _Sums:
    lines: int = 0
    bytes: int = 0
    checked_bytes: int = 0
    checked_at: list[int] = field(default_factory=list)  # at most the oldest and the newest
    damaged: int = 0
    damaged_bytes: int = 0
    altered_lines: int = 0
    expired_bytes: int = 0

    def note_check(self, at: int) -> None:
        """Keep the oldest and the newest check."""
        self.checked_at = [min([at, *self.checked_at]), max([at, *self.checked_at])]


def proof_of(data_dir: Path) -> Proof:
    """Return the proof of all files. Raises OSError and StoreError."""
    door = LedgerDoor(data_dir)
    with door.opened() as ledger:
        listing = listing_of(ledger)
        with ledger.reading():
            notes = ledger.losses_since(0, limit=_MOST_NOTES)
            sums = _sums(ledger, listing, data_dir)
            unaccounted = ledger.unaccounted()
    by_file: dict[tuple[str, str], list[LossNote]] = defaultdict(list)
    for note in notes:
        by_file[note.host, note.path].append(note)
    verdicts = read_verdicts(data_dir)
    files = [
        replace(
            _file(key, sums.get(key, _Sums()), by_file[key]),
            missing_bytes=unaccounted[key].missing if key in unaccounted else 0,
            repeated_bytes=unaccounted[key].repeated if key in unaccounted else 0,
            verdict=_shown(verdicts.get(key, {})),
        )
        for key in sorted({*sums, *by_file, *unaccounted})
    ]
    checks = [at for each in sums.values() for at in each.checked_at]
    return Proof(
        files,
        sum(file.bytes for file in files),
        sum(file.checked_bytes for file in files),
        min(checks, default=None),
        max(checks, default=None),
        sum(file.damaged for file in files),
        sum(file.lost for file in files),
        sum(file.unknown for file in files),
        sum(file.missing_bytes for file in files),
        sum(file.repeated_bytes for file in files),
    )


def _shown(verdict: Mapping[str, Any]) -> Mapping[str, object]:
    """Return what a client has found, with the time in UTC, and without whose client it is."""
    if not verdict:
        return {}
    return {**{name: verdict[name] for name in _VERDICT}, "at": utc(round(verdict["at"] * 1000))}


def _sums(ledger: Ledger, listing: Listing, data_dir: Path) -> dict[tuple[str, str], _Sums]:
    damage = ledger.damage_by_segment()
    found: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
    after = 0
    while page := ledger.checked_segments(after=after, limit=_ROWS):
        for row, checked_at in page:
            of_file = found[_file_of(row, listing)]
            _add(of_file, row, round(checked_at * 1000), data_dir)
            extents, size, lines = damage.get(row.id, (0, 0, 0))
            of_file.damaged += extents
            of_file.damaged_bytes += size
            of_file.altered_lines += lines
        after = page[-1][0].id
    return found


def _add(sums: _Sums, row: SegmentRow, checked_at: int, data_dir: Path) -> None:
    if row.state == "expired":
        sums.expired_bytes += row.bytes
        return
    sums.lines += row.lines
    sums.bytes += row.bytes
    if checked_at and (row.state == "closed" or _changed_at(data_dir / FOLDER_NAME / on_disk(row.path)) < checked_at):
        sums.checked_bytes += row.bytes
        sums.note_check(checked_at)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime * 1000
    except OSError:
        return float("inf")


def _file_of(row: SegmentRow, listing: Listing) -> tuple[str, str]:
    """Return the host and the path of a segment; of one with lines of several paths, the host and the folder's name."""
    found = listing.logs_with(row)
    if len(found) == 1:
        return found[0].log.host, found[0].log.path
    host, name = row.path.split("/")[-3:-1]
    return host, name


def _file(key: tuple[str, str], sums: _Sums, notes: list[LossNote]) -> FileProof:
    lost = [note for note in notes if note.is_lost]
    gaps = [_gap(note) for note in notes[-_GAPS_OF_FILE:]]
    return FileProof(
        *(*key, sums.lines, sums.bytes, sums.checked_bytes, min(sums.checked_at, default=None)),
        *(sums.damaged, sums.damaged_bytes, len(lost), sum(note.bytes for note in lost), len(notes) - len(lost)),
        *(sums.expired_bytes, gaps, sums.altered_lines),
    )


def _gap(note: LossNote) -> Gap:
    kind = "lost" if note.is_lost else "unknown"
    return Gap(note.host, note.path, note.first, note.last, kind, note.reason, note.bytes)  # type: ignore[arg-type]
