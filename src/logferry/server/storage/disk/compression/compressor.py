"""The thread that compresses closed segments, one after the other, oldest first.

Owns the choice and the pace. A segment has its turn once nobody writes to it any more: it is closed, all of its bytes
are synced, its journal is complete, and no damage of it is known. At its start the thread settles what a crash has left
(segment_forms.py). A segment that fails is left for an hour, and the others have their turn; a full disk or a failing
ledger stops all. It takes at most a share of one processor, in pieces of a few milliseconds, and holds Python's lock
for little of that; it reads and writes when nobody else uses the disk. It keeps its priority for the processor: while
it held Python's lock and was not scheduled, no other thread could run.

Must never hold a transaction of the ledger, or the lock of the forms, while it compresses.
"""

import errno
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from logferry.errors import StoreError, cause_of
from logferry.printable import printable, quoted
from logferry.server.storage.disk.compression.segment_forms import SegmentForms
from logferry.server.storage.disk.content.codecs import Codec, codec_of
from logferry.server.storage.disk.content.copies import CannotBeCompressed
from logferry.server.storage.disk.files.segment_names import FOLDER_NAME
from logferry.server.storage.disk.journals.journal_files import JournalFiles
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.records import Compression, SegmentRow
from logferry.telemetry.log_limits import RateLimit, RepeatLimit
from logferry.worker import Worker

logger = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
_RETRY_S: Final = 60.0  # after a failure of the disk or of the ledger
_LEAVE_S: Final = 3600.0  # a segment that cannot be compressed

# Failures that the next segment would meet, too.
_OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_SHARE: Final = 0.25  # of a processor

# Between two segments: small ones cost the disk more than the processor.
_PAUSE_S: Final = 0.05

_ROWS: Final = 50  # of the ledger that are read at a time
_MESSAGES_PER_SECOND: Final = 10


class _Stopped(Exception):
    """The thread was asked to stop in the middle of a segment."""


class Compressor:
    """The thread that compresses. `compression` is replaced by any thread; the counters are written by this one."""

    def __init__(
        self,
        data_dir: Path,
        forms: SegmentForms,
        compression: Compression,
        *,
        unsettled: Sequence[int] = (),
        look_s: float = _LOOK_S,
        share: float = _SHARE,
    ) -> None:
        """`unsettled` are the numbers of segments that have another file than the ledger says, or an unfinished one."""
        self._data_dir = data_dir
        self._root = data_dir / FOLDER_NAME
        self._forms = forms
        self._compression = compression
        self._unsettled = list(unsettled)
        self._settle_at = 0.0
        self._look_s = look_s
        self._share = share
        self._used_s = 0.0  # of the processor, when the thread began to wait last
        self._left: dict[int, float] = {}  # segments that cannot be compressed, until when
        self._failures = RepeatLimit(logger)
        self._failures_of_one = RepeatLimit(logger)
        self._log = RateLimit(logger, per_second=_MESSAGES_PER_SECOND, what="segments that were compressed")
        self.plain_bytes = 0  # of segments that were compressed since the start
        self.stored_bytes = 0  # of their files
        self._worker = Worker(self._run, name="logferry-compressor")

    def start(self) -> None:
        """Begin to compress."""
        self._worker.start()

    def ask_to_stop(self) -> None:
        """Ask the thread to end."""
        self._worker.ask_to_stop()

    def stop(self, timeout_s: float) -> bool:
        """Stop within a member; return whether the thread has ended in time."""
        self._worker.ask_to_stop()
        return self._worker.wait_for_end(timeout_s)

    def change(self, compression: Compression) -> None:
        """Compress in another way from now on; "" for not at all. What is compressed stays as it is."""
        self._compression = compression
        self._left = {}
        self._worker.wake()

    def _run(self, worker: Worker) -> None:
        while not worker.is_stopping:
            wait_s = self._look_s
            try:
                self._settle()
                self._compress_all()
            except _Stopped:
                break
            except (OSError, StoreError) as error:
                self._log_failure(error)
                wait_s = _RETRY_S
            except Exception:  # the top of a worker: a bug here must not end the server
                logger.exception("compressing segments has failed; none is compressed any more until the next start")
                break
            worker.wait(wait_s)
        self._log.flush()

    def _settle(self) -> None:
        if not self._unsettled or time.monotonic() < self._settle_at:
            return
        self._unsettled = [segment for segment in self._unsettled if not self._is_settled(segment)]
        self._settle_at = time.monotonic() + _LEAVE_S

    def _is_settled(self, segment: int) -> bool:
        """Settle a segment; return whether that is done."""
        row = self._row(segment)
        try:
            if row and row.state != "expired":
                with self._forms.lock:
                    self._forms.remove_unfinished(row)
                    if row.state == "closed":
                        self._forms.settle(row, self._pace)
        except OSError as error:
            self._leave_one(error)
            return False
        return True

    def _compress_all(self) -> None:
        after, now = 0, time.monotonic()
        self._left = {segment: until for segment, until in self._left.items() if until > now}
        while self._compression and (rows := self._candidates(after)):
            codec = codec_of(self._compression)
            journals = JournalFiles(self._root)
            for row in rows:
                if self._compression != codec.name:
                    break
                if row.id not in self._left and journals.agrees(row):
                    self._compress(row, codec)
                    self._failures.all_over("segments are compressed again")
                    self._worker.wait(_PAUSE_S)
                    self._pace()
            after = rows[-1].id

    def _compress(self, row: SegmentRow, codec: Codec) -> None:
        try:
            with self._forms.lock:
                row = self._forms.settle(row, self._pace)
            if row.compression:
                return
            after = self._forms.compress(row, codec, self._pace)
        except (CannotBeCompressed, FileNotFoundError):
            after = None
        except OSError as error:
            self._leave_one(error)
            after = None
        if after is None:  # it would not be smaller, it is damaged, which is for scrub to say, or it is gone
            self._left[row.id] = time.monotonic() + _LEAVE_S
            return
        self.plain_bytes += row.bytes
        self.stored_bytes += after.stored_bytes
        message = "compressed %s: %d bytes, %d before"
        self._log.log(logging.DEBUG, message, quoted(str(self._root / row.path)), after.stored_bytes, row.bytes)

    def _candidates(self, after: int) -> Sequence[SegmentRow]:
        ledger = Ledger(self._data_dir, durable=False, read_only=True)
        try:
            return ledger.to_compress(after=after, limit=_ROWS)
        finally:
            ledger.close()

    def _row(self, segment: int) -> SegmentRow | None:
        ledger = Ledger(self._data_dir, durable=False, read_only=True)
        try:
            return ledger.segment(segment)
        finally:
            ledger.close()

    def _pace(self) -> None:
        """Wait so long that the share holds for what was done since the last wait."""
        used = time.thread_time() - self._used_s
        end = time.monotonic() + used * (1 - self._share) / self._share
        while not self._worker.is_stopping and (left := end - time.monotonic()) > 0:
            self._worker.wait(left)
        if self._worker.is_stopping:
            raise _Stopped
        self._used_s = time.thread_time()

    def _leave_one(self, error: OSError) -> None:
        """Log why a segment is left for later. Raises the error if the others would fail, too."""
        if error.errno in (None, *_OF_THE_DISK):  # None: of the ledger
            raise error
        cause = cause_of(error, with_path=True)
        message = "cannot compress a segment, trying again in an hour; it stays as it is: %s"
        self._failures_of_one.log(logging.WARNING, cause, message, printable(cause))

    def _log_failure(self, error: OSError | StoreError) -> None:
        cause = cause_of(error, with_path=True) if isinstance(error, OSError) else str(error)
        message = "cannot compress segments, trying again in a minute; they stay as they are: %s"
        self._failures.log(logging.WARNING, cause, message, printable(cause))
