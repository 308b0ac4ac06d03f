"""Who waits with a question, and who is next: in turn, or, where answers may take long, who has cost little first.

Owns the order, and how much time answers have taken lately, by client and by source. A client that asks about a small
file does not wait for many that have large ones read again and again, whatever ids these give themselves. Must never
leave a client out: now and then, the one that waits longest is next, whatever it has cost.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar

# After this time, half of a cost is forgotten.
_HALF_LIFE_S: Final = 30.0

# Clients and sources whose costs are remembered; those that cost something longest ago are forgotten first.
_MAX_KEYS: Final = 4096

# Up to which cost, in seconds, askers are on the same level. Pages of small sources take milliseconds, and one page
# reads up to 64 MiB.
_LEVELS: Final = (0.03, 0.15, 0.6, 2.4, 10.0)

# Of this many answers, one goes to the asker that waits longest.
_OLDEST_IN: Final = 8


class Asker(Protocol):
    """A client that waits with a question."""

    @property
    def cost_keys(self) -> Sequence[tuple[str, str]]:
        """To what the cost of the answer is charged."""


T = TypeVar("T", bound=Asker)


class InTurn(Generic[T]):
    """Askers in the order in which they came."""

    def __init__(self) -> None:
        self._askers: dict[T, None] = {}

    def __bool__(self) -> bool:
        return bool(self._askers)

    def add(self, asker: T) -> None:
        """Have an asker wait, if it does not yet."""
        self._askers[asker] = None

    def discard(self, asker: T) -> None:
        """Have an asker wait no more."""
        self._askers.pop(asker, None)

    def first(self) -> T:
        """Return who is next; it still waits."""
        return next(iter(self._askers))

    def note_cost(self, keys: Sequence[tuple[str, str]], seconds: float) -> None:
        """Ignore what an answer has cost."""


class CheapFirst(Generic[T]):
    """Askers by what their answers have cost: levels, each in the order in which they came."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._costs: dict[tuple[str, str], tuple[float, float]] = {}  # seconds, and when
        self._levels: list[dict[T, None]] = [{} for _ in range(len(_LEVELS) + 1)]
        self._answers = 0

    def __bool__(self) -> bool:
        return any(self._levels)

    def add(self, asker: T) -> None:
        """See InTurn; likewise below."""
        if not any(asker in level for level in self._levels):
            self._levels[self._level_of(asker)][asker] = None

    def discard(self, asker: T) -> None:
        for level in self._levels:
            level.pop(asker, None)

    def first(self) -> T:
        """Return who is next; an asker that has cost more than when it came waits with its like."""
        if self._answers % _OLDEST_IN == _OLDEST_IN - 1:
            return next(chain.from_iterable(reversed(self._levels)))
        for number, level in enumerate(self._levels):
            while level:
                asker = next(iter(level))
                if (now_on := self._level_of(asker)) <= number:
                    return asker
                del level[asker]
                self._levels[now_on][asker] = None
        raise LookupError("nobody waits")

    def note_cost(self, keys: Sequence[tuple[str, str]], seconds: float) -> None:
        """Charge what an answer has cost."""
        self._answers += 1
        for key in keys:
            cost = self._cost_of(key) + seconds
            self._costs.pop(key, None)
            self._costs[key] = cost, self._now()
        while len(self._costs) > _MAX_KEYS:
            del self._costs[next(iter(self._costs))]

    def _level_of(self, asker: T) -> int:
        cost = max(map(self._cost_of, asker.cost_keys))
        return sum(cost > most for most in _LEVELS)

    def _cost_of(self, key: tuple[str, str]) -> float:
        cost, at = self._costs.get(key, (0.0, 0.0))
        return cost * 0.5 ** ((self._now() - at) / _HALF_LIFE_S) if cost else 0.0
