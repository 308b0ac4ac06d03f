"""A reader that announces its chunks through a descriptor, and counts what it is asked."""

import threading
import time
from collections.abc import Callable, Sequence

from logferry.client.files.line_reader import SourceFile
from logferry.client.net.wakeup import Wakeup
from logferry.model.chunk import Chunk
from logferry.model.file_report import FileReport
from logferry.model.loss import Loss
from logferry.model.source import Source
from tests.support.shipping import log_line


class AnnouncingReader:
    """Has what `grow` appended once `poll` has taken the news of it; or an endless file, with `is_endless`.

    With `is_deaf` it never takes the news: its descriptor stays readable.
    """

    def __init__(self, *, is_deaf: bool = False, is_endless: bool = False, patience_s: float = 0.0) -> None:
        self._source = Source("app.log")
        self._news = Wakeup()
        self._is_deaf = is_deaf
        self._is_endless = is_endless
        self._lock = threading.Lock()
        self._unseen = b""
        self._seen = b""
        self._offset = 0
        self.polls = 0
        self.reads = 0
        self.revision = 0
        self.patience_s = patience_s
        self.is_finished = False
        self.is_busy = False
        self.is_draining = False
        self.problems: Sequence[str] = ()

    @property
    def wake_fds(self) -> Sequence[int]:
        return (self._news.fileno(),)

    def grow(self, data: bytes) -> None:
        """Append to the file, and announce it."""
        with self._lock:
            self._unseen += data
        self._news.set()

    def poll(self) -> None:
        self.polls += 1
        if not self._is_deaf:
            self._news.clear()
        with self._lock:
            self._seen, self._unseen = self._seen + self._unseen, b""

    def read(self, *, max_lines: int | None) -> Chunk | None:
        self.reads += 1
        data, self._seen = self._seen, b""
        if self._is_endless:
            data = log_line(self.reads) * 1000
        if not data:
            return None
        start, self._offset = self._offset, self._offset + len(data)
        return Chunk(self._source, start, self._offset, data)

    def stop(self) -> None:
        self.is_finished = True

    def take_losses(self) -> list[Loss]:
        return []

    def rewind(self, source: Source, offset: int | None, *, one_by_one_until: int = 0) -> None:
        raise AssertionError("nothing is sent back")

    def duplicate(self, source: Source) -> SourceFile | None:
        return None

    def close(self) -> None:
        self._news.close()

    def report(self) -> list[FileReport]:
        return []


def rate_of(count: Callable[[], int], *, at_least: int) -> float:
    """Return how often a second something happens that is counted, observed until it has happened `at_least` times."""
    began, before = time.monotonic(), count()
    deadline = began + 15.0
    while (seen := count() - before) < at_least:
        assert time.monotonic() < deadline, f"only {seen} times"
        time.sleep(0.002)
    return (seen - 1) / (time.monotonic() - began)  # so many intervals lie between
