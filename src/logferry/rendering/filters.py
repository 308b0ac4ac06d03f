"""Which events are shipped, and what is taken out of them (`--include`, `--exclude-line`, `--redact`).

Patterns see the text of an event as it is in the file, its joined lines with newlines between them. First the filters,
then redaction, in the order given; then the format. So no field, nor `raw`, keeps what was taken out. Bytes that are
not UTF-8 are lone surrogates to the patterns.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import WHITE_SPACE

REDACTED: Final = "[redacted]"


@dataclass(frozen=True, slots=True)
class Redaction:
    """What to look for, and how to take it out of a text in which it may be: returns the rest, and how many pieces.

    `search` looks at one event, quickly. With `spans_events` it may look at many at once: newlines do not matter to it.
    """

    search: Callable[[str], object]
    take_out: Callable[[str], tuple[str, int]]
    spans_events: bool = False


class Sieve:
    """The filters and redactions of a source."""

    def __init__(self, *, include: Sequence[str], exclude: Sequence[str], redact: Sequence[str]) -> None:
        """Raises ValueError that says which pattern is wrong."""
        self._include = [compiled("include", pattern) for pattern in include]
        self._exclude = [compiled("exclude", pattern) for pattern in exclude]
        self._redactions = [PRESETS.get(pattern) or _redaction(compiled("redact", pattern)) for pattern in redact]

    def filter(self, events: list[str]) -> list[str]:
        """Return the events that some pattern to include and none to exclude is found in, and the blank ones."""
        if not self._include and not self._exclude:
            return events
        wanted = [not self._include] * len(events)
        for pattern in self._include:
            for index in compress(range(len(events)), map(pattern.search, events)):
                wanted[index] = True
        for pattern in self._exclude:
            for index in compress(range(len(events)), map(pattern.search, events)):
                wanted[index] = False
        return [event for event, is_wanted in zip(events, wanted, strict=True) if is_wanted or _is_blank(event)]

    def redact(self, events: list[str]) -> int:
        """Take out of the events, in place, what is to be redacted; return how many pieces that was."""
        redacted = 0
        block = "\n".join(events)  # what is taken out leaves nothing that makes more of it
        for redaction in self._redactions:
            if redaction.spans_events and not redaction.search(block):
                continue
            for index in compress(range(len(events)), map(redaction.search, events)):
                events[index], count = redaction.take_out(events[index])
                redacted += count
        return redacted


def compiled(purpose: str, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Compile a pattern of the user's. Raises ValueError that says what is wrong with it."""
    try:
        return compile_pattern(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"cannot use {pattern!r} as a pattern ({purpose}): {error}") from error


def _is_blank(event: str) -> bool:
    return not event.strip(WHITE_SPACE)


def _redaction(pattern: re.Pattern[str], hint: Callable[[str], object] | None = None) -> Redaction:
    """Return the redaction of what a pattern matches. `hint` finds more, but more quickly, and never a newline."""

    def take_out(text: str) -> tuple[str, int]:
        count = sum(1 for match in pattern.finditer(text) if match[0])
        return pattern.sub(lambda match: REDACTED if match[0] else "", text), count

    return Redaction(hint or pattern.search, take_out, spans_events=hint is not None)


# Linear in the text: a run of letters is tried from its beginning only.
_EMAIL: Final = compile_pattern(r"(?<![\w.%+-])[\w.%+-]++@[\w-]++(?:\.[\w-]++)++")
_EMAIL_HINT: Final = compile_pattern(r"@[\w-]++\.[\w-]")

_BYTE: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4: Final = compile_pattern(rf"(?<![0-9])(?<![0-9]\.){_BYTE}(?:\.{_BYTE}){{3}}(?![0-9]|\.[0-9])")
_IPV4_HINT: Final = compile_pattern(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")

# RFC 6750, section 2.1.
_BEARER: Final = compile_pattern(r"(?i)\bbearer[ \t]++[A-Za-z0-9._~+/-]++=*+")

_DIGITS: Final = compile_pattern(r"[0-9](?:[ -]?[0-9]){12,}+")
_DIGIT_TO_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_MIN_CARD_DIGITS: Final = 13
_MAX_CARD_DIGITS: Final = 19


def _has_digits(text: str) -> bool:
    """Whether so many digits follow each other; ten times as fast as any pattern."""
    zeros = text.encode("utf-8", "surrogateescape").translate(_DIGIT_TO_ZERO, b" -")
    return b"0" * _MIN_CARD_DIGITS in zeros


def _without_cards(text: str) -> tuple[str, int]:
    """Take out card numbers: 13 to 19 digits, in groups or not, of which the last is right (ISO/IEC 7812, Luhn).

    They begin with 2 to 6, as those of the large networks do: with 1, every tenth time in milliseconds would be one.
    """
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        run, kept, position = match[0], [], 0
        while position < len(run):
            length = _card_at(run, position)
            count += bool(length)
            kept.append(REDACTED if length else run[position])
            position += length or 1
        return "".join(kept)

    return _DIGITS.sub(replace, text), count


def _card_at(run: str, start: int) -> int:
    """Return how many characters of `run`, digits with single separators, are a card number from `start` on; or 0."""
    if run[start] not in "23456" or run[max(start - 1, 0) : start].isdigit():
        return 0
    window = run[start : start + 2 * _MAX_CARD_DIGITS]
    digit_ends = [index + 1 for index, character in enumerate(window) if character.isdigit()]
    for count in range(min(_MAX_CARD_DIGITS, len(digit_ends)), _MIN_CARD_DIGITS - 1, -1):
        end = digit_ends[count - 1]
        if not window[end : end + 1].isdigit() and _is_luhn([int(window[place - 1]) for place in digit_ends[:count]]):
            return end
    return 0


def _is_luhn(digits: list[int]) -> bool:
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


PRESETS: Final = {
    "email": _redaction(_EMAIL, _EMAIL_HINT.search),
    "ipv4": _redaction(_IPV4, _IPV4_HINT.search),
    "card": Redaction(_has_digits, _without_cards, spans_events=True),
    "bearer": _redaction(_BEARER, lambda text: "bearer" in text.lower()),
}
