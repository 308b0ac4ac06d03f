"""What clients last said about themselves, in a file of the data folder: for those who look at a store without its
server, and for the server's next start.

Owns the form of `clients.json`: version 1; of each host the last ping, and of the files that `verify` was run on last
its last verdict (rule E38). They are claims of clients, and nothing decides by them. The file is written now and then
while clients report, is not synced, and may be deleted.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any, Final

from logferry.durable import replace_file
from logferry.errors import cause_of
from logferry.protocol.messages.client_state import ClientState, FileVerdict
from logferry.server.clients.reporting.client_reports import MAX_HOSTS, ClientReports
from logferry.server.storage.disk.files.segment_names import CLIENT_STATES_NAME
from logferry.small_files import read_small_file

logger = logging.getLogger(__name__)

WRITE_S: Final = 10.0

_VERSION: Final = 1
_MODE: Final = 0o640

# Verdicts that are written: the last ones. The file is written again whenever a client pings.
MOST_VERDICTS: Final = 2000

# Of 5,000 hosts and 2,000 files, each with its texts as escapes.
_MAX_BYTES: Final = 64 * 1024 * 1024

_Entry = dict[str, Any]


def states_of(reports: ClientReports) -> dict[str, list[_Entry]]:
    """Return what is written of hosts and files, the latest last."""
    last = list(islice(reversed(reports.files.items()), MOST_VERDICTS))
    return {
        "hosts": [
            {"host": host, "owner": owner, "at": report.at, **asdict(report.state)}
            for (owner, host), report in reports.hosts.items()
        ],
        "files": [
            {"host": host, "owner": owner, "at": report.at, **asdict(report.verdict)}
            for (owner, host, _), report in reversed(last)
        ],
    }


def write_states(data_dir: Path, states: Mapping[str, list[_Entry]]) -> None:
    """Replace the file. A failure is only logged."""
    content = json.dumps({"version": _VERSION, **states}).encode()
    try:
        replace_file(data_dir / CLIENT_STATES_NAME, content, mode=_MODE, is_synced=False)
    except OSError as error:
        logger.debug("cannot write what clients say about themselves: %s", cause_of(error, with_path=True))


def restore(data_dir: Path, reports: ClientReports) -> None:
    """Take over what clients have said before a start."""
    for entry in _entries(data_dir, "hosts", ClientState, MAX_HOSTS):
        reports.note_state(entry["owner"], entry["host"], _made(ClientState, entry), at=entry["at"])
    for entry in _entries(data_dir, "files", FileVerdict, MOST_VERDICTS):
        reports.note_verdict(entry["owner"], entry["host"], _made(FileVerdict, entry), at=entry["at"])


def read_states(data_dir: Path) -> Mapping[str, _Entry]:
    """Return the last state of each host; nothing for a file that is missing, damaged or forged."""
    return {entry["host"]: entry for entry in _entries(data_dir, "hosts", ClientState, MAX_HOSTS)}


def read_verdicts(data_dir: Path) -> Mapping[tuple[str, str], _Entry]:
    """Return the last verdict on each file, by host and path; nothing for a file as above."""
    return {(entry["host"], entry["path"]): entry for entry in _entries(data_dir, "files", FileVerdict, MOST_VERDICTS)}


def _made(kind: Any, entry: _Entry) -> Any:
    return kind(**{each.name: entry[each.name] for each in fields(kind)})


def _entries(data_dir: Path, name: str, kind: Any, most: int) -> list[_Entry]:
    """Return the entries of hosts, or of files, that are as they must be, oldest first."""
    try:
        found = json.loads(read_small_file(data_dir / CLIENT_STATES_NAME, most=_MAX_BYTES))
        entries = found.get(name, []) if found["version"] == _VERSION else []
        return sorted((each for each in entries[:most] if _is_entry(each, kind)), key=lambda each: each["at"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _is_entry(value: Any, kind: Any) -> bool:
    if not isinstance(value, dict) or type(value.get("host")) is not str or type(value.get("owner")) is not str:
        return False
    is_timed = type(value.get("at")) in (int, float) and 0 <= value["at"] < 1e11
    return is_timed and all(type(value.get(each.name)) is each.type for each in fields(kind)) and _has_numbers(value)


def _has_numbers(value: _Entry) -> bool:
    return all(0 <= number < 1 << 63 for number in value.values() if type(number) is int)
