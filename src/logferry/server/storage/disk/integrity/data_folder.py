"""What lies in a data folder besides the segments that the ledger has: surplus, unknown segments, anything else.

Part of `logferry fsck`. Never opens what is not a file, never follows a link, and descends only into the folders that a
store makes. Only reads; bounded in what it reads of a surplus and in how much it lists.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from logferry.errors import cause_of
from logferry.server.storage.disk.files.data_lock import LOCK_NAMES
from logferry.server.storage.disk.files.regular import kind_of
from logferry.server.storage.disk.files.segment_files import FollowedLinks
from logferry.server.storage.disk.files.segment_forms import forms_of, is_own, segment_form, segment_of_unfinished
from logferry.server.storage.disk.files.segment_names import (
    CLIENT_STATES_NAME,
    FOLDER_NAME,
    MAX_DEPTH,
    is_log_folder,
    segment_name,
)
from logferry.server.storage.disk.files.surplus import SurplusName, surplus_name
from logferry.server.storage.disk.integrity.damaged_folder import DAMAGED_FOLDER, kept_in
from logferry.server.storage.disk.integrity.surplus_lines import ComparedSurplus, compare_surpluses
from logferry.server.storage.disk.journals.journal import segment_of_journal
from logferry.server.storage.disk.journals.shared_journal import SHARED_NAME
from logferry.server.storage.disk.ledger import FILE_NAME
from logferry.server.storage.disk.ledger.database import soundness as ledger_check
from logferry.server.storage.disk.recovery import previous_runs

# Files that do not belong to the store and are listed; of more, only the number.
_MAX_FOREIGN: Final = 200

_OWN: Final = (
    *(*LOCK_NAMES, FOLDER_NAME, DAMAGED_FOLDER, FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"),
    *(CLIENT_STATES_NAME, f"{CLIENT_STATES_NAME}.new"),
    *(ledger_check.MARK_NAME, previous_runs.MARK_NAME),
)
_KEPT: Final = f"{FILE_NAME}.damaged-"

_is_kept_journal: Final = re.compile(r".+\.ndjson\.journal\.kept-[0-9]{1,9}", re.ASCII).fullmatch

_FOREIGN: Final = "does not belong to the store"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a data folder and what is wrong with it; `problem` is empty if nothing is.

    `path` of a segment, and of what lies beside one, is below the folder `segments`. A `note` says what a file is that
    is not a segment of the ledger.
    """

    path: str
    bytes: int
    lines: int
    problem: str
    kind: Literal["segment", "ledger", "surplus", "unknown segment", "foreign", "repaired"] = "segment"
    note: str = ""


def other_files(data_dir: Path, is_known: Callable[[str], bool]) -> Iterator[Finding]:
    """Yield what is not a segment of the ledger. `is_known` says whether the ledger has a segment. Raises OSError."""
    foreign = 0
    for finding in _found(data_dir, is_known):
        foreign += finding.kind == "foreign"
        if finding.kind != "foreign" or foreign <= _MAX_FOREIGN:
            yield finding
    if foreign > _MAX_FOREIGN:
        yield Finding(f"and {foreign - _MAX_FOREIGN} more", 0, 0, "", "foreign", _FOREIGN)


def _found(data_dir: Path, is_known: Callable[[str], bool]) -> Iterator[Finding]:
    for entry in _entries(data_dir):
        if entry.name.startswith(_KEPT):
            yield _foreign(entry, entry.name, "an earlier ledger, kept by a rebuild")
        elif entry.name not in _OWN:
            yield _foreign(entry, entry.name)
    files, size = kept_in(data_dir)
    if files:
        note = f"{files} files of damaged bytes that were repaired, kept to find out the cause"
        yield Finding(DAMAGED_FOLDER, size, 0, "", "repaired", note)
    root = data_dir / FOLDER_NAME
    if not root.is_dir():
        return
    yield from _in_folder(root, "", is_known, FollowedLinks(root))


def _in_folder(root: Path, path: str, is_known: Callable[[str], bool], links: FollowedLinks) -> Iterator[Finding]:
    """Yield what is in a folder below the root, and in those below it."""
    entries = list(_entries(root / path))
    may_have_segments = is_log_folder(path)
    surpluses = _surpluses(root, path, entries) if may_have_segments else {}
    for entry in entries:
        name = f"{path}/{entry.name}".lstrip("/")
        if _may_lead_to_logs(entry, name) and links.lead_on(entry):
            yield from _in_folder(root, name, is_known, links)
            continue
        if not may_have_segments:
            if name != SHARED_NAME or not entry.is_file(follow_symlinks=False):
                yield _foreign(entry, name)
            continue
        is_surplus = surplus_name(entry.name)
        if finding := surpluses.get(entry.name) if is_surplus else _beside_segments(entry, name, is_known):
            yield finding


def _may_lead_to_logs(entry: "os.DirEntry[str]", path: str) -> bool:
    """Whether a folder would be one that a store makes: of no segment, nor of what lies beside one, nor too deep."""
    name = entry.name
    is_segment = segment_form(name) is not None or segment_of_unfinished(name) is not None
    is_of_segment = is_segment or surplus_name(name) is not None or bool(segment_of_journal(name))
    return not is_of_segment and path.count("/") < MAX_DEPTH


def _beside_segments(entry: "os.DirEntry[str]", path: str, is_known: Callable[[str], bool]) -> Finding | None:
    folder = path[: -len(entry.name)]
    form = segment_form(entry.name)
    if form and (not form[1] or is_own(Path(entry.path).with_name(str(form[0])), form[1])):
        return _second_file(entry, path) if is_known(f"{folder}{form[0]}") else _unknown_segment(entry, path)
    if segment_of_unfinished(entry.name):
        return _foreign(entry, path, "a file of a segment that is being written, or was when a server ended")
    segment = segment_of_journal(entry.name)
    if segment_name(segment):
        return None if is_known(folder + segment) else _foreign(entry, path, "the journal of an unknown segment")
    if _is_kept_journal(entry.name):
        return _foreign(entry, path, "a journal that has more than the ledger, kept by a start")
    if surplus_name(segment):
        return _foreign(entry, path, "the journal of a surplus")
    return _foreign(entry, path)


def _second_file(entry: "os.DirEntry[str]", path: str) -> Finding | None:
    """Report the compressed file of a segment that also has a plain one."""
    form = segment_form(entry.name)
    if not form or not form[1] or len(forms_of(Path(entry.path).with_name(str(form[0])))) < 2:
        return None
    return _foreign(entry, path, "a second file of a segment: the server keeps a whole one")


def _unknown_segment(entry: "os.DirEntry[str]", path: str) -> Finding | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    what = kind_of(status.st_mode)
    if what:
        return Finding(path, 0, 0, f"is {what}, not a file", "unknown segment")
    if not status.st_size:
        return Finding(path, 0, 0, "", "unknown segment", "empty: a crash came before it was recorded")
    return Finding(path, status.st_size, 0, "is a segment that the ledger does not have", "unknown segment")


def _surpluses(root: Path, folder: str, entries: Sequence["os.DirEntry[str]"]) -> dict[str, Finding]:
    """Return what is to be said of the surpluses of a log, by their names."""
    names = {entry.name: name for entry in entries if (name := surplus_name(entry.name))}
    found = compare_surpluses(root / folder, list(names)) if names else ()
    return {each.path.name: _surplus(f"{folder}/{each.path.name}", each, names[each.path.name]) for each in found}


def _surplus(path: str, found: ComparedSurplus, name: SurplusName) -> Finding:
    if found.error:
        return Finding(path, 0, 0, f"cannot be read: {cause_of(found.error)}", "surplus")
    if found.is_too_large:
        problem = "is a surplus that is too large to look for its lines in the segments"
        return Finding(path, found.size, 0, problem, "surplus")
    if found.missing and not name.is_unacked:
        problem = f"is a surplus with {found.missing} lines that are not stored elsewhere"
        return Finding(path, found.size, found.lines, problem, "surplus")
    what = f"with {found.missing} lines that were never acked" if found.missing else "whose lines are stored"
    return Finding(path, found.size, found.lines, "", "surplus", f"a surplus {what}")


def _foreign(entry: "os.DirEntry[str]", path: str, note: str = _FOREIGN) -> Finding:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return Finding(path, 0, 0, "", "foreign", note)
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    what = kind_of(status.st_mode)
    return Finding(path, size, 0, "", "foreign", f"{what}: {note}" if what else note)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:  # retention may have removed it
        yield from sorted(entries, key=lambda entry: entry.name)
