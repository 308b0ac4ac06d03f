"""Compares a file with the extents that servers have of it, piece by piece, each rendered again as it was sent.

Owns how the file is read meanwhile: once, and again what several servers have. Must never ask a server.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from logferry.client.files.lines.line_reader import SourceFile
from logferry.client.proof.lines import Run
from logferry.client.proof.verdict import Doubled, Range, Verdict
from logferry.client.readers.rerender import Renderings, Rerendered, rerender, rerender_as_stored
from logferry.protocol.messages.reports import Extent, RecordedLoss

CHANGED: Final = "the file has changed since it was shipped"


@dataclass(slots=True)
class Comparison:
    """Reads through a file, and records what it finds in a verdict. `line` is the last line that was read.

    `server_of` names the server that has an extent; `elsewhere` are ranges that a server says are in another store.
    """

    file: SourceFile
    renderings: Renderings
    verdict: Verdict
    server_of: Callable[[Extent], str]
    elsewhere: Sequence[RecordedLoss] = ()
    line: int = 0
    runs: list[Run] = field(default_factory=list)
    read: list[Extent] = field(default_factory=list)  # that reach behind the beginning of the present one

    def compare(self, extent: Extent) -> None:
        """Compare the next extent with the file."""
        file = self.file
        self.read = [each for each in self.read if each.end > extent.start]
        if extent.start < file.offset:
            self._compare_again(extent)
            return
        self.expect_nothing(extent.start, "not on the server")
        self.read.append(extent)
        before = self.line
        found = self._note(self._as_stored(extent))
        self._judge(extent, found, before)

    def _judge(self, extent: Extent, found: Rerendered, before: int) -> None:
        """Record whether the server has what an extent renders to; `before` is the line before it."""
        verdict = self.verdict
        where, lines = (extent.start, extent.end, extent.lines), (before + 1, self.line)
        if extent.state == "missing":
            verdict.missing.append(Range(*where, f"the server's segment is gone ({extent.segment})", *lines))
        elif extent.state == "unreadable":
            verdict.missing.append(Range(*where, f"on the server {extent.segment} {extent.problem}", *lines))
        elif extent.state == "expired":
            verdict.expired.append(Range(*where, f"deleted by the server's retention ({extent.segment})", *lines))
        elif extent.state == "altered":
            verdict.altered.append(Range(*where, f"changed on the server's disk ({extent.segment})", *lines))
            self._add_to_run(extent, before + 1)
        elif (found.lines, found.crc32) != (extent.lines, extent.crc32):
            verdict.altered.append(Range(*where, CHANGED, *lines))
            self._add_to_run(extent, before + 1)
        else:
            verdict.stored += extent.lines

    def _compare_again(self, extent: Extent) -> None:
        """Compare an extent whose beginning was read before: another server has that, too, or the same one twice."""
        file = self.file
        at = file.offset
        doubled = list(self._doubled(extent, min(extent.end, at)))
        if not doubled:
            self.verdict.repeated += extent.lines
            return
        self.verdict.doubled += doubled
        self.read.append(extent)
        file.rewind(extent.start)
        whole = self._as_stored(extent)
        before = self.line
        file.rewind(at)
        rest = self._rerender(extent.end) if extent.end > at else Rerendered()
        is_there = extent.state == "ok" and (whole.lines, whole.crc32) == (extent.lines, extent.crc32)
        if is_there:
            self.verdict.stored += rest.lines
        else:
            self._judge(extent, whole, before)

    def _doubled(self, extent: Extent, end: int) -> Iterator[Doubled]:
        """Yield what other servers have of an extent up to `end`, in pieces that the same servers have."""
        server = self.server_of(extent)
        borders = {extent.start, end, *(border for each in self.read for border in (each.start, each.end))}
        inside = sorted(border for border in borders if extent.start <= border <= end)
        for first, last in pairwise(inside):
            others = {self.server_of(each) for each in self.read if each.start <= first and last <= each.end}
            if others - {server}:
                lines = self._render_apart(first, last).lines
                yield Doubled(first, last, lines, (*sorted(others - {server}), server))

    def _render_apart(self, start: int, end: int) -> Rerendered:
        self.file.rewind(start)
        return rerender(self.file, end, self.renderings)

    def expect_nothing(self, end: int, reason: str) -> None:
        """Read on to `end`, where only blank lines and known losses are expected; record other lines as missing."""
        start, before = self.file.offset, self.line
        if start >= end:
            return
        found = self._rerender(end)
        if found.lines and not _are_in(start, end, (*self.verdict.losses, *self.verdict.skipped)):
            known = next((each.reason for each in self.elsewhere if each.start < end and each.end > start), reason)
            self.verdict.missing.append(Range(start, end, found.lines, known, before + 1, self.line))

    def _as_stored(self, extent: Extent) -> Rerendered:
        """Render an extent from its beginning, where the file is."""
        return rerender_as_stored(self.file, extent.end, self.renderings, (extent.lines, extent.crc32))

    def _rerender(self, end: int) -> Rerendered:
        return self._note(rerender(self.file, end, self.renderings))

    def _note(self, found: Rerendered) -> Rerendered:
        self.verdict.lines += found.lines
        self.verdict.filtered += found.filtered
        self.verdict.nuls += found.nuls
        self.line += found.file_lines
        return found

    def _add_to_run(self, extent: Extent, first_line: int) -> None:
        """Note an extent that does not agree; neighbours are compared together, since lines may have moved."""
        if not self.runs or self.runs[-1].extents[-1].end != extent.start:
            self.runs.append(Run(first_line))
        self.runs[-1].extents.append(extent)


def _are_in(start: int, end: int, losses: Iterable[RecordedLoss]) -> bool:
    """Whether every byte from `start` to `end` is in one of `losses`."""
    for loss in sorted(losses, key=lambda loss: loss.start):
        if loss.start <= start:
            start = max(start, loss.end)
    return start >= end
