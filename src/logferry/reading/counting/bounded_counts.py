"""Counts of many things in bounded memory: exact as long as there are few of them, and then those of the most frequent.

When there are too many, the rarer half is forgotten. A thing that is forgotten and comes again begins at zero, so a
count may be too low; by how much at most is known (`missed`). Pure.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

Thing = TypeVar("Thing", bound=Hashable)


class BoundedCounts(Generic[Thing]):
    """Counts of at most `most` things. `missed` is how much lower than it was a count may be, 0 if all are exact."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[Thing, int] = {}
        self.missed = 0
        self.forgotten = 0  # the sum of the counts that were forgotten

    def add(self, thing: Thing, count: int = 1) -> None:
        """Count a thing once more, or `count` times."""
        self._counts[thing] = self._counts.get(thing, 0) + count
        if len(self._counts) > self._most:
            self._forget()

    def _forget(self) -> None:
        """Forget the rarer half. Those that remain may have been forgotten before."""
        before = sum(self._counts.values())
        *kept, (_, largest_forgotten) = self.most_common(self._most // 2 + 1)
        self._counts = dict(kept)
        self.missed += largest_forgotten
        self.forgotten += before - sum(self._counts.values())

    def most_common(self, count: int | None = None) -> list[tuple[Thing, int]]:
        """Return the most frequent things with their counts: the most frequent first, and of these the least one."""
        by_count: list[Any] = sorted(self._counts.items(), key=_rarity)
        return by_count[:count]

    @property
    def counts(self) -> Mapping[Thing, int]:
        """All counts that are known."""
        return self._counts


def _rarity(item: tuple[Any, int]) -> tuple[int, Any]:
    thing, count = item
    return -count, thing
