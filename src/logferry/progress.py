"""How far a piece of work has come: the thread that works counts, another one looks whenever it likes."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work has come. Of work that is not measured in bytes, `total_bytes` is 0."""

    done_bytes: int = 0
    total_bytes: int = 0
    done_files: int = 0
    total_files: int = 0


@dataclass(slots=True)
class Tally:
    """Counts files and bytes. Each number is one value, so that another thread may look at any moment."""

    total_bytes: int = 0
    total_files: int = 0
    done_bytes: int = 0
    done_files: int = 0
    _position: Callable[[], int] | None = None

    def begin(self, position: Callable[[], int]) -> None:
        """Begin a file; `position` returns how many of its bytes are read."""
        self._position = position

    def end(self, size: int = 0) -> None:
        """End a file of this size."""
        self._position = None
        self.done_bytes += size
        self.done_files += 1

    def look(self) -> Progress:
        """Return how far the work has come."""
        position = self._position
        done = self.done_bytes + (position() if position else 0)
        return Progress(min(done, self.total_bytes), self.total_bytes, self.done_files, self.total_files)
