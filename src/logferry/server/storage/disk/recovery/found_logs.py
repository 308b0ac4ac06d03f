"""Gives segments that are entered again their logs: by what their journals say, or by the sources that they name.

A journal from before version 6 of the ledger does not name a log, and neither does a damaged one. Then the log is that
of its sources, if they agree and the folder is one that such a log gets; otherwise the segment has no log, as in the
store that made it. Never gives two logs one folder, nor a log two. Must be used within a transaction.
"""

import itertools
from collections.abc import Iterator
from typing import Final

from logferry.names import encodable
from logferry.server.storage.disk.files.segment_names import is_log_folder
from logferry.server.storage.disk.journals.journal_reading import FoundJournal
from logferry.server.storage.disk.ledger import Ledger
from logferry.server.storage.log_names import PLAIN, LogName, log_of_source, proposed_folders

# Folders that a log may have got because others had those before.
_TRIED: Final = 4


def log_of_journal(ledger: Ledger, folder: str, journal: FoundJournal) -> int | None:
    """Return the log of a segment in a folder; None if nobody can say which it is. Raises OSError."""
    log = _plain_log(folder) if _is_plain(folder) else journal.log or _log_of_sources(folder, journal)
    if log is None or not _fits(log, folder):
        return None
    log = LogName(*map(encodable, log))
    known = ledger.find_log(log.identity, log.host, log.path)
    if known:
        return known.id if known.folder == folder else None
    return None if ledger.log_in(folder) else ledger.add_log(folder, log.identity, log.host, log.path).id


def _fits(log: LogName, folder: str) -> bool:
    is_in_tree = folder.startswith(f"{log.identity}/") if log.identity else True
    return is_log_folder(folder) and is_in_tree and _is_plain(folder) == (not log.path)


def _is_plain(folder: str) -> bool:
    return folder.endswith(f"/{PLAIN}")


def _plain_log(folder: str) -> LogName | None:
    *identity, host, _ = folder.split("/")
    return LogName(host, "", *identity) if len(identity) < 2 else None


def _log_of_sources(folder: str, journal: FoundJournal) -> LogName | None:
    found: set[tuple[str, str]] = set()
    for host, path in _named(journal):
        found.add((host, path))
        if len(found) > 1:
            return None
    for host, path in found:
        for identity in ("", folder.split("/")[0]):
            log = log_of_source(host, path, identity=identity)
            if folder in itertools.islice(proposed_folders(log), _TRIED):
                return log
    return None


def _named(journal: FoundJournal) -> Iterator[tuple[str, str]]:
    for piece in journal.pieces():
        yield from ((origin.host, origin.path) for origin in piece.sources.values())
