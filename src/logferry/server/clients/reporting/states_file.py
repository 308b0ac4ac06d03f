"""What clients last said about themselves, in a file of the data folder: for those who look at a store without its
server.

Owns the form of `clients.json`: version 1, and of each host the last ping (rule E38). They are claims of clients, and
nothing decides by them. The file is written now and then while clients report, is not synced, and may be deleted.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from logferry.durable import replace_file
from logferry.errors import cause_of
from logferry.server.clients.reporting.client_reports import MAX_HOSTS, ClientReports
from logferry.server.storage.disk.files.segment_names import CLIENT_STATES_NAME
from logferry.small_files import read_small_file

logger = logging.getLogger(__name__)

WRITE_S: Final = 10.0

_VERSION: Final = 1
_MODE: Final = 0o640

# Of 5,000 hosts, each with its texts as escapes.
_MAX_BYTES: Final = 32 * 1024 * 1024

_NUMBERS: Final = ("unread_bytes", "unacked_bytes", "unacked_lines", "behind_since")
_TEXTS: Final = ("host", "version", "waits_for")


def states_of(reports: ClientReports) -> list[dict[str, object]]:
    """Return what is written of the hosts."""
    return [
        {"host": host, "owner": owner, "at": report.at, **asdict(report.state)}
        for (owner, host), report in reports.hosts.items()
    ]


def write_states(data_dir: Path, states: list[dict[str, object]]) -> None:
    """Replace the file. A failure is only logged."""
    content = json.dumps({"version": _VERSION, "hosts": states}).encode()
    try:
        replace_file(data_dir / CLIENT_STATES_NAME, content, mode=_MODE, is_synced=False)
    except OSError as error:
        logger.debug("cannot write what clients say about themselves: %s", cause_of(error, with_path=True))


def read_states(data_dir: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the last state of each host; nothing for a file that is missing, damaged or forged."""
    try:
        found = json.loads(read_small_file(data_dir / CLIENT_STATES_NAME, most=_MAX_BYTES))
        states = found["hosts"] if found["version"] == _VERSION else []
        known = sorted((each for each in states[:MAX_HOSTS] if _is_state(each)), key=lambda each: each["at"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {each["host"]: {name: each[name] for name in ("at", *_TEXTS[1:], *_NUMBERS)} for each in known}


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(type(value.get(name)) is str for name in _TEXTS)
        and all(type(value.get(name)) is int and 0 <= value[name] < 1 << 63 for name in _NUMBERS)
        and type(value.get("at")) in (int, float)
        and 0 <= value["at"] < 1e11
    )
