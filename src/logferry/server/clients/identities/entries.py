"""The file of a server's clients (`--clients`): TOML with one `[[client]]` table for each identity.

    [[client]]
    name = "web"                        # letters, digits, `.`, `_` and `-`
    token_sha256 = "4a5c..."            # of the token's UTF-8; or a list of several, to replace a token
    certificate = "*.web.example.com"   # a pattern: a name of the client's certificate (SAN or CN) must match
    hosts = ["web-*"]                   # patterns: the host names that it may ship as; all if there are none
    folder = "web"                      # its tree below `segments`; the name if there is none
    max_bytes_per_second = "10M"        # of all its connections together; 0: no limit
    max_sources = 1000                  # open at the same time; 0: no limit

An entry has a token, a certificate, or both: then both are wanted. Owns the form of the file: a problem in it is a
ConfigError that names the entry. Must never log or quote a token or its hash.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from logferry.config.kinds.units import KIB, MIB, TIB, size
from logferry.errors import ConfigError, cause_of
from logferry.printable import printable, quoted
from logferry.small_files import NotAFile, read_small_file

# Ten thousand entries, with room to spare.
_MAX_FILE_BYTES: Final = 4 * MIB
_MAX_ENTRIES: Final = 10_000
_MAX_PATTERNS: Final = 100
_MAX_PATTERN_CHARS: Final = 255
_MAX_SOURCES: Final = 1_000_000

_is_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII).fullmatch
_is_hash: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII).fullmatch

_rate: Final = size(0, TIB)


@dataclass(frozen=True, slots=True)
class Identity:
    """One entry: how a client proves that it is this identity, and what it is granted. See the module."""

    name: str
    tokens: tuple[bytes, ...] = ()  # SHA-256 digests
    certificate: str = ""
    hosts: tuple[str, ...] = ()
    folder: str = ""
    max_bytes_per_second: int = 0
    max_sources: int = 0

    def has_certificate_of(self, names: Sequence[str]) -> bool:
        """Whether one of the names of a client's certificate is the identity's; true if none is wanted."""
        pattern = self.certificate.lower()
        return not pattern or any(_matches(name.lower(), pattern) for name in names)

    def may_ship_as(self, host: str) -> bool:
        """Whether the identity may ship lines under this host name."""
        return not self.hosts or any(fnmatchcase(host.lower(), pattern.lower()) for pattern in self.hosts)


def _matches(name: str, pattern: str) -> bool:
    """Whether a name of a certificate matches; `*` stands for part of one label, as in certificates (RFC 6125)."""
    labels, patterns = name.split("."), pattern.split(".")
    return len(labels) == len(patterns) and all(map(fnmatchcase, labels, patterns))


def read_identities(path: Path) -> tuple[Identity, ...]:
    """Read the file. Raises ConfigError with every problem in it."""
    shown = f"the clients file {quoted(str(path))}"
    try:
        return identities_of(read_small_file(path, most=_MAX_FILE_BYTES).decode())
    except OSError as error:
        raise ConfigError([f"cannot read {shown}: {cause_of(error)}"]) from error
    except UnicodeDecodeError:
        raise ConfigError([f"{shown} is not UTF-8"]) from None
    except NotAFile as error:
        raise ConfigError([f"cannot read {shown}: {error}"]) from None
    except ValueError:
        raise ConfigError([f"{shown} has more than {_MAX_FILE_BYTES // MIB} MiB"]) from None
    except ConfigError as error:
        raise ConfigError([f"{quoted(str(path))}: {problem}" for problem in error.problems]) from None


def identities_of(text: str) -> tuple[Identity, ...]:
    """Return the entries in the text of a file. Raises ConfigError."""
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number with thousands of digits
        raise ConfigError([f"not TOML: {printable(str(error), max_chars=200)}"]) from None
    problems = [f"unknown key {quoted(key)}; entries begin with [[client]]" for key in found if key != "client"]
    tables = found.get("client", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError([*problems, "write each entry as a table that begins with [[client]]"])
    if len(tables) > _MAX_ENTRIES:
        raise ConfigError([f"more than {_MAX_ENTRIES} entries"])
    entries = [entry for number, table in enumerate(tables, 1) if (entry := _entry(table, number, problems))]
    _compare(entries, problems)
    if problems:
        raise ConfigError(problems)
    return tuple(entries)


def _entry(table: Mapping[str, Any], number: int, problems: list[str]) -> Identity | None:
    name = table.get("name")
    where = f"client {quoted(name)}" if isinstance(name, str) and name else f"entry {number}"
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for key, value in table.items():
        if key not in _READERS:
            wrong.append(f"unknown key {quoted(key)}")
            continue
        field, read, allowed = _READERS[key]
        try:
            values[field] = read(value)
        except (ValueError, TypeError):
            wrong.append(f"{key} must be {allowed}")
    if "name" not in table:
        wrong.append("a name is missing")
    elif not wrong and not values.get("tokens") and not values.get("certificate"):
        wrong.append("token_sha256 or certificate is missing: anybody could be this client")
    problems += [f"{where}: {problem}" for problem in wrong]
    if wrong:
        return None
    return Identity(**{"folder": values["name"], **values})


def _compare(entries: Sequence[Identity], problems: list[str]) -> None:
    """Find entries that nobody could tell apart: each name, folder and token is that of one entry."""
    seen: dict[tuple[str, object], str] = {}
    for entry in entries:
        keys = [("name", entry.name.lower()), ("folder", entry.folder.lower())]
        for key in (*keys, *(("token", token) for token in entry.tokens)):
            if key in seen:
                problems.append(f"client {quoted(entry.name)}: its {key[0]} is also that of {quoted(seen[key])}")
            seen[key] = entry.name


def _text(value: Any) -> str:
    if type(value) is not str or not 0 < len(value) <= _MAX_PATTERN_CHARS or not value.isprintable():
        raise ValueError
    return value


def _name(value: Any) -> str:
    if not _is_name(_text(value)):
        raise ValueError
    return str(value)


def _tokens(value: Any) -> tuple[bytes, ...]:
    hashes = value if isinstance(value, list) else [value]
    if not 0 < len(hashes) <= _MAX_PATTERNS or not all(type(each) is str and _is_hash(each) for each in hashes):
        raise ValueError
    return tuple(bytes.fromhex(each) for each in hashes)


def _patterns(value: Any) -> tuple[str, ...]:
    if type(value) is not list or not 0 < len(value) <= _MAX_PATTERNS:
        raise ValueError
    return tuple(map(_text, value))


def _bytes(value: Any) -> int:
    number = _rate.parse(str(value) if type(value) is int else _text(value))
    if 0 < number < KIB:
        raise ValueError
    return int(number)


def _sources(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_SOURCES:
        raise ValueError
    return value


_Reader = tuple[str, Callable[[Any], Any], str]

_READERS: Final[Mapping[str, _Reader]] = {
    "name": ("name", _name, "1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"),
    "token_sha256": ("tokens", _tokens, "the SHA-256 of a token, 64 hexadecimal digits, or a list of them"),
    "certificate": ("certificate", _text, "a name, or a pattern such as *.example.com"),
    "hosts": ("hosts", _patterns, 'a list of host names or patterns, such as ["web-*"]'),
    "folder": ("folder", _name, "1 to 64 letters, digits, `.`, `_` or `-`, beginning with a letter or digit"),
    "max_bytes_per_second": ("max_bytes_per_second", _bytes, "a size such as 10M, at least 1K, or 0 for no limit"),
    "max_sources": ("max_sources", _sources, f"a number from 0 (no limit) to {_MAX_SOURCES}"),
}
