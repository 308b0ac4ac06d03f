"""What timestamps look like in lines: the patterns that formats are made of, each of them once.

ASCII digits only, and no check of the calendar: a timestamp is text that is stored as it was written. Every pattern is
the same on text and on text that is escaped for JSON.
"""

from typing import Final

DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
DATE_WITH_SLASHES: Final = r"[0-9]{4}/[0-9]{2}/[0-9]{2}"
TIME_OF_DAY: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"

# `2024-01-15T08:23:45.123456Z`: always with a `T` and a zone.
RFC_3339: Final = rf"{DATE}T{TIME_OF_DAY}(?:\.[0-9]++)?+(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})"

# `Jan 15 08:23:45`, the day perhaps with a space before it.
RFC_3164: Final = rf"[A-Z][a-z]{{2}} [ 0-3][0-9] {TIME_OF_DAY}"

# `2024-01-15 08:23:45`, with `T` or a space, an optional fraction, an optional zone (docs/protocol.md, rule F2).
ISO_8601: Final = (
    rf"{DATE}[ T]{TIME_OF_DAY}(?:[.,][0-9]++)?+"
    r"(?: ?+(?:Z|UTC|GMT|[+-][0-9]{2}(?::?+[0-9]{2})?+)(?![A-Za-z0-9]))?+"
)

# What a program writes at the beginning of its message although its runtime writes a timestamp too: slashes will do.
AT_MESSAGE_START: Final = (
    rf"[0-9]{{4}}[-/][0-9]{{2}}[-/][0-9]{{2}}[ T]{TIME_OF_DAY}(?:[.,][0-9]++)?+(?:Z|[+-][0-9]{{2}}:?+[0-9]{{2}})?+"
)

# Where an event begins (`--multiline timestamp`): as above, as RFC 5424 and RFC 3164 have it with their priority, in
# brackets, or with the day first. What follows the seconds does not matter.
EVENT_START: Final = (
    r"(?:<[0-9]{1,3}>(?:1 )?+|\[)?+(?:"
    r"[0-9]{4}(?:-[0-9]{2}-|/[0-9]{2}/)[0-9]{2}[ T]"
    r"|(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} [ 0-3][0-9] "
    r"|[0-3][0-9](?:-[A-Z][a-z]{2}-|/[A-Z][a-z]{2}/)[0-9]{4}[ :]"
    rf"){TIME_OF_DAY}(?![0-9])"
)
