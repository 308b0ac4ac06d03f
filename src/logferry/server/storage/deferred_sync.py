"""Small writes to many segments: safe in the ledger at once, on the disk in their segments a little later.

A sync of a file waits for the disk, and a thousand sources have a thousand segments: a group that waited for each of
them would take seconds. So what a group writes to many segments, little to each, is not synced there. The same bytes go
into the ledger, in the transaction that says that they are stored, and the one sync of that puts them on the disk. The
segments hold them too, for everybody who reads them.

A thread of its own syncs those segments, every few seconds while there are any; only then are the bytes taken out of
the ledger. What a power cut takes from a segment before that is written there again at the next start. The thread
shares nothing with the writer but the ledger, through a connection of its own.
"""

import logging
import os
import threading
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Final

from logferry.server.storage.file_system import FileSystem, for_each, naming
from logferry.server.storage.ledger import Ledger, UnsyncedRow

logger = logging.getLogger(__name__)

# Long enough that a segment has many writes to sync at once; but the ledger is not to become large meanwhile.
SETTLE_S: Final = 5.0
SETTLE_BYTES: Final = 16 * 1024 * 1024


def settle(
    root: Path, ledger: Ledger, files: FileSystem, *, rewrites: bool = False, has_name: Container[int] = ()
) -> Sequence[int]:
    """Sync all segments of which the ledger keeps bytes, then let these go; return their numbers. Raises OSError.

    With `rewrites` the bytes are written once more, whatever the segments seem to hold. Segments that `has_name` has
    were synced before, and so were their names in their folders.
    """
    last, segments = ledger.unsynced_segments()
    if not last:
        return ()
    present = [segment for segment in segments if segment.state != "expired"]
    if rewrites:
        for segment in present:
            _write(root / segment.path, ledger.unsynced_of(segment.id, last=last), files)
    paths = [root / segment.path for segment in present]
    new = [(root / segment.path).parent for segment in present if segment.id not in has_name]
    folders = {*new, *(folder.parent for folder in new), *([root, root.parent] if new else [])}
    for_each(lambda path: _sync(path, files), paths)
    for_each(lambda folder: _sync_folder(folder, files), sorted(folders, reverse=True))
    with ledger.transaction():
        ledger.forget_unsynced(last)
    return [segment.id for segment in present]


def restore(root: Path, ledger: Ledger, files: FileSystem) -> int:
    """At a start: write again what a power cut may have taken from segments, and sync it; return of how many.

    Raises OSError.
    """
    segments = ledger.unsynced_segments()[1]
    for segment in segments:
        folder = (root / segment.path).parent
        for path in (root, folder.parent, folder):
            files.make_folder(path)
    settle(root, ledger, files, rewrites=True)
    return len(segments)


def _write(path: Path, pieces: list[UnsyncedRow], files: FileSystem) -> None:
    """Write pieces where they belong. A file that lacks what is before them was damaged by somebody, and stays so."""
    with naming(path):
        descriptor = files.open_for_rewriting(path)
        try:
            for piece in pieces:
                if os.fstat(descriptor).st_size < piece.position:
                    logger.error("%s lacks bytes before byte %d, where more was stored", path, piece.position)
                    return
                files.write_at(descriptor, piece.data, piece.position)
        finally:
            os.close(descriptor)


def _sync(path: Path, files: FileSystem) -> None:
    """Sync a file; one that somebody has removed has nothing to sync."""
    with naming(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            files.sync(descriptor)
        finally:
            os.close(descriptor)


def _sync_folder(folder: Path, files: FileSystem) -> None:
    with naming(folder):
        try:
            files.sync_folder(folder)
        except FileNotFoundError:
            return


class Settler:
    """The thread. `wake` says that the ledger keeps something; `stop` settles it a last time."""

    def __init__(self, data_dir: Path, root: Path, files: FileSystem, *, interval_s: float = SETTLE_S) -> None:
        self._data_dir = data_dir
        self._root = root
        self._files = files
        self._interval_s = interval_s
        self._has_name: set[int] = set()  # segments
        self._waiting_bytes = 0  # about
        self._news = threading.Event()
        self._hurry = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="logferry-settler", daemon=True)

    def start(self) -> None:
        """Begin to settle what there is, and what comes."""
        self._thread.start()

    def wake(self, size: int) -> None:
        """There are so many bytes more to settle. Never waits."""
        self._waiting_bytes += size
        if self._waiting_bytes > SETTLE_BYTES:
            self._hurry.set()
        self._news.set()

    def stop(self, timeout_s: float) -> None:
        """Settle what is left, within `timeout_s`; what remains is done at the next start."""
        self._is_stopping = True
        self._hurry.set()
        self._news.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._settle_until_stopped()
        except Exception:  # the top of a worker; what is acked is safe all the same, in the ledger
            logger.exception("segments are not synced any more: their newest lines stay in the ledger until a restart")

    def _settle_until_stopped(self) -> None:
        ledger = Ledger(self._data_dir, durable=True)
        try:
            has_failed = False
            is_last = False
            while not is_last:
                self._news.wait()
                self._hurry.wait(self._interval_s)
                self._news.clear()
                self._hurry.clear()
                self._waiting_bytes = 0
                is_last = self._is_stopping
                has_failed = not self._try_to_settle(ledger, has_failed=has_failed)
                if has_failed:
                    self._news.set()
        finally:
            ledger.close()

    def _try_to_settle(self, ledger: Ledger, *, has_failed: bool) -> bool:
        """After a failed sync the system may have dropped the bytes: they are written again (see store.py)."""
        try:
            done = settle(self._root, ledger, self._files, rewrites=has_failed, has_name=self._has_name)
            self._has_name.update(done)
        except OSError as error:
            if not has_failed:
                logger.error("cannot sync segments, their newest lines stay in the ledger: %s", error)
            return False
        return True
