"""A reader in memory that counts what it is asked, for tests of who asks a reader, and when."""

import time
from collections.abc import Callable

from logferry.model.chunk import Chunk
from tests.support.memory_reader import MemoryReader
from tests.support.shipping import log_line


class AnnouncingReader(MemoryReader):
    """Has what `grow` appended once `poll` has seen it; or an endless file, with `is_endless`.

    With `is_deaf` it never takes an announcement: its descriptor stays readable.
    """

    def __init__(self, *, is_deaf: bool = False, is_endless: bool = False, patience_s: float = 0.0) -> None:
        super().__init__(patience_s=patience_s)
        self._is_deaf = is_deaf
        self._is_endless = is_endless
        self.polls = 0
        self.reads = 0

    def poll(self) -> None:
        self.polls += 1
        super().poll()
        if self._is_deaf:
            self._announcement.set()

    def read(self, *, max_lines: int | None) -> Chunk | None:
        self.reads += 1
        if self._is_endless:
            self._content.append(log_line(self.reads) * 1000)
        return super().read(max_lines=max_lines)


def rate_of(count: Callable[[], int], *, at_least: int) -> float:
    """Return how often a second something happens that is counted, observed until it has happened `at_least` times."""
    began, before = time.monotonic(), count()
    deadline = began + 15.0
    while (seen := count() - before) < at_least:
        assert time.monotonic() < deadline, f"only {seen} times"
        time.sleep(0.002)
    return (seen - 1) / (time.monotonic() - began)  # so many intervals lie between
