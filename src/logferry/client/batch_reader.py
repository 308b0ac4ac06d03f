"""Reads what is there, to the end that it has at the start of the run."""

from collections.abc import Sequence
from pathlib import Path

from logferry.client.reader import FileReport, out_of_reach
from logferry.client.recall import Recall
from logferry.client.source_file import Chunk, Lost, Source, SourceFile
from logferry.errors import SourceError


class BatchReader:
    """Reads one file to the size it has when this object is made: from its beginning, or from where `recall` knows."""

    def __init__(self, path: Path, *, max_line_bytes: int, recall: Recall | None = None) -> None:
        """Open the file. Raises SourceError."""
        try:
            self._file = SourceFile(path, max_line_bytes=max_line_bytes)
        except FileNotFoundError:
            raise SourceError(str(path), "no such file") from None
        if recall:
            recall.recognise(self._file)
        self._end = self._file.size()
        self._lost: list[Lost] = []

    @property
    def is_finished(self) -> bool:
        """Whether the size at start is reached, or the rest is lost."""
        return self._file.offset >= self._end

    @property
    def is_busy(self) -> bool:
        """A file that is there is never waited for."""
        return not self.is_finished

    @property
    def wake_fds(self) -> Sequence[int]:
        """Nothing is waited for."""
        return ()

    def poll(self) -> None:
        """Nothing that happens to the name matters: the open file is what is shipped."""

    def read(self, *, max_lines: int | None) -> Chunk | None:
        """Return the next chunk; a last line without newline is a line."""
        if self.is_finished:
            return None
        source, offset = self._file.source, self._file.offset
        chunk = self._file.read(limit=self._end, is_final=True, max_lines=max_lines)
        if chunk is None and not self._file.is_scanning:
            self._lost.append(Lost(source, offset, self._end, "truncated or rewritten while it was read"))
            self._end = 0
        return chunk

    def take_lost(self) -> list[Lost]:
        """Return what the file lost while it was read."""
        lost, self._lost = self._lost, []
        return lost

    def send_back(self, source: Source, offset: int | None, one_by_one_until: int) -> None:
        """See Reader."""
        if source is self._file.source:
            self._file.read_again(offset, one_by_one_until=one_by_one_until)
        else:
            self._lost += out_of_reach(source, offset)

    def twin(self, source: Source) -> SourceFile | None:
        """See Reader."""
        return self._file.twin() if source is self._file.source else None

    def close(self) -> None:
        """Release the file."""
        self._file.source.is_finished = self.is_finished
        self._file.close()

    def report(self) -> list[FileReport]:
        """See Reader."""
        file, source = self._file, self._file.source
        return [
            FileReport(
                source.path,
                str(file.path),
                source.id,
                *file.identity,
                size=self._end,
                offset=file.offset,
                committed=source.committed,
            )
        ]
