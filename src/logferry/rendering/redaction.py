"""Replaces pieces of events before they are shipped (`--redact`), using built-in patterns and those of the user.

A redactor sees the text of an event as it is in the file, after the filters and before the format. Neither a field nor
`raw` must ever contain what was replaced. Patterns see bytes that are not UTF-8 as lone surrogates.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress, groupby
from typing import Final

from logferry import speedups
from logferry.protocol.patterns import compile_pattern
from logferry.rendering.engine.escape import NEWLINE
from logferry.rendering.engine.events import joined_texts, texts_of
from logferry.rendering.engine.user_patterns import UserPattern, compile_user_pattern

REDACTED: Final = "[redacted]"


@dataclass(frozen=True, slots=True)
class Redaction:
    """One pattern: a quick search, and the replacement, each for several events.

    `find_each` finds every event that may contain something to replace, and perhaps others. `is_in`, if there is one,
    searches many events in one text, because it ignores newlines. `replace_each` returns each text with the pieces
    replaced, and the number of pieces. `name` is what the compiled part calls the redaction, if it has it.
    """

    find_each: Callable[[Sequence[str]], Iterable[object]]
    replace_each: Callable[[Sequence[str]], Iterable[tuple[str, int]]]
    is_in: Callable[[str], object] | None = None
    name: str = ""


class Redactor:
    """The redactions of a source, in the order in which the user gave them."""

    def __init__(self, redact: Sequence[str]) -> None:
        """`redact` holds names of built-in redactions, or patterns. Raises ValueError naming an invalid one."""
        self._redactions = [BUILT_IN.get(name) or _of_user(compile_user_pattern("redact", name)) for name in redact]

    def redact(self, events: list[str]) -> int:
        """Replace pieces of the events, in place; return the number of pieces."""
        return _redact(self._redactions, events)

    def redact_joined(self, data: bytes, inner_newline: bytes) -> tuple[bytes, int]:
        """Do the same to joined events, one per line; return them, and the number of pieces."""
        redacted = 0
        for is_compiled, redactions in groupby(self._redactions, lambda one: bool(speedups.compiled and one.name)):
            if is_compiled:
                for redaction in redactions:
                    data, count = _redact_compiled(redaction, data, inner_newline)
                    redacted += count
            else:
                events = texts_of(data, inner_newline)
                redacted += _redact(redactions, events)
                data = joined_texts(events, inner_newline)
        return data, redacted


def _redact(redactions: Iterable[Redaction], events: list[str]) -> int:
    redacted = 0
    block = "\n".join(events)  # remains valid: a replacement never creates a new match
    for redaction in redactions:
        if redaction.is_in and not redaction.is_in(block):
            continue
        found = list(compress(range(len(events)), redaction.find_each(events)))
        replaced = redaction.replace_each([events[index] for index in found])
        for index, (text, count) in zip(found, replaced, strict=True):
            events[index] = text
            redacted += count
    return redacted


def _redact_compiled(redaction: Redaction, data: bytes, inner_newline: bytes) -> tuple[bytes, int]:
    """Redact in the compiled part, except for events that it leaves to Python."""
    assert speedups.compiled
    data, redacted, left = speedups.compiled.redact(data, redaction.name)
    if not left:
        return data, redacted
    pieces, done = list[bytes](), 0
    for start, end in left:
        events = texts_of(data[start:end] + NEWLINE, inner_newline)
        redacted += _redact([redaction], events)
        pieces += data[done:start], joined_texts(events, inner_newline)[:-1]
        done = end
    return b"".join([*pieces, data[done:]]), redacted


def _of_user(pattern: UserPattern) -> Redaction:
    """Return the redaction of what a pattern of the user matches: everything, if that takes too long."""
    replace = partial(_replace, pattern.compiled)
    return Redaction(
        lambda events: pattern.find_each(events, too_slow=True),
        lambda events: pattern.apply(replace, events, (REDACTED, 1)),
    )


def _built_in(name: str, replace: Callable[[str], tuple[str, int]], hint: Callable[[str], object]) -> Redaction:
    """Return a redaction whose functions take time in proportion to the text. `hint` ignores newlines."""
    return Redaction(partial(map, hint), partial(map, replace), hint, name)


def _replace(pattern: re.Pattern[str], text: str) -> tuple[str, int]:
    count = sum(1 for match in pattern.finditer(text) if match[0])
    return pattern.sub(lambda match: REDACTED if match[0] else "", text), count


# Linear in the text: a match can only start at the beginning of a run of these characters.
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
    """Whether a text has enough digits in a row for a card number. Ten times as fast as any pattern."""
    zeros = text.encode("utf-8", "surrogateescape").translate(_DIGIT_TO_ZERO, b" -")
    return b"0" * _MIN_CARD_DIGITS in zeros


def _without_cards(text: str) -> tuple[str, int]:
    """Replace card numbers: 13 to 19 digits, in groups or not, with a valid check digit (ISO/IEC 7812, Luhn).

    They begin with 2 to 6, as those of the large networks do. If 1 counted as well, one in ten timestamps in
    milliseconds would pass for a card number.
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
    """Return the length of the card number at `start` of `run`, digits with single separators; 0 if there is none."""
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


BUILT_IN: Final = {
    redaction.name: redaction
    for redaction in (
        _built_in("email", partial(_replace, _EMAIL), _EMAIL_HINT.search),
        _built_in("ipv4", partial(_replace, _IPV4), _IPV4_HINT.search),
        _built_in("card", _without_cards, _has_digits),
        _built_in("bearer", partial(_replace, _BEARER), lambda text: "bearer" in text.lower()),
    )
}
