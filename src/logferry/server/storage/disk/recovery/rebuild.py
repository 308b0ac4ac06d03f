"""Makes a lost or damaged ledger anew, from the segments and the journals beside them (`logferry fsck --rebuild`).

Owns what becomes of each segment, and the exchange of the ledgers: the new one is made in the folder `ledger.new`, the
old one with SQLite's files beside it is renamed to `ledger.sqlite3.damaged-<n>` and kept, and the new one takes its
place. A crash at any moment leaves the old ledger or the new one, or a server that asks for another rebuild.

A journal says which extents a segment holds, and how much of the segment was stored; what lies behind that is moved
aside (surplus.py). A segment without a journal is kept with its whole lines, but nobody knows from which source they
are, so their clients store them again. Must never delete a line, and must not run beside a server.
"""

import contextlib
import datetime
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from logferry.durable import sync_folder
from logferry.errors import StoreError, cause_of
from logferry.folder_lock import FolderInUse
from logferry.permissions import give_to_owner_of
from logferry.server.storage.disk.files.data_lock import lock_data_folder
from logferry.server.storage.disk.files.file_system import FileSystem, naming
from logferry.server.storage.disk.files.measure import Measure, measure
from logferry.server.storage.disk.files.regular import size_of
from logferry.server.storage.disk.files.segment_files import log_folders, segment_files, unfinished_bytes
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME, SegmentName, segment_name
from logferry.server.storage.disk.files.surplus import set_aside
from logferry.server.storage.disk.journals.journal import Journal, Total, journal_path, segment_of_journal
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.ledger import FILE_NAME, Ledger, sort_in
from logferry.server.storage.disk.recovery.entering import Entering
from logferry.server.storage.log_names import PLAIN
from logferry.server.storage.records import SegmentRow

_NEW_FOLDER: Final = "ledger.new"
_BESIDE: Final = ("-wal", "-shm", "")  # what SQLite has beside a ledger; the ledger itself last

_kept_name: Final = re.compile(rf"{re.escape(FILE_NAME)}\.damaged-(\d{{1,9}})(?:-wal|-shm)?", re.ASCII)


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild has made; `remarks` has a sentence for everything that could not be made as it was."""

    segments: int = 0
    lines: int = 0
    sources: int = 0
    kept_as: str = ""  # the old ledger; "" if there was none
    remarks: list[str] = field(default_factory=list)


def rebuild(data_dir: Path, files: FileSystem | None = None) -> Rebuilt:
    """Make the ledger of a data folder anew. Raises StoreError; then the old ledger is as it was."""
    try:
        lock = lock_data_folder(data_dir)
    except FolderInUse as error:
        raise StoreError(
            f"cannot rebuild the ledger in {data_dir}: a server (process {error.holder}) is using it; stop it first"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot rebuild the ledger in {data_dir}: {cause_of(error, with_path=True)}") from error
    try:
        return _rebuild(data_dir, files or FileSystem())
    except OSError as error:
        raise StoreError(
            f"cannot rebuild the ledger in {data_dir}: {cause_of(error, with_path=True)}; the old ledger is kept, and "
            "the rebuild can be repeated"
        ) from error
    finally:
        lock.close()


def _rebuild(data_dir: Path, files: FileSystem) -> Rebuilt:
    root = data_dir / FOLDER_NAME
    if next(_candidates(root, JournalFiles(root)), None) is None:
        raise StoreError(f"cannot rebuild the ledger in {data_dir}: it has no segments")
    folder = data_dir / _NEW_FOLDER
    with naming(folder):
        _clear(folder)
    folder.mkdir(mode=0o750)
    with open(os.open(folder / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640), "wb") as file:
        give_to_owner_of(data_dir, file.fileno())  # SQLite gives the files beside the ledger the same owner
    sort_in(data_dir)
    ledger = Ledger(folder, durable=True)
    try:
        with ledger.transaction():
            rebuilt = _Rebuild(root, ledger, files).run()
        ledger.move_log_into_file()  # only the file takes the place of the old ledger
    finally:
        ledger.close()
    _check(folder)
    sync_folder(folder)
    rebuilt.kept_as = _exchange(data_dir, folder)
    return rebuilt


def _check(folder: Path) -> None:
    """Raise StoreError unless the new ledger is whole: nothing may take the place of the old one that is not."""
    ledger = Ledger(folder, durable=False, read_only=True)
    try:
        problems = ledger.problems()
    finally:
        ledger.close()
    if problems:
        raise StoreError(f"cannot rebuild the ledger: the new one is damaged ({problems[0]}); the old one is kept")


def _clear(folder: Path) -> None:
    """Remove what a rebuild that was interrupted has left. Never follows a link: others may write into data folders.

    Raises OSError.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        for suffix in _BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{FILE_NAME}{suffix}", dir_fd=descriptor)
    finally:
        os.close(descriptor)
    folder.rmdir()


def _exchange(data_dir: Path, folder: Path) -> str:
    """Keep the old ledger under another name, and put the new one in its place; return that name."""
    numbers = [int(match[1]) for name in os.listdir(data_dir) if (match := _kept_name.fullmatch(name))]
    kept = f"{FILE_NAME}.damaged-{max(numbers, default=0) + 1}"
    was_there = False
    for suffix in _BESIDE:  # its log first: SQLite must never find that beside another ledger
        with contextlib.suppress(FileNotFoundError):
            os.rename(data_dir / f"{FILE_NAME}{suffix}", data_dir / f"{kept}{suffix}")
            was_there = True
    sync_folder(data_dir)
    os.rename(folder / FILE_NAME, data_dir / FILE_NAME)
    sync_folder(data_dir)
    _clear(folder)
    return kept if was_there else ""


def _candidates(root: Path, journals: JournalFiles) -> Iterator[tuple[str, SegmentName]]:
    """Yield the folder and name of each segment, and of each journal without a segment."""
    yield from _without_shared(root)
    for path in sorted(journals.shared):
        folder, _, file_name = path.rpartition("/")
        name = segment_name(file_name)
        if name and not os.path.lexists(root / path) and not os.path.lexists(journal_path(root / path)):
            yield folder, name


def _without_shared(root: Path) -> Iterator[tuple[str, SegmentName]]:
    yield from segment_files(root)
    for folder in log_folders(root):
        for file_name in sorted(os.listdir(folder)):
            name = segment_name(segment_of_journal(file_name))
            if name and not os.path.lexists(folder / str(name)):
                yield folder.relative_to(root).as_posix(), name


class _Rebuild:
    def __init__(self, root: Path, ledger: Ledger, files: FileSystem) -> None:
        self._root = root
        self._ledger = ledger
        self._files = files
        self._journals = JournalFiles(root)
        self._entering = Entering(ledger)
        self._stores: Counter[str] = Counter()
        self._made = Rebuilt()

    def run(self) -> Rebuilt:
        made = self._made
        found = sorted(_candidates(self._root, self._journals), key=lambda segment: (segment[1], segment[0]))
        last_of: dict[str, SegmentRow] = {}
        for folder, name in found:
            row = self._segment(f"{folder}/{name}", name)
            if row is None:
                continue
            made.segments, made.lines = made.segments + 1, made.lines + row.lines
            if before := last_of.get(folder):
                self._ledger.set_segment(replace(before, state="closed"))
            last_of[folder] = row
        self._ledger.set_segments(last_of.values())
        for gap in self._entering.finish():
            made.remarks.append(
                f"{gap.path}: what follows byte {gap.start} is stored again by its client, because the journals lack "
                f"what was stored before byte {gap.end}"
                if gap.end > gap.start
                else f"{gap.path}: what follows byte {gap.start} is stored again by its client"
            )
        if self._journals.problem:
            made.remarks.append(f"the journal that new segments share cannot be read: {self._journals.problem}")
        made.sources = self._entering.sources
        self._set_store_id()
        return made

    def _set_store_id(self) -> None:
        if self._stores:
            self._ledger.set_store_id(self._stores.most_common(1)[0][0])
        else:
            self._made.remarks.append("the store has a new id: clients compare all that they have shipped with it")
        if len(self._stores) > 1:
            self._made.remarks.append(f"segments of {len(self._stores)} different stores lie here")

    def _segment(self, path: str, name: SegmentName) -> SegmentRow | None:
        """Enter a segment; its state is "open" if it can be appended to. Returns None if it is left alone."""
        journal = self._journal(path)
        try:
            size = size_of(self._root / path)
        except FileNotFoundError:
            size = 0
        except OSError as error:
            self._made.remarks.append(f"{path} cannot be read and is left alone: {cause_of(error)}")
            return None
        if journal and journal.total:
            return self._known(path, size, journal, journal.total) if size or journal.total.bytes else None
        if not size:
            return None
        if name.day > _latest_day():
            self._made.remarks.append(f"{path} has no journal and is of a day to come: it is left alone")
            return None
        return self._unknown(path)

    def _journal(self, path: str) -> Journal | None:
        try:
            journal = self._journals.read(path)
        except OSError as error:
            self._made.remarks.append(f"the journal of {path} cannot be read: {cause_of(error)}")
            return None
        if journal and journal.damaged_lines:
            self._made.remarks.append(f"the journal of {path} has {journal.damaged_lines} damaged lines")
        return journal

    def _known(self, path: str, size: int, journal: Journal, total: Total) -> SegmentRow:
        if size > total.bytes and not journal.extents and os.path.basename(os.path.dirname(path)) == PLAIN:
            return self._with_whole_lines(path, journal, total)
        row = self._ledger.add_known_segment(SegmentRow(0, path, *total))
        self._stores[journal.store_id] += 1
        self._entering.add(row, journal)
        if size > total.bytes:
            moved = set_aside(self._root / path, total.bytes, self._files)
            self._made.remarks.append(
                f"{path}: {moved.bytes} bytes that its journal does not have were moved to {moved.path.name}; clients "
                "that shipped lines among them store those again"
            )
        elif size < total.bytes:
            self._made.remarks.append(f"{path} is damaged: it has {size} of its {total.bytes} bytes")
            return replace(row, state="closed")
        return row

    def _with_whole_lines(self, path: str, journal: Journal, total: Total) -> SegmentRow:
        """Enter lines of the plain protocol, also those behind the end of the journal: nobody sends them again."""
        found = self._whole_lines(path)
        self._stores[journal.store_id] += 1
        row = SegmentRow(0, path, found.bytes, found.lines, found.crc32)
        if measure(self._root / path, 0, total.bytes) != Measure(*total):
            self._made.remarks.append(f"{path} is damaged: it has other content than its journal says")
        row = self._ledger.add_known_segment(row)
        self._entering.add(row, journal)
        return row

    def _unknown(self, path: str) -> SegmentRow:
        found = self._whole_lines(path)
        self._made.remarks.append(
            f"{path} has no journal that says what it holds: its {found.lines} lines stay, but the ranges of "
            "their files are not known, so clients that still have those files store them a second time"
        )
        return self._ledger.add_known_segment(SegmentRow(0, path, found.bytes, found.lines, found.crc32))

    def _whole_lines(self, path: str) -> Measure:
        """Move an unfinished line aside; return what the segment holds."""
        segment = self._root / path
        if unfinished := unfinished_bytes(segment):
            moved = set_aside(segment, size_of(segment) - unfinished, self._files)
            self._made.remarks.append(f"{path}: its unfinished last line was moved to {moved.path.name}")
        return measure(segment, 0, size_of(segment))


def _latest_day() -> str:
    """Return tomorrow: a name without a journal must not decide that all later segments are of a day far away."""
    return (datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)).isoformat()
