"""Maps the names of rotated log files to their original names, and back.

Owns the naming schemes of logrotate, savelog, container runtimes and the rotating handlers of logging libraries: a
stamp (a number, a date in any form, `old`) before or after the suffix, and compressed copies. To support another
scheme, extend this module and its tests. Works on names only: must never access the file system.

A name is a hint, not proof: the content decides whether a file is a rotated one (client/recognition).
"""

import re
from collections.abc import Iterator
from typing import Final

from logferry.client.finding.compressed import READABLE_SUFFIXES

# A number, a date or a time is made of these, which separators may join. The quantifiers take all they can for good
# (`++`): a name of any length is matched in linear time.
_DIGITS: Final = r"[0-9]++"
_JOIN: Final = r"[-_.:,+T@ ]{0,2}"
_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_DAY: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
_WORD: Final = rf"(?:W|Z|UTC|GMT|[ap]m|{_DAY}|{_MONTH})"
_OLD: Final = r"(?:old|previous|prev)"

# A month counts only beside a year: `ceph-mon.log` is not a rotated `ceph.log`.
_NUMERIC: Final = rf"{_DIGITS}(?:{_JOIN}(?:{_DIGITS}|[WTZ](?![A-Za-z])))*+"
_NAMED: Final = rf"(?=.*[0-9]{{4}})(?:{_DIGITS}|{_WORD})(?:{_JOIN}(?:{_DIGITS}|{_WORD}))*+"
_STAMP: Final = rf"(?:{_NUMERIC}|{_NAMED}|{_OLD}(?:[-_.]{_DIGITS})?)(?:[-_.]{_OLD})?"

# A stamp ends the name, or only a suffix or two come after it.
_SUFFIXES: Final = r"(?P<suffixes>(?:\.[A-Za-z][A-Za-z0-9]{0,15}){0,2})"

_SEPARATED: Final = re.compile(rf"(?<=.)[-_.~@]{{1,2}}(?={_STAMP}{_SUFFIXES}\Z)", re.IGNORECASE)

# Some libraries put no separator before a date, or the date before the name.
_ATTACHED: Final = re.compile(rf"(?<=[A-Za-z])(?=(?:19|20)[0-9]{{6}}(?:{_JOIN}{_DIGITS})*+{_SUFFIXES}\Z)")
_LEADING: Final = re.compile(
    rf"(?:19|20)[0-9]{{2}}[-_.]?[0-9]{{2}}[-_.]?[0-9]{{2}}(?:{_JOIN}{_DIGITS})*+[-_.](?=[A-Za-z])"
)

# daemontools, runit and s6 rename `current` to a TAI64N label, perhaps with the state of the file.
_TAI64N: Final = re.compile(r"@[0-9a-f]{24}(?:\.[su])?\Z")

# Whatever is appended to the name of a copy has at most this many characters.
_MAX_APPENDED: Final = 16

# A number with more digits is a date, and so is a number behind two digits.
_MAX_NUMBER_DIGITS: Final = 3
_NUMBER: Final = re.compile(
    rf"(?<=.)(?<![0-9]{{2}})(?P<separator>[-_.])(?P<number>[0-9]{{1,{_MAX_NUMBER_DIGITS}}}){_SUFFIXES}\Z"
)


def original_names(name: str) -> Iterator[str]:
    """Yield the names that a file may have had before it was rotated to `name`.

    `app.log.1`, `app.log-20240115`, `app-2024-01-15.log`, `app_1.log` and `app.log.old` may all have been `app.log`.
    For an archive, pass the name `without_archive_suffix`.
    """
    for match in _SEPARATED.finditer(name):
        yield name[: match.start()] + match["suffixes"]
    if "20" in name or "19" in name:  # a search costs more
        for match in _ATTACHED.finditer(name):
            yield name[: match.start()] + match["suffixes"]
        if leading := _LEADING.match(name):
            yield name[leading.end() :]
    if name.startswith("@") and _TAI64N.match(name):
        yield "current"


def shorter_names(name: str) -> Iterator[str]:
    """Yield the names that `name` begins with, without up to 16 characters at its end.

    Who makes a copy by hand or by script appends something to the name: `app.log0`, `app.log~`, `app.log.save`.
    """
    yield from (name[:end] for end in range(len(name) - 1, max(0, len(name) - _MAX_APPENDED - 1), -1))


def earlier_rotated_names(name: str) -> Iterator[str]:
    """Yield the names with lower numbers that a rotated file may have had before: `app.log.3` was once `app.log.2`."""
    if number := _NUMBER.search(name):
        stem, separator, suffixes = name[: number.start()], number["separator"], number["suffixes"]
        yield from (f"{stem}{separator}{lower}{suffixes}" for lower in range(int(number["number"])))


def rotation_number(name: str) -> int:
    """Return how often a file was rotated according to its name, else 0. Higher numbers are older files."""
    number = _NUMBER.search(name)
    if number:
        return int(number["number"])
    return int(name) if name.isdecimal() and len(name) <= _MAX_NUMBER_DIGITS else 0


def is_archive_name(name: str) -> bool:
    """Whether a file with this name may be a compressed log file in which the client can continue."""
    return name.endswith(READABLE_SUFFIXES)


def without_archive_suffix(name: str) -> str:
    """Return the name that an archive had before it was compressed; any other name unchanged."""
    return name.rpartition(".")[0] if is_archive_name(name) else name
