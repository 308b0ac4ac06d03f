"""Reads a followed name when its turn comes: one chunk, from the oldest of its files that has one.

Owns how the end of a file is read: whether the file is final, and whether its last event is complete. Must never wait.
"""

from collections.abc import Callable
from typing import Final

from logferry.client.readers.follow.abandonment import Abandonment
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.name import FollowedName
from logferry.client.readers.follow.followed.registry import Registry
from logferry.client.readers.follow.truncation import Truncations
from logferry.errors import SourceError
from logferry.model.chunk import Chunk

# A file that is truncated faster than it is read keeps other files waiting for at most this many attempts.
_MAX_ATTEMPTS: Final = 3


class NameReader:
    """Reads names, one chunk at a time. Used by the reading thread only."""

    def __init__(
        self, registry: Registry, truncations: Truncations, abandonment: Abandonment, clock: Callable[[], float]
    ) -> None:
        self._registry = registry
        self._truncations = truncations
        self._abandonment = abandonment
        self._clock = clock

    def read(self, name: FollowedName, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk, from the oldest file that has one."""
        self._abandonment.release_finished(name)
        chunk = self._read(name, max_lines)
        self._registry.note_attention(name)
        return chunk

    def _read(self, name: FollowedName, max_lines: int | None) -> Chunk | None:
        """Return the next chunk; when a file has started over, the rest of its earlier content comes first."""
        for _ in range(_MAX_ATTEMPTS):
            is_fine = self._truncations.act(name)
            is_fine &= self._truncations.decide_on_suspects(name)
            chunk, has_started_over = self._read_oldest(name, max_lines, is_fine=is_fine)
            if not has_started_over:
                return chunk
        name.seen = None  # so that the next sweep checks the name in any case
        return None

    def _read_oldest(self, name: FollowedName, max_lines: int | None, *, is_fine: bool) -> tuple[Chunk | None, bool]:
        """Return the next chunk or None, and whether a file turned out to have started over."""
        for file in [file for file in name.files if self._may_be_read(name, file)]:
            starts = len(file.overwritten)
            try:
                chunk = self._read_file(name, file, max_lines)
            except (SourceError, OSError) as error:
                self._registry.note_failure(file, error)
                is_fine = False
                continue
            if len(file.overwritten) > starts:
                return None, True
            if chunk is not None:
                file.quiet_since = self._clock()
                return chunk, False
        if is_fine:
            name.file_problem = ""
        return None, False

    @staticmethod
    def _may_be_read(name: FollowedName, file: FollowedFile) -> bool:
        """Whether it is clear what a file is, and the next check finds nothing that must be read before it.

        When content appears in an empty file, the check looks for copies of what the file held in between.
        """
        is_blank = file is name.newest and not (file.has_been_seen or file.is_archive)
        return not (file.is_suspect or is_blank)

    def _read_file(self, name: FollowedName, file: FollowedFile, max_lines: int | None) -> Chunk | None:
        quiet_s = self._clock() - file.quiet_since
        is_final = file is name.files[0] and self._abandonment.is_abandoned(file)
        name.input.prepare(file, ends=is_final)
        is_settled = quiet_s >= name.input.settings.multiline_timeout
        chunk = file.read(max_lines=max_lines, is_final=is_final, is_settled=is_settled)
        self._registry.losses.extend(file.lost)
        file.lost.clear()
        return chunk
