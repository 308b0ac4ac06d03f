"""Judges whether a file repeats what is read of another one, which still exists: a copy with a name of its own.

`cp app.log app.log0` beside the pattern `app.log*` makes a file whose lines are all stored already. Another
program's file may begin with the same lines, so only this counts: the whole file, once it has settled, is the beginning
of the other one, byte for byte, which is acked that far and is shipped by the same settings. Then its lines are stored,
and later lines are the file's own. Must only return a verdict, never act on it: truncation.py does.
"""

from collections.abc import Iterator
from typing import Final

from logferry.client.files.identity import LEAST_PROOF_BYTES, begins_alike
from logferry.client.readers.follow.followed.copies import SkipTo, Wait
from logferry.client.readers.follow.followed.file import FollowedFile
from logferry.client.readers.follow.followed.registry import Registry

# Two files are compared in pieces of this size, and no further than this in one look: other files are waiting.
_PIECE_BYTES: Final = 256 * 1024
_BYTES_PER_LOOK: Final = 16 * 1024 * 1024


class Repetitions:
    """Judges suspects whose names only begin like those of other files. Used by the reading thread only."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def original_of(self, suspect: FollowedFile) -> FollowedFile | None:
        """Return a file that seems to begin with all bytes of a suspect, judging by both ends. Raises OSError."""
        size = suspect.size()
        if size < LEAST_PROOF_BYTES:
            return None
        return next((file for file in self._originals(suspect) if _begins_with(file, suspect, size)), None)

    def judge(self, suspect: FollowedFile, original: FollowedFile) -> SkipTo | Wait | None:
        """Judge a suspect that has settled; None if the original does not begin with all of it. Raises OSError.

        A last line without its end may go on in another way: it is the suspect's own.
        """
        self._registry.owner(suspect).input.prepare_lines(suspect)
        end = suspect.end_of_lines()
        if end < LEAST_PROOF_BYTES:
            return None
        same_until = self._compared(suspect, original, suspect.size())
        if same_until is None:
            return None
        return SkipTo(end) if same_until == suspect.size() and original.source.committed >= end else Wait()

    def _originals(self, suspect: FollowedFile) -> Iterator[FollowedFile]:
        """Yield the files that are read whole, by the settings of the suspect, and whose name its name begins with."""
        settings = self._registry.owner(suspect).input.settings
        for name in self._registry.namesakes(suspect):
            if name.input.settings == settings:
                for file in (*reversed(name.files), *reversed(name.resting)):
                    if file is not suspect and not (file.is_suspect or file.overwritten or file.source.asked_from):
                        yield file

    def _compared(self, suspect: FollowedFile, original: FollowedFile, size: int) -> int | None:
        """Compare a little more of two files; return how far they are the same, None if they are not."""
        source, begin = suspect.same_until
        if source != original.source.id:
            begin = 0
        end = min(size, begin + _BYTES_PER_LOOK)
        for at in range(begin, end, _PIECE_BYTES):
            length = min(_PIECE_BYTES, end - at)
            if suspect.peek(at, length) != original.peek(at, length):
                return None
        suspect.same_until = (original.source.id, end)
        return end


def _begins_with(original: FollowedFile, suspect: FollowedFile, size: int) -> bool:
    head = original.source.head[:size]  # in memory: most files differ here
    try:
        return suspect.peek(0, len(head)) == head and original.size() >= size and begins_alike(suspect, original, size)
    except OSError:
        return False
