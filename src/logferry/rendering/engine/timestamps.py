"""Defines the patterns of timestamps that formats are composed of.

ASCII digits only, and no check of the calendar: a timestamp is text that is stored as it was written. Every pattern
works the same on plain text and on text escaped for JSON.
"""

from typing import Final

DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
DATE_WITH_SLASHES: Final = r"[0-9]{4}/[0-9]{2}/[0-9]{2}"
TIME_OF_DAY: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"

# `2024-01-15T08:23:45.123456Z`: always with a `T` and a zone.
RFC_3339: Final = rf"{DATE}T{TIME_OF_DAY}(?:\.[0-9]++)?+(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})"

# `Jan 15 08:23:45`; a space may replace the first digit of the day.
RFC_3164: Final = rf"[A-Z][a-z]{{2}} [ 0-3][0-9] {TIME_OF_DAY}"

# `2024-01-15 08:23:45`, with `T` or a space, an optional fraction, an optional zone (docs/protocol.md, rule F2).
ISO_8601: Final = (
    rf"{DATE}[ T]{TIME_OF_DAY}(?:[.,][0-9]++)?+"
    r"(?: ?+(?:Z|UTC|GMT|[+-][0-9]{2}(?::?+[0-9]{2})?+)(?![A-Za-z0-9]))?+"
)

# A date and a time that nothing else looks like, whatever the key before it is.
UNMISTAKABLE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}[0-9:.,+Z-]*+"

# What a program writes at the beginning of its message although its runtime adds a timestamp too: slashes are allowed.
AT_MESSAGE_START: Final = (
    rf"[0-9]{{4}}[-/][0-9]{{2}}[-/][0-9]{{2}}[ T]{TIME_OF_DAY}(?:[.,][0-9]++)?+(?:Z|[+-][0-9]{{2}}:?+[0-9]{{2}})?+"
)

# The beginning of an event (`--multiline timestamp`): as above, after the priority of RFC 5424 or RFC 3164, in
# brackets, or with the day first. What follows the seconds does not matter.
EVENT_START: Final = (
    r"(?:<[0-9]{1,3}>(?:1 )?+|\[)?+(?:"
    r"[0-9]{4}(?:-[0-9]{2}-|/[0-9]{2}/)[0-9]{2}[ T]"
    r"|(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} [ 0-3][0-9] "
    r"|[0-3][0-9](?:-[A-Z][a-z]{2}-|/[A-Z][a-z]{2}/)[0-9]{4}[ :]"
    rf"){TIME_OF_DAY}(?![0-9])"
)

# --- what the plain format recognises by rules 2 (docs/protocol.md, rule F40) ---

_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_WEEKDAY: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_DAY: Final = r"(?: [0-9]|[0-9]{1,2})"

# Abbreviations that programs write for zones. Any other word after a time may be part of the message.
_NAMED: Final = (
    "(?:UTC|GMT|[CEMW]ES?T|MS[DK]|[ABCEHIJKMNP]ST|[ACEMNP]DT|AK[DS]T|NZ[DS]T|A[CEW]ST|A[CE]DT|BRS?T|CLS?T|[PV]ET|[CEW]AT"
    "|TRT|ART|COT|SAST|PKT|NPT|WIB|ICT|PHT|HKT|SGT|MYT)"
)

# Two digits after a space (`13 -03 [811]`, as strftime writes zones without a name) may be a number of the message.
_ZONE: Final = (
    rf"(?: ?+(?:Z|{_NAMED}(?:[+-][0-9]{{1,2}}(?::?+[0-9]{{2}})?+)?+"
    r"|[+-][0-9]{2}:?+[0-9]{2}"
    rf"(?: {_NAMED}(?![0-9A-Za-z]))?+"
    r"|(?<! )[+-][0-9]{2}|[+-][0-9]{2}(?= ++(?:\[|[A-Z]{3,9}+[ :])))(?![0-9A-Za-z:]))?+"
)
_MINUTES: Final = r":[0-9]{2}:[0-9]{2}(?:[.,][0-9]++|:[0-9]{3,9}(?![0-9:]))?+(?:(?: ?+[AP]M|[ap]m)(?![0-9A-Za-z]))?+"
_CLOCK: Final = rf"(?:[0-9]{{1,2}}| [0-9]){_MINUTES}"

# A date and a time, in the ways of the programs that rule F40 names.
DATE_AND_TIME: Final = (
    rf"(?:(?:{_WEEKDAY},?+ {_MONTH} {_DAY} {_CLOCK}(?: [A-Z]{{3,4}})?+ [0-9]{{4}}"
    r"|(?:[0-9]{4}(?:-[0-9]{2}-|/[0-9]{2}/|\.[0-9]{2}\.)[0-9]{2}"
    rf"|(?:{_WEEKDAY}, )?+[0-9]{{1,2}}[-/ ]{_MONTH}(?:[-/ ][0-9]{{4}})?+"
    r"|[0-9]{1,2}(?:/[0-9]{1,2}/(?:[0-9]{4}|[0-9]{2})|\.[0-9]{1,2}\.[0-9]{4}|-[0-9]{1,2}-[0-9]{4})|[0-9]{6}"
    rf"|(?:[0-9]{{4}} )?+{_MONTH} {_DAY}(?:,?+ [0-9]{{4}})?+"
    rf")(?:T|,?+ |:){_CLOCK}){_ZONE})"
)

# How most dates begin.
DATE_AHEAD: Final = rf"(?=\[?+(?:[0-9]{{4}}[-/.][0-9]{{2}}[-/.][0-9]{{2}}[ T]|[0-9]{{2}}[-/ ](?:[0-9]{{2}}/|{_MONTH})))"

# What is a timestamp only before a level: seconds or milliseconds since 1970, and a time of day.
ONLY_BEFORE_A_LEVEL: Final = rf"(?:1[0-9]{{9}}(?:\.[0-9]++|[0-9]{{3}}(?:[0-9]{{3}}){{0,2}}+)?+|[0-9]{{2}}{_MINUTES})"
