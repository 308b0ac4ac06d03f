r"""The layouts of plain lines: where programs put timestamp and level (docs/protocol.md, rules F40 to F42).

    2026-03-04 11:12:13 INFO message                          the level right after the timestamp
    [2026-03-04T11:12:13,456][WARN ][logger] message          in brackets, before a colon, between bars, in colour
    [11:12:13 INF] message                                    in the brackets of the timestamp
    2026-03-04 11:12:13,456 [main] ERROR logger - message     after the thread, the process, the logger, ...
    WARNING:root:message                                      at the beginning of the line
    I, [2026-03-04T11:12:13.456789 #811]  INFO -- : message   and a few that are like no other

A timestamp with which the line begins is taken out with its brackets and the separator after it, and so is a level
right after it. All else is copied, and the message is the rest of the line, as it was written.

Each pattern has two spellings, of the same meaning: for the text of a line, and for text escaped for JSON.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from logferry.rendering.engine.fields import Field, always_null, of_each, text, text_or_null
from logferry.rendering.engine.levels import LevelPatterns, level_of_token
from logferry.rendering.engine.line_format import LineKind
from logferry.rendering.engine.timestamps import DATE_AHEAD, DATE_AND_TIME, ONLY_BEFORE_A_LEVEL


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How plain or escaped text spells what differs. `end` looks ahead for the end of a line."""

    tab: str
    escape: str
    newline: str
    end: str
    rest: str
    escaped_character: str

    def without(self, excluded: str) -> str:
        """Return a pattern for characters of one line except these, as in a character class; for use in a group."""
        backslash = r"\\" if self.escaped_character else ""
        return rf"[^{excluded}{backslash}\n]++{self.escaped_character}"


_TEXT: Final = _Spelling(r"\t", r"\x1b", r"\n", r"(?=\n|\Z)", r".*+", "")
_ESCAPED: Final = _Spelling(r"\\t", r"\\u001b", r"\\n", r"(?=\n|\\n)", r"[^\n]*+", r"|\\[^n\n]")

# Words without what JSON escapes, so that they are the same in both spellings.
_NAME: Final = "[0-9A-Za-z_./$-]++"
_IDENTIFIER: Final = "[0-9A-Za-z_$/-]++"
_ANY_WORD: Final = r"[!#-\[\]-{}~]++"
_TIMESTAMP: Final = rf"(?:{DATE_AND_TIME}|{ONLY_BEFORE_A_LEVEL})"


class _Layouts:
    """The patterns of the layouts, in one spelling."""

    def __init__(self, spelling: _Spelling, levels: LevelPatterns) -> None:
        self._spelling = spelling
        self._levels = levels
        colour = rf"{spelling.escape}\[[0-9;]*+m"
        self._colours = rf"(?:{colour})*+"
        self._gap = rf"(?: |{spelling.tab}|{colour})*+"
        self._blank_or_end = rf"(?:(?= |{spelling.tab})|{spelling.end})"
        self._level = self._any_level()
        self._context = self._any_context()
        self._rest = rf"(?P<message>{spelling.rest})"
        self._after_level = rf"{self._colours}(?: |{spelling.tab}|{spelling.newline})?+"

    def _any_level(self) -> str:
        """Return the pattern of a level with what marks it: brackets, a colon, or at least capitals."""
        levels, spelling = self._levels, self._spelling
        no_slash = rf"(?:{spelling.without('][/')})++"
        ends = rf"(?:(?=[ \[|]|{spelling.tab}|{spelling.escape})|{spelling.end})"
        return (
            rf"(?:\[{self._gap}(?:[0-9A-Za-z_]*+:)?+{levels.in_brackets}[0-9]?+{self._gap}\]:?+"
            rf"|<{levels.in_brackets}>|\[{no_slash}/{levels.capitals}\]:?+"
            rf"|{levels.before_colon}:{self._blank_or_end}|{levels.capitals_before_colon}:(?![:/])"
            rf"|{levels.capitals}{ends})"
        )

    def _any_context(self) -> str:
        """Return what may stand between a timestamp and a level: the thread, the process, the logger, ..."""
        without = self._spelling.without
        pieces = (
            rf"(?=[A-Za-z])[0-9A-Za-z_-]++\.(?={self._levels.capitals}:)",
            rf"\[(?:{without('][')}|\[(?:{without('][')})*+\])*+\]:?+",
            *(rf"\{begin}(?:{without(begin + end)})*+\{end}" for begin, end in ("()", "{}", "<>")),
            rf"#?+[0-9]++(?:[:/][0-9]++)?+{self._blank_or_end}",
            rf"(?:-{{1,3}}+|:){self._blank_or_end}|\|",
            rf"[0-9A-Za-z_.-]++@[0-9A-Za-z_.-]++{self._blank_or_end}",
            rf"(?=[A-Za-z_$]){_IDENTIFIER}(?:(?:\.|::){_IDENTIFIER})++(?::[0-9]++)?+:?+{self._blank_or_end}",
            rf"(?:{_NAME} (?=[0-9A-Za-z]))?+{_NAME} *+\[[0-9]++\]:",
            rf"{_ANY_WORD}(?= (?:--?+|\|) )",
            r"(?:(?<=\|)|(?<=\| ))[ !#-\[\]-{}~]{1,64}+\|",
        )
        return rf"(?:(?!{self._level})(?:{'|'.join(pieces)}){self._gap}){{0,8}}+"

    def _timestamp(self, pattern: str) -> str:
        """Return the pattern of a timestamp with which a line begins, perhaps in brackets."""
        return rf"{self._colours}(?P<bracket>\[)?+(?P<timestamp>{pattern})(?(bracket)\])"

    def right_after(self) -> str:
        """Return the pattern of lines with a level right after the timestamp."""
        spelling, gap = self._spelling, self._gap
        separator = rf"(?:{gap}(?:--?+|[|:,;]){gap}|(?=[ \[]|{spelling.tab}|{spelling.escape}){gap})"
        head = self._timestamp(_TIMESTAMP)
        small = rf"{self._levels.small}{self._blank_or_end}"
        return rf"{head}{separator}(?P<word>{self._level}|{small}){self._after_level}{self._rest}"

    def in_its_brackets(self) -> str:
        """Return the pattern of lines with a level in the brackets of the timestamp."""
        level = rf"(?P<word>{self._levels.in_brackets})"
        return rf"{self._colours}\[(?P<timestamp>{_TIMESTAMP}):?+ {self._gap}{level}\]{self._after_level}{self._rest}"

    def _narrow_separator(self) -> str:
        """Return what is taken out before a message, which may be indented on purpose."""
        bars = r" --?+ | ?+\| ?+|[:,] | "
        return rf"{self._colours}(?:{bars}|{self._spelling.tab}|(?=\[)|{self._spelling.end})"

    def after_context(self) -> str:
        """Return the pattern of lines with a date and a time, and perhaps with a level that other things precede."""
        ahead = rf"(?={self._gap}{self._context}(?P<word>{self._level})|)"
        return rf"{self._timestamp(DATE_AND_TIME)}{self._narrow_separator()}{ahead}{self._rest}"

    def only_before_a_level(self) -> str:
        """Return the pattern of lines with a timestamp that is none without a level."""
        ahead = rf"(?={self._gap}{self._context}(?P<word>{self._level}))"
        return rf"{self._timestamp(ONLY_BEFORE_A_LEVEL)}{self._narrow_separator()}{ahead}{self._rest}"

    def at_the_beginning(self) -> str:
        """Return the pattern of lines that begin with a level, and perhaps have a timestamp after it."""
        levels, gap = self._levels, self._gap
        marked = (
            rf"(?:\[{gap}(?!(?-i:[A-Z]\])){levels.in_brackets}{gap}\](?:(?=[\[:(])|{self._blank_or_end})"
            rf"|<{levels.in_brackets}>{self._blank_or_end}"
            rf"|{levels.before_colon}:{self._blank_or_end}|{levels.capitals_before_colon}:(?=[0-9A-Za-z_])"
            rf"|{levels.capitals}(?= *+(?:[\[(|]|--?+ |{DATE_AHEAD})))"
        )
        context = rf"(?:(?!{DATE_AHEAD})(?:\[(?:{self._spelling.without('][')})*+\]|[-|:,]|[0-9]++(?= )){gap}){{0,4}}+"
        ahead = rf"(?={self._colours}(?P<word>{marked})(?:{gap}{context}\[?+(?P<timestamp>{DATE_AND_TIME})|))"
        return rf"{ahead}{self._rest}"

    def of_ruby(self) -> str:
        """Return the pattern of lines of Ruby's logger."""
        time = rf"(?P<timestamp>{DATE_AND_TIME})"
        return rf"(?=[A-Z], \[{time}(?: #[0-9]++)?+\] ++(?:(?P<word>{self._levels.capitals}) -- |)){self._rest}"

    def of_redis(self) -> str:
        """Return the pattern of lines of Redis, which has signs for levels."""
        process = r"(?:[0-9]++:[A-Z]|\[[0-9]++\])"
        return rf"(?={process} (?P<timestamp>{DATE_AND_TIME}) (?P<word>[.*#-]) ){self._rest}"

    def of_celery_or_tornado(self) -> str:
        """Return the pattern of lines with a level and more in the brackets of the timestamp."""
        return (
            rf"(?=\[(?:(?P<letter>[DIWEC]) )?+(?P<timestamp>{_TIMESTAMP})(?(letter) |: (?={self._levels.capitals}/)))"
            rf"(?=\[(?P<word>[DIWEC] |[^\]\n\\]*?: {self._levels.capitals}/)){self._rest}"
        )

    def of_milliseconds(self) -> str:
        """Return the pattern of lines of log4j with milliseconds since its start, which are not a timestamp."""
        return rf"(?=[0-9]++ \[(?:{self._spelling.without('][')})*+\] (?P<word>{self._levels.capitals}) ){self._rest}"


_LEVEL: Final = of_each("level", "word", level_of_token)
_DATED: Final[list[Field]] = [_LEVEL, text("message"), text("timestamp")]
_KINDS: Final[list[tuple[Callable[[_Layouts], str], list[Field]]]] = [
    (_Layouts.right_after, _DATED),
    (_Layouts.after_context, _DATED),
    (_Layouts.in_its_brackets, _DATED),
    (_Layouts.only_before_a_level, _DATED),
    (_Layouts.at_the_beginning, [_LEVEL, text("message"), text_or_null("timestamp", nil="")]),
    (_Layouts.of_ruby, _DATED),
    (_Layouts.of_redis, _DATED),
    (_Layouts.of_celery_or_tornado, _DATED),
    (_Layouts.of_milliseconds, [_LEVEL, text("message"), always_null("timestamp")]),
]


def kinds_of(more_levels: Iterable[str] = ()) -> list[LineKind]:
    """Return the kinds of plain lines, where also these words are levels. All are exact: the first one applies."""
    levels = LevelPatterns.of(more_levels)
    full, usual = _Layouts(_TEXT, levels), _Layouts(_ESCAPED, levels)
    return [LineKind(of(full), of(usual), fields, is_exact=True) for of, fields in _KINDS]
