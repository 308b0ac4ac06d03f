"""The rails format: what Ruby's Logger writes, as Rails does in production (docs/protocol.md, rule F54).

    I, [2024-01-15T08:23:45.123456 #1234]  INFO -- : [3f2a] [web] Started GET "/" for 192.0.2.7

The tags, such as the ID of the request, are a field, and so is the name of the program. Any other line is read as
plain.
"""

from typing import Final

from logferry.rendering.engine.fields import if_given, of_each, text
from logferry.rendering.engine.levels import UNKNOWN
from logferry.rendering.engine.line_format import LineFormat, ending_with_message
from logferry.rendering.engine.timestamps import DATE, TIME_OF_DAY
from logferry.rendering.formats.text.plain import PLAIN

_TAG: Final = r"\[[^\x00-\x1f\x22\\\[\]]*+\]"
_BEGINNING: Final = (
    rf"[DIWEFA], \[(?P<timestamp>{DATE}T{TIME_OF_DAY}(?:\.[0-9]++)?+(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?+)"
    r"(?: #(?P<pid>[0-9]++))?+\] ++(?P<word>DEBUG|INFO|WARN|ERROR|FATAL|ANY) -- (?P<program>[^\x00-\x20\x22:\\]++)?+:"
    rf"(?: |(?!.))(?:(?P<tags>{_TAG}(?: {_TAG})*+) )?+"
)


def _level_of_word(word: str | None) -> str:
    return UNKNOWN if word is None or word == "ANY" else word


RAILS: Final = LineFormat(
    "rails",
    [
        ending_with_message(
            _BEGINNING,
            [
                *(of_each("level", "word", _level_of_word), text("message"), text("timestamp")),
                *map(if_given, ("pid", "program", "tags")),
            ],
        )
    ],
    otherwise=PLAIN,
)
