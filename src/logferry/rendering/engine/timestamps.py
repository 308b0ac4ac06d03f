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
