"""The patterns that users write (`--format regex:`, `--multiline`, `--include`, `--redact` ...): compiled and applied.

A pattern may take longer on one line than anybody can wait. A process that can stop it installs a `Watch`; this module
owns what then becomes of the line, by the purpose of the pattern: the line is never lost. Must never measure time.

A pattern that takes too long again and again is left out for a time. The producer of batches asks for such patterns
and renders without them (`RenderSpec.without`), so that the checkpoint says which bytes were rendered so.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from logferry.protocol.patterns import compile_pattern

Result = TypeVar("Result")

# What becomes of a line, for messages, by the purpose of the pattern that was stopped on it.
CONSEQUENCES: Final = {
    "include": "the event is shipped",
    "exclude": "the event is shipped",
    "redact": "all of the event is shipped as [redacted]",
    "multiline": "the line begins an event",
    "format regex": "all of the event is shipped as its message",
}


_NONE: Final[frozenset[str]] = frozenset()

# Whether this thread renders what was rendered before: then every pattern is applied, as the spec says.
_is_again: Final = ContextVar("_is_again", default=False)


class Watch(Protocol):
    """Applies a function, which uses a pattern, to each text."""

    @property
    def left_out(self) -> frozenset[str]:
        """The patterns that took too long so often that they are applied to nothing now."""

    def __call__(
        self, pattern: "UserPattern", function: Callable[[str], Result], texts: Sequence[str], too_slow: Result
    ) -> list[Result]:
        """Return the results in order, with `too_slow` for a text on which the function took too long.

        A pattern in `left_out` is applied all the same while `is_rendering_again`.
        """


class _Unwatched:
    """Lets every pattern take as long as it does."""

    left_out = _NONE

    def __call__(
        self, pattern: "UserPattern", function: Callable[[str], Result], texts: Sequence[str], too_slow: Result
    ) -> list[Result]:
        return list(map(function, texts))


@dataclass(slots=True)
class _Installed:
    """The watch of this process. Set before the first pattern is applied."""

    watch: Watch = field(default_factory=_Unwatched)


_installed: Final = _Installed()


def install_watch(watch: Watch | None) -> None:
    """Let `watch` apply all patterns from now on; None lets them take as long as they do."""
    _installed.watch = watch or _Unwatched()


def patterns_left_out() -> frozenset[str]:
    """Return the patterns that are left out now. Safe in any thread."""
    return _installed.watch.left_out


def is_rendering_again() -> bool:
    """Whether this thread renders what was rendered before."""
    return _is_again.get()


@contextmanager
def rendering_again() -> Iterator[None]:
    """Apply every pattern, as the spec says, inside a `with`: the spec of that range names those that were applied."""
    token = _is_again.set(True)
    try:
        yield
    finally:
        _is_again.reset(token)


class UserPattern:
    """A compiled pattern and its `purpose`. Each method takes texts and returns as many results, in their order."""

    def __init__(self, purpose: str, pattern: re.Pattern[str]) -> None:
        self.purpose = purpose
        self.compiled = pattern

    @property
    def groupindex(self) -> dict[str, int]:
        """The named groups, with their numbers."""
        return dict(self.compiled.groupindex)

    def find_each(self, texts: Sequence[str], *, too_slow: bool) -> Sequence[object]:
        """Return for each text something true if the pattern is found in it."""
        search: Callable[[str], object] = self.compiled.search
        return self.apply(search, texts, too_slow)

    def begin_each(self, texts: Sequence[str]) -> Sequence[object]:
        """Return for each text something true if the pattern matches at its beginning, or takes too long."""
        match: Callable[[str], object] = self.compiled.match
        return self.apply(match, texts, True)

    def match_each(self, texts: Sequence[str]) -> Sequence[re.Match[str] | None]:
        """Return the match of each whole text; None also if the pattern takes too long."""
        return self.apply(self.compiled.fullmatch, texts, None)

    def apply(self, function: Callable[[str], Result], texts: Sequence[str], too_slow: Result) -> list[Result]:
        """Return the results of a function that uses the pattern; `too_slow` where it takes too long."""
        return _installed.watch(self, function, texts, too_slow)


def compile_user_pattern(purpose: str, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> UserPattern:
    """Compile a pattern. If the pattern is invalid, raises ValueError with the reason and the `purpose`."""
    try:
        return UserPattern(purpose, compile_pattern(pattern, flags))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"cannot use {pattern!r} as a pattern ({purpose}): {error}") from error
