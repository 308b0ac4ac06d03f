"""Open segments: to which file the lines of a log are appended, and the files that are open for that.

Owns the choice (the last segment of a log; a new one when the day ends or the file was removed), the open
descriptors, and the folders that must still be synced. At most `max_open` files are open; the least recently used one
is closed to open another. Never writes to a file: segments.py does, and describes the files.
"""

import contextlib
import datetime
import errno
import logging
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from logferry.errors import cause_of
from logferry.server.storage.disk.files.emptied_folders import remove_emptied
from logferry.server.storage.disk.files.file_system import FileSystem, naming
from logferry.server.storage.disk.files.regular import GONE, size_of
from logferry.server.storage.disk.files.segment_forms import forms_of, has_file
from logferry.server.storage.disk.files.segment_names import SegmentName, folders_down_to, next_name, segment_name
from logferry.server.storage.disk.files.surplus import set_aside
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.segments.held_back import NamesRefusedError
from logferry.server.storage.disk.segments.log_folders import LogFolders
from logferry.server.storage.disk.segments.pending_appends import PendingAppends
from logferry.server.storage.log_names import LogName, most_folders
from logferry.server.storage.records import SegmentRow
from logferry.telemetry.log_limits import RateLimit

logger = logging.getLogger(__name__)

# Enough for thousands of busy sources without thrashing, and few compared with the descriptors of 10,000 clients.
MAX_OPEN_SEGMENTS: Final = 4096

_MESSAGES_PER_SECOND: Final = 10

# More are not noted for retention, which then finds them later: nobody takes the changes while there is no limit.
_MAX_CHANGES: Final = 10_000

# Of folders in which logs were made lately: another log there needs a folder and a file, however deep it is.
_MAX_PLACES: Final = 1024

# Why one log gets no segment: the disk has no room for a name, or something that is not a folder has a folder's name.
_OF_A_NAME: Final = (*GONE, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EBADMSG)

# Why a surplus cannot be moved although the disk works.
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


OnBegin = Callable[[SegmentRow, LogName], None]
"""Called with a new segment and its log, before anything is written to it."""


@dataclass(slots=True)
class OpenSegment:
    """The open segment of a log. The ledger records `row` with the next group."""

    path: Path
    name: SegmentName
    descriptor: int
    row: SegmentRow


class Restored(NamedTuple):
    """What restoring the length of a segment came to: bytes moved aside, and whether the segment can be appended to."""

    surplus: int = 0
    can_grow: bool = True
    is_too_short: bool = False


class OpenSegments:
    """The open segments of recently used logs. The writer thread owns them.

    Rows of closed segments go into `pending`, like those of segments that were appended to.
    """

    def __init__(
        self,
        root: Path,
        ledger: Ledger,
        pending: PendingAppends,
        *,
        durable: bool,
        files: FileSystem,
        today: Callable[[], datetime.date],
        max_open: int,
        on_begin: OnBegin,
    ) -> None:
        self._root = root
        self._ledger = ledger
        self._pending = pending
        self._durable = durable  # otherwise the store never syncs
        self._files = files
        self._today = today
        self._max_open = max_open
        self._on_begin = on_begin
        self._folders = LogFolders(ledger)
        self._open: OrderedDict[LogName, OpenSegment] = OrderedDict()
        self._places: dict[tuple[str, ...], None] = {}  # where logs were made lately
        self._damage_log = new_damage_log()
        self.unsynced_folders: set[Path] = set()
        self.segments_begun = 0  # since the start
        self._begun: deque[int] = deque(maxlen=_MAX_CHANGES)  # since `take_changes`
        self._closed: deque[int] = deque(maxlen=_MAX_CHANGES)
        self.recovered_bytes = 0  # moved aside, of segments that were longer than the ledger records

    def new_names(self, log: LogName) -> int:
        """Return how many names of folders and files a log may need at most to be appended to, 0 if it is open."""
        if log in self._open:
            return 0
        return 2 if _place_of(log) in self._places else most_folders(log) + 1

    def take_changes(self) -> tuple[list[int], list[int]]:
        """Return the segments that were begun, and those that were closed, since the last call.

        Some of them may not be recorded as that. Of very many, the last ones are returned.
        """
        changes = list(self._begun), list(self._closed)
        self._begun.clear()
        self._closed.clear()
        return changes

    def prepare(self, logs: Iterable[LogName]) -> None:
        """Open a segment for each log, and record new segments in the ledger, in one transaction.

        Raises OSError; raises NamesRefusedError if the disk refuses new names alone, after all others are open.
        """
        missing = [log for log in logs if log not in self._open]
        if not missing:
            return
        refused: dict[LogName, OSError] = {}
        try:
            with self._ledger.transaction():
                for log in missing:
                    self._open_if_named(log, refused)
        except OSError:
            self.close()  # new ones may not be in the ledger
            raise
        if refused:
            raise NamesRefusedError(refused)

    def _open_if_named(self, log: LogName, refused: dict[LogName, OSError]) -> None:
        try:
            self.writable(log)
        except OSError as error:
            is_of_segments = isinstance(error.filename, str) and Path(error.filename).is_relative_to(self._root)
            if error.errno not in _OF_A_NAME or not is_of_segments:
                raise
            refused[log] = error
            # Those that were made would take the room that another log needs, which may be enough for that one.
            self._places.pop(_place_of(log), None)
            self.forget_folders(remove_emptied(self._root, self._folders.of(log).folder))

    def writable(self, log: LogName) -> OpenSegment:
        """Return the segment to append to: open, still there, and of today. Raises OSError."""
        segment = self._open.get(log)
        if segment and not _is_as_it_was(segment):
            self._close_file(log)
            segment = None
        if segment is None:
            segment = self._open_last(log)
        if segment.name.day < self._today().isoformat():
            segment = self.roll(log, segment)
        self._open.move_to_end(log)
        return segment

    def roll(self, log: LogName, old: OpenSegment) -> OpenSegment:
        """Close the segment of a log for good; return the log's next segment. Raises OSError."""
        self._close_file(log)
        self._close_row(old.row)
        return self._begin(log, os.path.dirname(old.row.path), old.row.log, old.name)

    def tidy(self, number: int) -> None:
        """Move the surplus of an open segment aside now, not only before the next append. Raises OSError."""
        for log, segment in self._open.items():
            if segment.row.id == number:
                if _is_as_it_was(segment):
                    return
                self._close_file(log)
                break
        row = self._ledger.segment(number)
        if row and row.state == "open":
            self._restore_length(row)

    def close_days_before(self, day: str) -> None:
        """Close the files of segments from earlier days, which are not written again. Raises OSError."""
        for log in [log for log, segment in self._open.items() if segment.name.day < day]:
            self._close_file(log)

    def close(self) -> None:
        """Close all files, without syncing them."""
        self._damage_log.flush()
        self._pending.unsynced.clear()
        for segment in self._open.values():
            with contextlib.suppress(OSError):
                os.close(segment.descriptor)
        self._open.clear()

    def sync_file(self, path: Path, descriptor: int) -> None:
        """Sync a segment. Raises OSError."""
        with naming(path):
            self._files.sync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        """Sync the names in a folder, unless it is gone. Raises OSError."""
        try:
            with naming(folder):
                self._files.sync_folder(folder)
        except OSError as error:
            if error.errno not in GONE:
                raise
        self.unsynced_folders.discard(folder)

    def _open_last(self, log: LogName) -> OpenSegment:
        place = self._folders.of(log)
        self._make_folders(place.folder)
        self._note_place(log)
        place = self._folders.record(place)
        rows = [self._pending.rows.get(row.id, row) for row in self._ledger.open_segments_of(place.id)]
        rows = [row for row in rows if row.state == "open"]
        for row in rows[:-1]:
            self._close_row(row)
        if rows and self._restore_length(rows[-1]).can_grow:
            return self._open_file(log, rows[-1])
        for row in rows[-1:]:
            self._close_row(row)
        last = self._ledger.last_segment_of(place.id)
        return self._begin(log, place.folder, place.id, segment_name(os.path.basename(last.path)) if last else None)

    def _note_place(self, log: LogName) -> None:
        if len(self._places) >= _MAX_PLACES:
            del self._places[next(iter(self._places))]
        self._places[_place_of(log)] = None

    def _restore_length(self, row: SegmentRow) -> Restored:
        journals = JournalFiles(self._root)
        restored = restore_length(
            self._root, row, self._files, journals, log=self._damage_log, is_certain=self._durable
        )
        self.recovered_bytes += restored.surplus
        return restored

    def _close_row(self, row: SegmentRow) -> None:
        self._pending.rows[row.id] = row._replace(state="closed")
        self._closed.append(row.id)

    def _begin(self, log: LogName, folder: str, number: int | None, last: SegmentName | None) -> OpenSegment:
        """Record the segment of a log that follows the last one that the ledger records, and open it."""
        skipped = 0

        def is_taken(name: SegmentName) -> bool:
            nonlocal skipped
            if self._ledger.has_segment(f"{folder}/{name}"):
                return True
            is_there = has_file(f"{self._root}/{folder}/{name}")
            skipped += is_there
            return is_there

        name = next_name(last, is_taken, self._today().isoformat())
        if skipped:
            message = "%s has %d names of segments that the ledger does not record; they are left alone, and left out"
            logger.warning(message, self._root / folder, skipped)
        with self._ledger.transaction():
            row = self._ledger.add_segment(f"{folder}/{name}", log=number)
        self.segments_begun += 1
        self._begun.append(row.id)
        self._on_begin(row, log)
        return self._open_file(log, row)

    def forget_folders(self, folders: Iterable[Path]) -> None:
        """Take in that folders were removed, because they were empty."""
        self.unsynced_folders.difference_update(folders)

    def _make_folders(self, folder: str) -> None:
        """Create the folders of a log. Sync their names even if they exist: a crash may have come before the sync."""
        folders = folders_down_to(self._root, folder)
        missing: list[Path] = []
        for path in reversed(folders):  # from the last one up: usually few are missing
            try:
                self._make_folder(path)
                break
            except FileNotFoundError:
                missing.append(path)
        for path in reversed(missing):
            self._make_folder(path)
        if self._durable:
            self.unsynced_folders |= {self._root.parent, *folders[:-1]}

    def _make_folder(self, path: Path) -> None:
        with naming(path):
            self._files.make_folder(path)

    def _open_file(self, log: LogName, row: SegmentRow) -> OpenSegment:
        while len(self._open) >= self._max_open:
            self._close_file(next(iter(self._open)))
        path = self._root / row.path
        name = segment_name(path.name)
        assert name
        with naming(path):
            descriptor = self._files.open_for_append(path)
        segment = self._open[log] = OpenSegment(path, name, descriptor, row)
        self.unsynced_folders |= {path.parent} if self._durable else set()
        return segment

    def _close_file(self, log: LogName) -> None:
        segment = self._open[log]
        if segment.path in self._pending.unsynced:
            self.sync_file(segment.path, segment.descriptor)
            del self._pending.unsynced[segment.path]
        os.close(self._open.pop(log).descriptor)


def _place_of(log: LogName) -> tuple[str, ...]:
    """Return what logs in the same folder of a host have in common: they share all folders but their own."""
    return log.identity, log.host, log.path.rpartition("/")[0]


def _is_as_it_was(segment: OpenSegment) -> bool:
    """Whether a segment still has its name and ends where the store ended it.

    Lines that are written to a file that was removed are lost, and those that are appended to a file that was cut are
    not where the ledger says.
    """
    status = os.fstat(segment.descriptor)
    return status.st_nlink > 0 and status.st_size == segment.row.bytes


def new_damage_log() -> RateLimit:
    """Return the rate limit for what `restore_length` logs: a crash may have affected thousands of segments."""
    return RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="segments that had a surplus or are damaged")


def restore_length(
    root: Path, row: SegmentRow, files: FileSystem, journals: JournalFiles, *, log: RateLimit, is_certain: bool
) -> Restored:
    """Give a segment its length in the ledger: move what it holds beyond that aside (surplus.py).

    Raises OSError. A segment in which nothing was ever stored may have no file. On a full disk, a surplus that cannot
    be moved stays where it is, behind the end of a segment that is not appended to any more. `is_certain` says that
    the ledger cannot have lost transactions: each was synced before its acks, and no journal is ahead of the ledger.
    """
    path = root / row.path
    try:
        size = size_of(path)
    except FileNotFoundError:
        if forms_of(path):  # compressed, and so closed, after this copy of the ledger was made
            return Restored(can_grow=False)
        size = 0
    except OSError as error:
        if error.errno not in (*GONE, errno.EBADMSG):
            raise
        log.log(logging.ERROR, "%s is damaged: %s; new lines go into another segment", path, error.strerror)
        return Restored(can_grow=False, is_too_short=True)
    if size < row.bytes:
        log.log(
            logging.ERROR,
            "%s is damaged: it has only %d of its %d bytes; new lines go into another segment, see `logferry fsck`",
            *(path, size, row.bytes),
        )
        return Restored(can_grow=False, is_too_short=True)
    if size == row.bytes:
        return Restored()
    is_unacked = is_certain and journals.agrees(row)
    return _without_surplus(path, row, files, log, size=size - row.bytes, is_unacked=is_unacked)


def _without_surplus(
    path: Path, row: SegmentRow, files: FileSystem, log: RateLimit, *, size: int, is_unacked: bool
) -> Restored:
    try:
        surplus = set_aside(path, row.bytes, files, is_unacked=is_unacked)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        message = "%s holds %d bytes more than the ledger records, and they cannot be moved aside (%s): they stay there"
        log.log(logging.WARNING, f"{message}; new lines go into another segment", path, size, cause_of(error))
        return Restored(can_grow=False)
    message = "moved %d bytes that the ledger does not record from the end of %s to %s"
    log.log(logging.WARNING, message, surplus.bytes, path, surplus.path.name)
    return Restored(surplus.bytes)
