"""Makes a lost or damaged ledger anew, from the segments and the journals beside them (`logferry fsck --rebuild`).

Owns what becomes of each segment. A journal says which extents a segment holds, and how much of the segment was stored;
what lies behind that is moved aside (surplus.py). A segment without a journal is kept with its whole lines, but nobody
knows from which source they are, so their clients store them again. Must never delete a line, must not run beside a
server, and works in folders that it holds open: root may rebuild where others can exchange them.
"""

import contextlib
import datetime
import errno
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from logferry.errors import StoreError, cause_of
from logferry.folder_lock import FolderInUse
from logferry.server.storage.disk.content.copies import new_file, write_plain
from logferry.server.storage.disk.content.measure import Measure, measure, unfinished_bytes
from logferry.server.storage.disk.content.members import are_all, packed
from logferry.server.storage.disk.content.segment_bytes import AnyForm, CompressedBytes, any_form
from logferry.server.storage.disk.files.data_lock import lock_data_folder
from logferry.server.storage.disk.files.file_system import FileSystem
from logferry.server.storage.disk.files.held_folder import HeldFolder, identity_of
from logferry.server.storage.disk.files.name_encoding import refuse_other_encoding
from logferry.server.storage.disk.files.segment_files import log_folders, segment_files
from logferry.server.storage.disk.files.segment_forms import forms_of, unfinished_path
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME, SegmentName, segment_name
from logferry.server.storage.disk.files.surplus import Surplus, set_aside
from logferry.server.storage.disk.journals.journal import Total, journal_path, segment_of_journal
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.journals.journal_reading import FoundJournal
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.disk.recovery.entering import Entering
from logferry.server.storage.disk.recovery.found_logs import log_of_journal
from logferry.server.storage.disk.recovery.new_ledger import replace_ledger
from logferry.server.storage.log_names import PLAIN
from logferry.server.storage.records import SegmentRow

# A folder may hold millions of files that cannot be entered as they were. `logferry fsck` lists each of them.
_MAX_REMARKS: Final = 10_000

# A path that leads to nothing and that nobody can create.
_NOWHERE: Final = Path("/proc/self/fd/none/segment")


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild has made; `remarks` has a sentence for everything that could not be made as it was."""

    segments: int = 0
    lines: int = 0
    sources: int = 0
    kept_as: str = ""  # the old ledger; "" if there was none
    remarks: list[str] = field(default_factory=list)
    further_remarks: int = 0

    def remark(self, sentence: str) -> None:
        """Add a remark; beyond a bound, only count it."""
        if len(self.remarks) < _MAX_REMARKS:
            self.remarks.append(sentence)
        else:
            self.further_remarks += 1


def rebuild(data_dir: Path, files: FileSystem | None = None) -> Rebuilt:
    """Make the ledger of a data folder anew. Raises StoreError; then the old ledger is as it was."""
    refuse_other_encoding(data_dir)
    try:
        lock = lock_data_folder(data_dir)
    except FolderInUse as error:
        raise StoreError(
            f"cannot rebuild the ledger in {data_dir}: a server (process {error.holder}) is using it; stop it first"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot rebuild the ledger in {data_dir}: {cause_of(error, with_path=True)}") from error
    try:
        return _rebuild(HeldFolder(lock.folder, data_dir), files or FileSystem())
    except OSError as error:
        raise StoreError(
            f"cannot rebuild the ledger in {data_dir}: {cause_of(error, with_path=True)}; the old ledger is kept, and "
            "the rebuild can be repeated"
        ) from error
    finally:
        lock.close()


def _rebuild(data: HeldFolder, files: FileSystem) -> Rebuilt:
    nothing = StoreError(f"cannot rebuild the ledger in {data.name}: it has no segments")
    with contextlib.ExitStack() as held:
        try:
            root = held.enter_context(data.below(FOLDER_NAME))
        except FileNotFoundError:
            raise nothing from None
        if next(_candidates(root.path, JournalFiles(root.path)), None) is None:
            raise nothing
        rebuilt, kept_as = replace_ledger(data, lambda ledger: _Rebuild(root, ledger, files).run())
        return replace(rebuilt, kept_as=kept_as)


def _candidates(root: Path, journals: JournalFiles) -> Iterator[tuple[str, SegmentName]]:
    """Yield the folder and name of each segment, and of each journal without a segment."""
    yield from _without_shared(root)
    for path in sorted(journals.shared):
        folder, _, file_name = path.rpartition("/")
        name = segment_name(file_name)
        if name and not forms_of(root / path) and not os.path.lexists(journal_path(root / path)):
            yield folder, name


def _without_shared(root: Path) -> Iterator[tuple[str, SegmentName]]:
    yield from segment_files(root)
    for folder, names in log_folders(root):
        for file_name in sorted(names):
            name = segment_name(segment_of_journal(file_name))
            if name and not forms_of(root / folder / str(name)):
                yield folder, name


class _Rebuild:
    def __init__(self, root: HeldFolder, ledger: Ledger, files: FileSystem) -> None:
        self._root = root
        self._ledger = ledger
        self._files = files
        self._journals = JournalFiles(root.path)
        self._folders = {folder: identity_of(os.stat(root.path / folder)) for folder, _ in log_folders(root.path)}
        self._entering = Entering(ledger)
        self._stores: Counter[str] = Counter()
        self._made = Rebuilt()

    def run(self) -> Rebuilt:
        made = self._made
        found = sorted(_candidates(self._root.path, self._journals), key=lambda segment: (segment[1], segment[0]))
        last_of: dict[str, SegmentRow] = {}
        for folder, name in found:
            row = self._segment(folder, name)
            if row is None:
                continue
            made.segments, made.lines = made.segments + 1, made.lines + row.lines
            if before := last_of.get(folder):
                self._ledger.set_segment(before._replace(state="closed"))
            last_of[folder] = row
        self._ledger.set_segments(last_of.values())
        for gap in self._entering.finish():
            made.remark(
                f"{gap.path}: what follows byte {gap.start} is stored again by its client, because the journals lack "
                f"what was stored before byte {gap.end}"
                if gap.end > gap.start
                else f"{gap.path}: what follows byte {gap.start} is stored again by its client"
            )
        if repeated := self._entering.repeated_lines:
            made.remark(
                f"{repeated} lines are in two segments: their clients stored them again after an earlier rebuild"
            )
        if self._journals.problem:
            made.remark(f"the journal that new segments share cannot be read: {self._journals.problem}")
        made.sources = self._entering.sources
        self._set_store_id()
        return made

    def _set_store_id(self) -> None:
        if self._stores:
            self._ledger.set_store_id(self._stores.most_common(1)[0][0])
        else:
            self._made.remark("the store has a new id: clients compare all that they have shipped with it")
        if len(self._stores) > 1:
            self._made.remark(f"segments of {len(self._stores)} different stores lie here")

    def _segment(self, folder: str, name: SegmentName) -> SegmentRow | None:
        """Enter a segment; its state is "open" if it can be appended to. Returns None if it is left alone."""
        path = f"{folder}/{name}"
        with contextlib.ExitStack() as stack:
            try:
                held = stack.enter_context(self._root.below(folder))
            except FileNotFoundError:  # the shared journal has it
                return self._entered(path, name, _NOWHERE)  # and not what has the name of its folder by now
            except OSError as error:
                self._made.remark(f"{path} cannot be read and is left alone: {cause_of(error)}")
                return None
            if held.identity != self._folders.get(folder, held.identity):
                self._made.remark(f"{path} is left alone: its folder was exchanged for another one meanwhile")
                return None
            stack.enter_context(held.naming())
            return self._entered(path, name, held.path / str(name))

    def _entered(self, path: str, name: SegmentName, segment: Path) -> SegmentRow | None:
        journal = self._journal(path, segment)
        try:
            content = _opened(segment, journal.total if journal else None)
        except FileNotFoundError:
            content = None
        except OSError as error:
            if error.errno == errno.ENOSYS:  # without the library, nobody knows whether it is whole
                raise
            self._made.remark(f"{path} cannot be read and is left alone: {cause_of(error)}")
            return None
        with content or contextlib.nullcontext():
            total = journal.total if journal else None
            if not (content and content.size) and not (total and total.bytes):
                return None
            if journal and total:
                return self._known(path, segment, content, journal, total)
            assert content
            if name.day > _latest_day():
                self._made.remark(f"{path} has no journal and is of a day to come: it is left alone")
                return None
            return self._unknown(path, segment, content)

    def _journal(self, path: str, segment: Path) -> FoundJournal | None:
        try:
            journal = self._journals.found(path, segment=segment)
        except OSError as error:
            self._made.remark(f"the journal of {path} cannot be read: {cause_of(error)}")
            return None
        if journal and journal.damaged_lines:
            self._made.remark(f"the journal of {path} has {journal.damaged_lines} damaged lines")
        return journal

    def _known(
        self, path: str, segment: Path, content: AnyForm | None, journal: FoundJournal, total: Total
    ) -> SegmentRow:
        size = content.size if content else 0
        is_plain_log = not journal.has_extents and os.path.basename(os.path.dirname(path)) == PLAIN
        if content and size > total.bytes and is_plain_log and (found := self._whole_lines(path, segment, content)):
            return self._with_whole_lines(path, content, found, journal, total)
        self._stores[journal.store_id] += 1
        log = log_of_journal(self._ledger, os.path.dirname(path), journal)
        if content and size > total.bytes:
            row = self._add(SegmentRow(0, path, *total, log=log), None)
            moved = self._set_aside(segment, content, total.bytes)
            self._made.remark(
                f"{path}: {moved.bytes} bytes that its journal does not have were moved to {moved.path.name}; clients "
                "that shipped lines among them store those again"
            )
        else:
            row = self._add(SegmentRow(0, path, *total, log=log), content)
        self._enter(row, journal)
        if size < total.bytes:
            self._made.remark(f"{path} is damaged: it has {size} of its {total.bytes} bytes")
            return row._replace(state="closed")
        return row

    def _with_whole_lines(
        self, path: str, content: AnyForm, found: Measure, journal: FoundJournal, total: Total
    ) -> SegmentRow:
        """Enter lines of the plain protocol, also those behind the end of the journal: nobody sends them again."""
        self._stores[journal.store_id] += 1
        if measure(content, 0, total.bytes) != Measure(*total):
            self._made.remark(f"{path} is damaged: it has other content than its journal says")
        log = log_of_journal(self._ledger, os.path.dirname(path), journal)
        row = self._add(SegmentRow(0, path, found.bytes, found.lines, found.crc32, log=log), content)
        self._enter(row, journal)
        return row

    def _add(self, row: SegmentRow, content: AnyForm | None) -> SegmentRow:
        """Enter a segment, with the form that it has; a compressed one is closed."""
        if not isinstance(content, CompressedBytes):
            return self._ledger.add_known_segment(row)
        row = row._replace(state="closed", compression=content.compression, stored_bytes=content.file_size)
        added = self._ledger.add_known_segment(row)
        if are_all(content.members, row.bytes, row.stored_bytes):
            self._ledger.add_members(added.id, packed(content.members))
        return added

    def _set_aside(self, segment: Path, content: AnyForm, position: int) -> Surplus:
        """Move the end of a segment aside, which becomes plain for that. What it was stays beside it, for a start."""
        if isinstance(content, CompressedBytes):
            with new_file(unfinished_path(segment, ""), self._files) as target:
                write_plain(content, target)
            os.rename(unfinished_path(segment, ""), segment)
            self._files.sync_folder(segment.parent)
        return set_aside(segment, position, self._files)

    def _enter(self, row: SegmentRow, journal: FoundJournal) -> None:
        for piece in journal.pieces():
            self._entering.add(row, piece)

    def _unknown(self, path: str, segment: Path, content: AnyForm) -> SegmentRow | None:
        found = self._whole_lines(path, segment, content)
        if found is None:
            self._made.remark(f"{path} has no journal, and is damaged: it is left alone")
            return None
        self._made.remark(
            f"{path} has no journal that says what it holds: its {found.lines} lines stay, but the ranges of "
            "their files are not known, so clients that still have those files store them a second time"
        )
        return self._add(SegmentRow(0, path, found.bytes, found.lines, found.crc32), content)

    def _whole_lines(self, path: str, segment: Path, content: AnyForm) -> Measure | None:
        """Move an unfinished line aside; return what the segment holds, None if a part of that is damaged."""
        if isinstance(content, CompressedBytes):  # of whole lines
            return measure(content, 0, content.size) if content.is_sound() else None
        unfinished = unfinished_bytes(content)
        if unfinished:
            moved = set_aside(segment, content.size - unfinished, self._files)
            self._made.remark(f"{path}: its unfinished last line was moved to {moved.path.name}")
        return measure(content, 0, content.size - unfinished)


def _opened(segment: Path, total: Total | None) -> AnyForm:
    """Open the file of a segment; of several, the one that holds what the journal says. Raises OSError."""
    forms = forms_of(segment)
    for form in forms if len(forms) > 1 else ():
        if total is None:
            break
        content = any_form(segment, form)
        if content.size == total.bytes and content.is_sound() and measure(content, 0, content.size) == Measure(*total):
            return content
        content.close()
    return any_form(segment)


def _latest_day() -> str:
    """Return tomorrow: a name without a journal must not decide that all later segments are of a day far away."""
    return (datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)).isoformat()
