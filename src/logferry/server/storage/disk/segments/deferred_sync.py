"""Deferred sync: small writes to many segments are durable in the ledger first, and synced in their segments later.

A sync waits for the disk, and a thousand sources have a thousand segments: a group that synced each of them would take
seconds. When a group writes little to each of many segments, the store does not sync them (segments.py decides). The
transaction that records the group also puts the bytes into the ledger's table `unsynced`, with one sync.

Layout: a row of `unsynced` has the number of a segment, a position in it, and the bytes at that position. A thread
syncs these segments every few seconds, earlier after about 16 MiB, and only then deletes the rows. After a power cut,
segments may lack the bytes of such rows, or hold zeros instead. Recovery writes the bytes again, syncs the segments,
and deletes the rows. A segment that is too short even for that was damaged by something else, and stays as it is.
"""

import errno
import logging
import os
import threading
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Final

from logferry.errors import cause_of
from logferry.printable import printable
from logferry.server.storage.disk.files.file_system import FileSystem, for_each, naming
from logferry.server.storage.disk.files.regular import GONE, open_file
from logferry.server.storage.disk.files.segment_forms import forms_of
from logferry.server.storage.disk.files.segment_names import folders_down_to
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import SegmentRow, UnsyncedRow
from logferry.telemetry.log_limits import RepeatLimit
from logferry.worker import Worker

logger = logging.getLogger(__name__)

# Long enough that one sync covers many writes to a segment, short enough that the ledger stays small.
SYNC_INTERVAL_S: Final = 5.0
SYNC_AT_BYTES: Final = 16 * 1024 * 1024


def sync_deferred(
    root: Path, ledger: Ledger, files: FileSystem, *, rewrites: bool = False, synced_names: Container[int] = ()
) -> Sequence[int]:
    """Sync all segments whose bytes the ledger keeps, then delete the bytes; return the segments' numbers.

    Raises OSError. What has no file to be in stays in the ledger, until a start can write it.

    With `rewrites`, the bytes are first written again, whatever the segments seem to hold. `synced_names` are segments
    whose names are known to be on the disk, so their folders need no sync.
    """
    last, segments = ledger.unsynced_segments()
    if not last:
        return ()
    present = [segment for segment in segments if segment.state != "expired"]
    kept: list[int] = []
    if rewrites:
        kept = [row.id for row in present if not _is_rewritten(root, row, ledger.unsynced_of(row.id, last=last), files)]
        present = [segment for segment in present if segment.id not in kept]
    new = {os.path.dirname(segment.path) for segment in present if segment.id not in synced_names}
    folders = {folder for path in new for folder in folders_down_to(root, path)} | ({root.parent} if new else set())

    def sync(segment: SegmentRow) -> None:
        if not _is_synced(root / segment.path, files):
            kept.append(segment.id)

    for_each(sync, present)
    for_each(lambda folder: _sync_folder(folder, files), sorted(folders, reverse=True))
    with ledger.transaction():
        ledger.forget_unsynced(last, kept=kept)
    return [segment.id for segment in present]


def _is_rewritten(root: Path, segment: SegmentRow, pieces: list[UnsyncedRow], files: FileSystem) -> bool:
    """Write pieces again; return False if that must wait, because something else has the name of a file or folder."""
    path = root / segment.path
    try:
        if not forms_of(path):
            for folder in folders_down_to(root, os.path.dirname(segment.path)):
                files.make_folder(folder)
        _rewrite(path, pieces, files)
    except OSError as error:
        if error.errno not in (*GONE, errno.EBADMSG):
            raise
        message = "cannot write %s again: %s; what may be missing there stays in the ledger until a start can write it"
        logger.error(message, path, cause_of(error))
        return False
    return True


def recover_deferred(root: Path, ledger: Ledger, files: FileSystem) -> int:
    """Rewrite bytes that segments may have lost in a power cut, and sync; return how many segments. Raises OSError."""
    segments = ledger.unsynced_segments()[1]
    sync_deferred(root, ledger, files, rewrites=True)
    return len(segments)


def _rewrite(path: Path, pieces: list[UnsyncedRow], files: FileSystem) -> None:
    """Write pieces at their positions. A file that ends before a piece is damaged, and stays as it is.

    What was compressed was synced before: then the ledger is an older copy.
    """
    if not os.path.lexists(path) and forms_of(path):
        return
    with naming(path):
        descriptor = files.open_for_rewriting(path)
        try:
            for piece in pieces:
                if os.fstat(descriptor).st_size < piece.position:
                    logger.error(
                        "%s is damaged: it ends before byte %d, and more was stored after that; see `logferry fsck`",
                        *(path, piece.position),
                    )
                    return
                files.write_at(descriptor, piece.data, piece.position)
        finally:
            os.close(descriptor)


def _is_synced(path: Path, files: FileSystem) -> bool:
    """Sync a file; return False if it was removed, or if something else has the name of it or of its folder."""
    with naming(path):
        try:
            descriptor = open_file(path)
        except OSError as error:
            if error.errno in (*GONE, errno.EBADMSG):
                return any(forms_of(path))  # compressed since this copy of the ledger was made
            raise
        try:
            files.sync(descriptor)
        finally:
            os.close(descriptor)
    return True


def _sync_folder(folder: Path, files: FileSystem) -> None:
    with naming(folder):
        try:
            files.sync_folder(folder)
        except OSError as error:
            if error.errno not in GONE:
                raise


class DeferredSync:
    """The thread that syncs what was deferred.

    The writer thread calls `add`; the thread that opens and closes the store calls `start` and `stop`. `_waiting_bytes`
    is an estimate that both the writer and this thread write: a lost update only moves one sync. Everything else
    belongs to this thread.
    """

    def __init__(self, data_dir: Path, root: Path, files: FileSystem, *, interval_s: float = SYNC_INTERVAL_S) -> None:
        self._data_dir = data_dir
        self._root = root
        self._files = files
        self._interval_s = interval_s
        self._synced_names: set[int] = set()  # segments
        self._waiting_bytes = 0
        self._has_work = threading.Event()
        self._must_hurry = threading.Event()
        self._failures = RepeatLimit(logger)
        self._worker = Worker(self._run, name="logferry-deferred-sync", on_stop=self._sync_now)

    def start(self) -> None:
        """Begin to sync."""
        self._worker.start()

    def add(self, size: int) -> None:
        """Note that the ledger keeps another `size` bytes. Never waits."""
        self._waiting_bytes += size
        if self._waiting_bytes > SYNC_AT_BYTES:
            self._must_hurry.set()
        self._has_work.set()

    def _sync_now(self) -> None:
        self._must_hurry.set()
        self._has_work.set()

    def stop(self, timeout_s: float) -> None:
        """Sync what is left, for at most `timeout_s`; the next start of the server syncs what remains."""
        self._worker.stop(timeout_s)

    def _run(self, worker: Worker) -> None:
        try:
            self._sync_until_stopped(worker)
        except Exception:  # the top of a worker; acked lines stay safe in the ledger
            logger.exception(
                "deferred sync has failed: the newest lines of many segments stay in the ledger until the next start"
            )

    def _sync_until_stopped(self, worker: Worker) -> None:
        ledger = Ledger(self._data_dir, durable=True)
        try:
            has_failed = False
            is_last = False
            while not is_last:
                self._has_work.wait()
                self._must_hurry.wait(self._interval_s)
                self._has_work.clear()
                self._must_hurry.clear()
                self._waiting_bytes = 0
                is_last = worker.is_stopping
                has_failed = not self._try_to_sync(ledger, has_failed=has_failed)
                if has_failed:
                    self._has_work.set()
        finally:
            ledger.close()

    def _try_to_sync(self, ledger: Ledger, *, has_failed: bool) -> bool:
        """Sync. After a failed sync the system may have dropped the bytes, so rewrite them (see group_commit.py)."""
        try:
            synced = sync_deferred(
                self._root, ledger, self._files, rewrites=has_failed, synced_names=self._synced_names
            )
            self._synced_names.update(synced)
        except OSError as error:
            cause = cause_of(error, with_path=True)
            self._failures.log(
                *(logging.ERROR, cause),
                "cannot sync %s: trying again; the newest lines of many segments stay in the ledger until then",
                printable(cause),
            )
            return False
        self._failures.all_over("deferred sync works again")
        return True
