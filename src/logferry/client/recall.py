"""Which file is which: a file that was shipped before is recognised by device, inode and content, whatever its name.

The content decides: the hash of a source's first bytes and of the last bytes before its checkpoint must be those of
the file. A recycled inode, or a file that was rewritten in place, is seen by that and becomes a new source. When it was
rewritten because somebody has copied and then truncated it (copytruncate of logrotate), the source goes on in the copy.
"""

import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from logferry.client.checkpoint import Checkpoint, Checkpoints, fingerprint
from logferry.client.source_file import Source, SourceFile
from logferry.errors import SourceError

logger = logging.getLogger(__name__)


class Recall:
    """Recognises files with the help of the checkpoints of earlier runs."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._copied: set[str] = set()  # sources that go on in a copy of their file

    def recognise(self, file: SourceFile) -> None:
        """Let `file` go on from its checkpoint, if there is one for it."""
        matching = [checkpoint for checkpoint in self._checkpoints if is_same_file(file, checkpoint)]
        if not matching:
            matching = [checkpoint for checkpoint in self._checkpoints if self._is_continued_in(file, checkpoint)]
            self._copied.update(checkpoint.id for checkpoint in matching)
        if matching:
            self._resume(file, max(matching, key=lambda checkpoint: checkpoint.seen_at))

    def rotated(self, path: Path) -> list[Path]:
        """Return the files that had the name `path` while the client was not running, oldest first.

        They are the files that a checkpoint knows, wherever in the folder they are now, and files that are named like
        rotated ones and were written after those.
        """
        unfinished = [
            checkpoint
            for checkpoint in self._checkpoints
            if checkpoint.path == str(path) and not checkpoint.is_finished
        ]
        if not unfinished:
            return []
        known = [
            (status.st_mtime_ns, entry, status_identity(status))
            for entry, status in _files_in(path.parent)
            if any(_is_known(entry, status, checkpoint) for checkpoint in unfinished)
        ]
        files = [entry for _, entry, _ in sorted(known)]
        if path in files:  # it was not rotated since; an older one may have been left behind
            return [entry for entry in files if entry != path]
        last_seen_ns = int(max(checkpoint.seen_at for checkpoint in unfinished) * 1e9)
        since_ns = max(known)[0] if known else last_seen_ns
        return files + rotated_since(path, since_ns, {identity for _, _, identity in known})

    def _is_continued_in(self, file: SourceFile, checkpoint: Checkpoint) -> bool:
        """Whether a file is the copy that was made (copytruncate) before the original was truncated."""
        original = Path(checkpoint.path)
        return (
            not checkpoint.is_finished
            and checkpoint.committed > 0
            and checkpoint.id not in self._copied
            and file.path.parent == original.parent
            and _rotated_name(original).fullmatch(file.path.name) is not None
            and _has_content(file, checkpoint)
            and _is_rewritten(original, checkpoint)
        )

    def _resume(self, file: SourceFile, checkpoint: Checkpoint) -> None:
        source = Source(
            checkpoint.path,
            checkpoint.id,
            *file.identity,
            committed=checkpoint.committed,
            lines=checkpoint.lines,
            crc32=checkpoint.crc32,
            tail=file.peek(checkpoint.committed - checkpoint.tail_bytes, checkpoint.tail_bytes),
            plain_until=checkpoint.plain_until,
        )
        file.resume(source)
        self._checkpoints.follow(source)
        logger.info("%s is known; going on at byte %d", file.path, source.committed)


def is_same_file(file: SourceFile, checkpoint: Checkpoint) -> bool:
    """Whether a file is the one that a checkpoint was made of."""
    return file.identity == (checkpoint.device, checkpoint.inode) and _has_content(file, checkpoint)


def _has_content(file: SourceFile, checkpoint: Checkpoint) -> bool:
    if file.size() < checkpoint.committed:
        return False
    head = file.peek(0, checkpoint.head_bytes)
    tail = file.peek(checkpoint.committed - checkpoint.tail_bytes, checkpoint.tail_bytes)
    return fingerprint(head) == checkpoint.head and fingerprint(tail) == checkpoint.tail


def _is_known(path: Path, status: os.stat_result, checkpoint: Checkpoint) -> bool:
    if status_identity(status) != (checkpoint.device, checkpoint.inode):
        return False
    try:
        file = SourceFile(path, max_line_bytes=1)
    except (OSError, SourceError):
        return False
    try:
        return is_same_file(file, checkpoint)
    finally:
        file.close()


def _is_rewritten(path: Path, checkpoint: Checkpoint) -> bool:
    """Whether the file that a checkpoint was made of has its name still, but not its content."""
    try:
        status = path.stat()
    except OSError:
        return False
    return status_identity(status) == (checkpoint.device, checkpoint.inode) and not _is_known(path, status, checkpoint)


def rotated_since(path: Path, since_ns: int, exclude: set[tuple[int, int]]) -> list[Path]:
    """Return files beside `path` that are named like rotated ones of it and were written at `since_ns` or later.

    `exclude` are the (device, inode) of files that are known already.
    """
    pattern = _rotated_name(path)
    found = [
        (status.st_mtime_ns, entry)
        for entry, status in _files_in(path.parent)
        if pattern.fullmatch(entry.name) and status.st_mtime_ns >= since_ns and status_identity(status) not in exclude
    ]
    return [entry for _, entry in sorted(found)]


def status_identity(status: os.stat_result) -> tuple[int, int]:
    """Return what identifies a file while it exists."""
    return status.st_dev, status.st_ino


def _rotated_name(path: Path) -> re.Pattern[str]:
    """Match `app.log.1`, `app.log-20240115`, `app-2024-01-15.log`, `app.1.log`; not what is compressed or edited."""
    stamp = r"[.-][0-9][0-9T:_.-]*"
    return re.compile(f"{re.escape(path.name)}{stamp}|{re.escape(path.stem)}{stamp}{re.escape(path.suffix)}")


def _files_in(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        logger.debug("cannot list %s: %s", folder, error.strerror)
        return
    for entry in entries:
        try:
            status = entry.stat()
        except OSError:
            continue  # gone since
        if stat.S_ISREG(status.st_mode):
            yield Path(entry.path), status
