"""Selects the events to ship (`--include`, `--exclude-line`).

Patterns see the text of an event as it is in the file, with newlines between joined lines, and bytes that are not UTF-8
as lone surrogates.
"""

from collections.abc import Sequence
from itertools import compress

from logferry.rendering.engine.escape import WHITE_SPACE
from logferry.rendering.engine.user_patterns import compile_user_pattern


class EventFilter:
    """The filters of a source. Without patterns to include, the filter includes every event."""

    def __init__(self, *, include: Sequence[str], exclude: Sequence[str]) -> None:
        """Raises ValueError naming a pattern that is invalid."""
        self._include = [compile_user_pattern("include", pattern) for pattern in include]
        self._exclude = [compile_user_pattern("exclude", pattern) for pattern in exclude]

    def kept(self, events: list[str]) -> list[str]:
        """Return the blank events, and those that match a pattern to include but none to exclude."""
        if not self._include and not self._exclude:
            return events
        wanted = [not self._include] * len(events)
        for pattern in self._include:
            for index in compress(range(len(events)), pattern.find_each(events, too_slow=True)):
                wanted[index] = True
        for pattern in self._exclude:
            for index in compress(range(len(events)), pattern.find_each(events, too_slow=False)):
                wanted[index] = False
        return [event for event, is_wanted in zip(events, wanted, strict=True) if is_wanted or _is_blank(event)]


def _is_blank(event: str) -> bool:
    return not event.strip(WHITE_SPACE)
