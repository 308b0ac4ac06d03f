"""Recognises that the ledger of a store is lost: there are segments, and no ledger that has any.

A server that began a new ledger beside them would store again all that its clients still have. So it does not start:
nothing is lost while clients wait, and somebody decides. There is no option to begin anew, because such an option would
stay in a unit file and decide the next time, too. Never writes.
"""

from pathlib import Path

from logferry.errors import StoreError
from logferry.server.storage.disk.content.segment_bytes import any_form
from logferry.server.storage.disk.files.regular import size_of
from logferry.server.storage.disk.files.segment_files import has_segments, segment_files
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.ledger import FILE_NAME, Ledger


def refuse_if_missing(data_dir: Path) -> None:
    """Raise StoreError if there are segments and no ledger. Raises OSError."""
    path = data_dir / FILE_NAME
    try:
        is_missing = size_of(path) == 0
    except FileNotFoundError:
        is_missing = True
    if is_missing and has_segments(data_dir / FOLDER_NAME):
        raise _lost(data_dir, "missing")


def refuse_if_empty(data_dir: Path, ledger: Ledger) -> None:
    """Raise StoreError if there are segments that were recorded, and the ledger has nothing. Raises OSError.

    A crash in the very first group leaves an empty ledger, too, and segments whose journals say that nothing is stored.
    """
    root = data_dir / FOLDER_NAME
    journals = JournalFiles(root)
    if ledger.is_empty and any(
        _was_recorded(root, f"{folder}/{name}", journals) for folder, name in segment_files(root)
    ):
        raise _lost(data_dir, "empty")


def _was_recorded(root: Path, segment: str, journals: JournalFiles) -> bool:
    """Whether a ledger has ever had bytes of a segment, as far as its journal says; one without a journal is older."""
    total = journals.total(segment)
    if total:
        return total.bytes > 0
    with any_form(root / segment) as content:
        return content.file_size > 0


def _lost(data_dir: Path, what: str) -> StoreError:
    return StoreError(
        f"the ledger {data_dir / FILE_NAME} is {what}, and there are segments in {data_dir / FOLDER_NAME}: with a new "
        "ledger, clients would store again what is there. `logferry fsck --rebuild` makes the ledger anew from the "
        "segments and their journals; to begin an empty store, move the folder of the segments away"
    )
