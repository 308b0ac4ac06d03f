"""What the lines of a file show of its format (`--format auto`; docs/protocol.md, rules F13, F55 and F56).

The first lines choose a format. The following ones may change that once, at a place that depends on the lines alone.
Owns how far the lines of a file were looked at: a reader goes no further while the choice is open, so that no line is
rendered by what was chosen without it. Must never hold lines between two looks, nor look at a line twice.
"""

import sys
from typing import Final

from logferry.client.files.content.holes import NUL
from logferry.client.files.lines.text_file import TextFile
from logferry.rendering.detect import FALLBACK, SAMPLE_LINES, Tally, chosen, recogniser, telling_text
from logferry.rendering.engine.escape import BOM

# The lines within this many bytes are a sample, even if there are fewer than SAMPLE_LINES. Lines may be long: container
# runtimes split lines at 16 KiB.
_SAMPLE_BYTES: Final = 64 * 1024

# After the sample, the choice is tried on this many lines, or on those within this many bytes.
TRIAL_LINES: Final = 200
_TRIAL_BYTES: Final = 1024 * 1024

# How much is read at once. Most samples and trials are smaller.
_LOOK_BYTES: Final = 64 * 1024

# How much of a hole is read at once, as for passing it.
_HOLE_BYTES: Final = 32 * 1024 * 1024


def formats_shown(file: TextFile, *, levels: tuple[str, ...], strips_ansi: bool) -> list[str]:
    """Return every format that lines of a file may have been rendered in, whichever of them were there at that time.

    Raises OSError.
    """
    choice, shown, looked = FormatChoice(file, levels=levels, strips_ansi=strips_ansi), dict[str, None](), -1
    while not choice.sample_is_whole and choice.until != looked:
        looked = choice.until
        choice.look(file, max_lines=1)
        shown[choice.format or FALLBACK] = None
    choice.look(file, ends=True)
    return list(dict.fromkeys((*shown, choice.format or FALLBACK, choice.later)))


class FormatChoice:
    """The choice for one source, as far as its lines were looked at. The reading thread uses it.

    `format` is None if the lines fit no format. `until` is the end of the last line that was looked at. From
    `changes_at` on, `later` is the format. `is_final` says that no later line makes a difference.
    """

    __slots__ = (
        *("_fits", "_hole_end", "_levels", "_strips_ansi", "_taken", "_tally", "_texts", "_window_end"),
        *("announced", "changes_at", "encoding", "format", "is_final", "later", "sample_is_whole", "source", "until"),
    )

    def __init__(self, file: TextFile, *, levels: tuple[str, ...] = (), strips_ansi: bool = False) -> None:
        """Begin with the first line of the file."""
        self.source = file.source
        self.encoding = file.encoding
        self.format: str | None = None
        self.until = file.text_begin
        self.changes_at: int | None = None
        self.later = FALLBACK
        self.sample_is_whole = self.is_final = False
        self.announced = ""  # for the owner
        self._levels, self._strips_ansi = levels, strips_ansi
        self._window_end = self.until + _SAMPLE_BYTES
        self._hole_end = 0  # the NULs at `until` reach at least this far
        self._texts: list[str] = []  # of the sample, during a look
        self._taken = 0  # lines that are not blank: of the sample, then of the trial
        self._tally = Tally(levels)  # of the sample, then of the lines of the trial that `format` does not fit
        self._fits = 0

    @property
    def has_lines(self) -> bool:
        """Whether a line that is not blank was looked at."""
        return self.sample_is_whole or self._taken > 0

    def at(self, offset: int) -> tuple[str, int, bool]:
        """Return the format at an offset, up to where it is known to hold, and whether another one begins there."""
        if self.changes_at is None:
            return self.format or FALLBACK, sys.maxsize if self.is_final else self.until, False
        if offset < self.changes_at:
            return self.format or FALLBACK, self.changes_at, True
        return self.later, sys.maxsize, False

    def look(
        self, file: TextFile, *, limit: int = sys.maxsize, ends: bool = False, max_lines: int | None = None
    ) -> None:
        """Look at the lines that the file has now, before `limit`; `ends` says that it will have no others.

        Raises OSError.
        """
        while lines := self._next_lines(file, limit, ends=ends):
            for line in lines[:max_lines]:
                self._take(line, file.length_of(line))
                if self.is_final:
                    break
            if max_lines is not None:
                break
        if self._texts:
            self._choose()

    def _take(self, line: bytes, length: int) -> None:
        """Take a line in, given without its newline; at the end of a file, it may have none."""
        is_first, self.until = not self.until, self.until + length
        line = line.lstrip(NUL)
        text = telling_text(line.removeprefix(BOM) if is_first else line, strips_ansi=self._strips_ansi)
        self._taken += bool(line.strip())
        if self.sample_is_whole:
            self._try(text)
            return
        if text:
            self._texts.append(text)
        if self._taken == SAMPLE_LINES:
            self._end_sample()

    def _choose(self) -> None:
        """Choose by the sample so far. Most samples are whole at the first look: then nothing need be counted."""
        if self._tally.lines or not (self.sample_is_whole or self.is_final):
            self._tally.add(self._texts)
            self.format = self._tally.chosen()
        else:
            self.format = chosen(self._texts, self._levels)
        self._texts.clear()

    def _end_sample(self) -> None:
        self.sample_is_whole = True
        self._choose()
        self._taken, self._tally = 0, Tally(self._levels)
        self._window_end = self.until + _TRIAL_BYTES

    def _try(self, text: str) -> None:
        """Try the choice on a line after the sample."""
        if text and recogniser(self.format or FALLBACK, self._levels)(text):
            self._fits += 1
        elif text:
            self._tally.add([text])
        if self._taken == TRIAL_LINES or 2 * max(self._fits, self._tally.lines - 1) >= TRIAL_LINES:
            self._end_trial()

    def _end_trial(self) -> None:
        """Keep the choice, or change it: if it fits less than half of the lines, and fewer than another one does."""
        self.is_final = True
        better = self._tally.chosen() if self._fits < self._tally.lines else None
        if better and better != (self.format or FALLBACK) and self._tally.count(better) > self._fits:
            self.changes_at, self.later = self.until, better

    def _next_lines(self, file: TextFile, limit: int, *, ends: bool) -> list[bytes]:
        """Return whole lines from `until` on; none if there are no others now, or if the choice is final."""
        while not self.is_final:
            data, is_all = self._peek(file, limit)
            whole = file.lines_end(data, self.until) or (len(data) if is_all and ends else 0)
            if whole:
                return file.lines_of(data[:whole], self.until)
            if is_all:
                self.is_final = ends
                return []
            if self.sample_is_whole:
                self._end_trial()
            else:
                self._end_sample()
        return []

    def _peek(self, file: TextFile, limit: int) -> tuple[bytes, bool]:
        """Return bytes from `until` on, a whole line if there is one, and whether these are all that there are now."""
        is_all = True
        for size in (_LOOK_BYTES, _TRIAL_BYTES):
            wanted = min(size, self._window_end - self.until, limit - self.until)
            data = file.peek(self.until, wanted) if wanted > 0 else b""
            if file.begins_with_nul(data, self.until):
                return self._peek(file, limit) if self._pass_hole(file) else (b"", True)
            is_all = len(data) < wanted or self.until + wanted >= limit
            if is_all or file.lines_end(data, self.until):
                break
        return data, is_all

    def _pass_hole(self, file: TextFile) -> bool:
        """Go behind the NULs at `until`; False if no text follows yet, so that text may still be written over them."""
        while True:
            end, has_text = file.end_of_whole_nuls(max(self.until, self._hole_end), max_read=_HOLE_BYTES)
            has_moved, self._hole_end = end > self._hole_end, end
            if has_text:
                self._window_end += end - self.until
                self.until = end
                return True
            if not (has_moved and end < file.offset):
                return False
